"""Figures of the counter-examples: what is given is drawn, and told."""

import io
import itertools
import math

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from qup.core import plotting
from qup.reproduction.report.figures import predictors, tables
from qup.reproduction.report.figures.style import NetworkStyle
from qup.reproduction.report.statistics import RankCorrelation, correlate_ranks


def _point(value):
    return value, value - 2, value + 3


def _drawn(figure):
    """Draws the figure, so that its texts are laid out; returns its words."""
    FigureCanvasAgg(figure).print_png(io.BytesIO())
    texts = [text.get_text() for text in figure.findobj(match=_has_text)]
    return " ".join(texts).replace("\n", " ")


def _has_text(artist):
    return hasattr(artist, "get_text") and artist.get_visible()


def _bars(axis):
    """Returns each error bar as (value, low, high) of y."""
    found = []
    for held in axis.containers:
        line, _, (*_, upright) = held.lines
        found += [
            (float(y), *map(float, segment[:, 1]))
            for y, segment in zip(line.get_ydata(), upright.get_segments(), strict=True)
        ]
    return found


def test_steps_have_a_panel_a_loss_and_a_number():
    curves = [
        predictors.StepCurve(direction, loss, number, {0.1: _point(50), 0: _point(90)})
        for direction, loss, number in itertools.product(
            ("sign", "raw_l2", "raw_linf"), ("margin", "squared"), (1, 4)
        )
    ]
    figure = predictors.plot_gradient_steps(curves, title="tiny", note="Bars are errors.")
    words = _drawn(figure)
    for part in (
        "tiny",
        "squared loss",
        "margin",
        "4 steps",
        "1 step",
        "RA in percent",
        "units of [0, 1]",
        "same L2 norm",
        "Bars are errors.",
    ):
        assert part in words, part
    assert len(figure.axes) == 4
    for axis in figure.axes:
        assert sorted(_bars(axis)) == 3 * [(50, 48, 53)] + 3 * [(90, 88, 93)]
        lines = [held.lines[0] for held in axis.containers]
        assert len({line.get_color() for line in lines}) == 3
        assert len({line.get_linestyle() for line in lines}) == 3


def test_steps_of_one_loss_are_one_panel():
    curve = predictors.StepCurve("sign", "margin", 1, {0.1: (50, math.nan, math.nan)})
    figure = predictors.plot_gradient_steps([curve], title="tiny")
    assert "margin" in _drawn(figure)
    assert _bars(figure.axes[0]) == [(50, 50, 50)]


def test_the_frontier_has_points_with_both_errors_and_arrows():
    plain = {30: (_point(98), _point(50)), 1: (_point(96), _point(40))}
    paths = [
        tables.TrainingPath(NetworkStyle("ConvNet", "convnet"), plain),
        tables.TrainingPath(
            NetworkStyle("ConvNet", "convnet", "trades"),
            {1: (_point(95), _point(90)), 2: (_point(math.nan), _point(9))},
        ),
    ]
    figure = tables.plot_frontier(paths, title="toy", attack="PGD-9", note="So.")
    words = _drawn(figure)
    for part in (
        "TA in percent",
        "RA in percent",
        "(PGD-9)",
        "toy",
        "ConvNet",
        "TRADES",
        "standard training",
        "So.",
        "30",
    ):
        assert part in words, part
    assert "PGD-AT" not in words
    (axis,) = figure.axes
    assert _bars(axis) == [(40, 38, 43), (50, 48, 53), (90, 88, 93)]
    arrows = [text for text in axis.texts if text.arrow_patch]
    (arrow,) = arrows
    assert arrow.xyann == (96, 40) and arrow.xy == (98, 50)
    dots = [held.lines[0] for held in axis.containers]
    assert {dot.get_color() for dot in dots} == {plotting.BLUE}
    assert [dot.get_marker() for dot in dots] == ["o", "o", "^"]


def test_candidates_tell_their_correlation():
    looks = {str(i): (NetworkStyle("ConvNet", "convnet"), _point(10 * i + 20.0)) for i in range(6)}
    values = {str(i): _point(10.0 + i**2) for i in (0, 3, 2, 1, 4)}
    found = correlate_ranks([1, 2, 3, 5, 4, 6], range(6))
    figure = predictors.plot_predictors(
        [
            predictors.Predictor("gradient", "unit", values, found, True),
            predictors.Predictor("margin", "pixel", values),
        ],
        looks,
        title="toy",
        attack="PGD-9",
        note="So.",
    )
    words = _drawn(figure)
    for part in (
        "gradient",
        "margin",
        "unit",
        "pixel",
        "= 0.94 p",
        "n = 6",
        "too few",
        "PGD-9",
        "So.",
    ):
        assert part in words, part
    # Without a value a network is left out.
    assert [len(_bars(axis)) for axis in figure.axes] == [5, 5]


@pytest.mark.parametrize(
    "found,words",
    [
        (RankCorrelation(-0.5, None, 0.2, 5), "\N{MINUS SIGN}0.50\np = 0.20, n"),
        (RankCorrelation(0.9, (0.5, 0.97), 0.0001, 9), "[0.50, 0.97]\np = 0.0001"),
        (RankCorrelation(0.9, None, 0.01, 9, ("loss", "m")), "given loss, m: "),
        (None, "too few networks"),
    ],
)
def test_correlations_in_words(found, words):
    assert words in predictors.format_correlation(found)


@pytest.mark.parametrize("count,columns", [(1, 1), (2, 2), (3, 3), (4, 2)])
def test_panels_fill_their_rows(count, columns):
    looks = {"a": (NetworkStyle("ConvNet", "convnet"), _point(20))}
    one = predictors.Predictor("x", "y", {"a": _point(1)})
    figure = predictors.plot_predictors(count * [one], looks, title="t", attack="a")
    tops = np.round([axis.get_position().y0 for axis in figure.axes], 2)
    assert sum(tops == tops[0]) == columns
    assert sum(axis.get_visible() for axis in figure.axes) == count
