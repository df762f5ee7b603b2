"""Predictors of RA, gradient steps of Eqs. 21 and 22, and the attacked image of Fig. 1."""

import dataclasses
import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from qup.core import plotting
from qup.core.measurements import Row
from qup.core.plotting import IntervalPoint
from qup.reproduction.measures import example
from qup.reproduction.report.figures import style
from qup.reproduction.report.figures.style import NetworkStyle
from qup.reproduction.report.statistics import RankCorrelation


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A quantity of each network that may predict its robust accuracy.

    Attributes:
      title: Above its panel.
      label: Of its axis, with the unit.
      values: (value, low, high) by the key of the network; networks without a value are left out.
      correlation: With RA, for the title; None where there is none.
      logarithmic: Whether its axis is logarithmic; then all values are positive.
    """

    title: str
    label: str
    values: Mapping[str, IntervalPoint]
    correlation: RankCorrelation | None = None
    logarithmic: bool = False


def plot_predictors(
    predictors: Sequence[Predictor],
    networks: Mapping[str, tuple[NetworkStyle, IntervalPoint]],
    *,
    title: str,
    attack: str,
    note: str = "",
) -> Figure:
    """Draws RA of every network over each predictor.

    Args:
      predictors: At least one.
      networks: Key to its style and its RA, (value, low, high) in percent.
      title: The data set.
      attack: Name of the attack of RA.
      note: Above the legend, such as what the bars are.
    """
    columns = 2 if len(predictors) in (2, 4) else min(len(predictors), 3)
    rows = -(-len(predictors) // columns)
    size = (7 if columns > 1 else 4.6, 2.75 * rows + 1.1)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axis, predictor in zip(panels.flat, predictors, strict=False):
        _plot_predictor(axis, predictor, networks)
    for axis in panels.flat[len(predictors) :]:
        axis.set_visible(False)
    for axis in panels[:, 0]:
        axis.set_ylabel("RA in percent", fontsize=9)
    figure.suptitle(f"{title}\nrobust accuracy: {attack}", fontsize=10.5)
    legend_note = r"$\rho$: Spearman's rank correlation."
    plotting.add_legend_below(
        figure,
        handles=style.build_network_legend(network_style for network_style, _ in networks.values()),
        ncols=4,
        title=f"{legend_note} {note}".strip(),
    )
    return figure


def _plot_predictor(
    axis: Axes, predictor: Predictor, networks: Mapping[str, tuple[NetworkStyle, IntervalPoint]]
) -> None:
    if predictor.logarithmic:
        axis.set_xscale("log")
    for key, (network_style, robust) in networks.items():
        value = predictor.values.get(key)
        if value is not None and np.isfinite([value[0], robust[0]]).all():
            style.plot_network(axis, network_style, value, robust)
    axis.set_title(f"{predictor.title}\n{format_correlation(predictor.correlation)}", fontsize=9)
    axis.set_xlabel(predictor.label, fontsize=9)
    axis.margins(0.1)
    _set_predictor_ticks(axis, predictor.logarithmic)
    plotting.tidy_axis(axis)
    axis.tick_params(labelsize=8)


def _set_predictor_ticks(axis: Axes, logarithmic: bool) -> None:
    """Labels as many ticks as have room."""
    if not logarithmic:
        axis.xaxis.set_major_locator(MaxNLocator(3))
        return
    low, high = axis.get_xlim()
    decades = math.log10(high / low)
    multiples = (1, 2, 5) if decades < 1 else (1, 3) if decades < 2 else (1,)
    axis.xaxis.set_major_locator(LogLocator(subs=multiples, numticks=9))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def format_correlation(correlation: RankCorrelation | None) -> str:
    """Returns a correlation with its interval, p and n, as a title."""
    if correlation is None:
        return "too few networks to correlate"
    text = rf"$\rho$ = {_format_signed(correlation.value)}"
    if correlation.interval:
        low, high = map(_format_signed, correlation.interval)
        text += f" [{low}, {high}]"
    digits = max(2, math.ceil(-math.log10(correlation.p_value)))
    text += f"\np = {correlation.p_value:.{digits}f}, n = {correlation.n}"
    if correlation.covariates:
        text = f"given {', '.join(correlation.covariates)}: {text}"
    return text


def _format_signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


# Direction: its colour, marker and line, and name.
_DIRECTION_STYLES = {
    "sign": (plotting.BLUE, "o-", r"sign of the gradient, $\epsilon$ per pixel"),
    "raw_l2": (plotting.ORANGE, "s--", "gradient, same L2 norm"),
    "raw_linf": (plotting.VERMILION, "^:", "gradient, same L-inf norm"),
}
_LOSS_TITLES = {"cross_entropy": "cross-entropy", "squared": "squared loss", "margin": "margin"}


@dataclasses.dataclass(frozen=True)
class StepCurve:
    """RA of one network under steps along one direction.

    Attributes:
      direction: "sign", "raw_l2" or "raw_linf".
      loss: "cross_entropy", "squared" or "margin".
      num_steps: Steps whose sizes add up to epsilon.
      points: Epsilon in units of [0, 1] to (value, low, high) in percent.
    """

    direction: str
    loss: str
    num_steps: int
    points: Mapping[float, IntervalPoint]


def plot_gradient_steps(curves: Sequence[StepCurve], *, title: str, note: str = "") -> Figure:
    """Draws RA over epsilon: a column per loss, a row per number of steps.

    Args:
      curves: At least one.
      title: The network.
      note: Above the legend, such as what the bars are.
    """
    losses = [name for name in _LOSS_TITLES if any(c.loss == name for c in curves)]
    steps = sorted({curve.num_steps for curve in curves})
    size = (max(2.3 * len(losses), 4.6), 2.1 * len(steps) + 1.2)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(steps), len(losses), squeeze=False, sharex=True, sharey=True)
    for row, num_steps in zip(panels, steps, strict=True):
        for axis, loss in zip(row, losses, strict=True):
            panel_curves = [c for c in curves if (c.loss, c.num_steps) == (loss, num_steps)]
            _plot_step_curves(axis, panel_curves)
        plural = "s" if num_steps > 1 else ""
        row[0].set_ylabel(f"{num_steps} step{plural}\nRA in percent", fontsize=9)
    for axis, loss in zip(panels[0], losses, strict=True):
        axis.set_title(_LOSS_TITLES[loss], fontsize=10)
    for axis in panels[-1]:
        axis.set_xlabel(r"$\epsilon$, in units of [0, 1]", fontsize=9)
    figure.suptitle(title, fontsize=11)
    plotting.add_legend_below(figure, panels.flat, title=note or None)
    return figure


def _plot_step_curves(axis: Axes, curves: Sequence[StepCurve]) -> None:
    for curve in curves:
        colour, line_format, name = _DIRECTION_STYLES[curve.direction]
        plotting.plot_intervals(
            axis, curve.points, color=colour, fmt=line_format, label=name, markersize=4
        )
    axis.set_ylim(-4, 104)
    plotting.tidy_axis(axis)
    axis.tick_params(labelsize=8)


_DOLLAR = r"\$"
# Standard errors from the mean to each end of a 95 % interval.
_Z_95 = 1.96


def plot_example(
    arrays: Mapping[str, np.ndarray], rows: Sequence[Row], network_title: str
) -> Figure:
    """Draws X_0, the FGSM noise and X, with decisions and confidences: Fig. 1.

    The noise is drawn from black (its least value) over grey (0) to white (its largest value).

    Args:
      arrays: Of example.npz, see `example.AttackExample.to_arrays`.
      rows: Of the same network, image and attack.
      network_title: Name of the network.
    """
    attacked_example = example.build_example(arrays)
    names = [str(name) for name in arrays["class_names"]]
    noise = attacked_example.attacked - attacked_example.image
    max_magnitude = float(np.abs(noise).max())
    figure = Figure(figsize=(8.4, 4.1), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.08)
    left, middle, right = figure.subplots(1, 3)
    label = names[attacked_example.label]
    _show_image(
        left,
        attacked_example.image,
        f"$X_0$, image {attacked_example.id}:",
        label,
        _format_prediction(names[attacked_example.clean_class], attacked_example.clean_confidence),
    )
    _show_image(
        middle,
        0.5 + noise / (2 * max_magnitude or 1.0),
        "noise $X - X_0$",
        "",
        f"between -{max_magnitude:.3g} and {max_magnitude:.3g},\n"
        + (f"drawn {1 / (2 * max_magnitude):.3g} times as strong" if max_magnitude else "none"),
    )
    _show_image(
        right,
        attacked_example.attacked,
        "$X$, attacked",
        "",
        _format_prediction(
            names[attacked_example.attacked_class], attacked_example.attacked_confidence
        ),
    )
    figure.suptitle(_format_title(rows, network_title), fontsize=10.5, parse_math=False)
    rule_note = textwrap.fill(f"Chosen: {example.SELECTION_RULES[attacked_example.rule]}.", 105)
    figure.supxlabel(rule_note, fontsize=8.5, color=plotting.GREY)
    return figure


def _format_prediction(name: str, confidence: float) -> str:
    # 99.997 must not become a certainty.
    confidence_text = f"{min(confidence, 99.99):.2f}" if confidence < 100 else "100"
    return f"class: {name},\nconfidence {confidence_text} %"


def _show_image(axis: Axes, image: np.ndarray, symbol: str, name: str, caption: str) -> None:
    plotting.show_image(axis, image)
    # A dollar in a class name must not begin a formula.
    axis.set_title(f"{symbol} {name.replace('$', _DOLLAR)}".rstrip(), fontsize=10.5)
    axis.set_xlabel(caption, fontsize=9.5, parse_math=False)


def _format_title(rows: Sequence[Row], network_title: str) -> str:
    by_measure = {row.measure: row for row in rows}
    clean = by_measure["test_accuracy"]
    robust = by_measure["robust_accuracy"]
    return (
        f"{network_title}, {clean.classifier}, seed {clean.seed}\n"
        f"TA {_format_accuracy(clean)}; RA under {robust.attack}, epsilon "
        f"{robust.epsilon:.4g}: {_format_accuracy(robust)}; {clean.n:,} images, 95 % "
        "intervals"
    )


def _format_accuracy(row: Row) -> str:
    error = "" if row.stderr is None else f" ± {_Z_95 * row.stderr:.2f}"
    return f"{row.value:.2f}{error} %"
