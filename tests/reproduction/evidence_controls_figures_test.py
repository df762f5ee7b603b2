"""Figures of the controls show every number, and only numbers."""

import math

import numpy as np
import pytest

from qup.reproduction.report.figures import augmentation, controls
from qup.reproduction.report.figures.controls import Control

_NAN = math.nan


def _bars(axis):
    """Returns (x, y, half width) of all dots with an error bar."""
    bars = []
    for container in axis.containers:
        line, _, (horizontal,) = container.lines
        for x, y, segment in zip(*line.get_data(), horizontal.get_segments(), strict=True):
            bars.append((x, y, (segment[1, 0] - segment[0, 0]) / 2))
    return bars


def test_each_control_has_its_line():
    figure = controls.plot_controls(
        [
            Control("CL", {"TA": (97, 96, 98), "RA": (60, 58, 62)}),
            Control("ACL", {"TA": (99, 98.5, 99.5)}),
            Control("not run", {"TA": (_NAN, _NAN, _NAN)}),
            Control("alone", {"RA": (50, _NAN, _NAN)}),
        ],
        title="all",
    )
    (axis,) = figure.axes
    bars = sorted(_bars(axis), key=lambda bar: bar[1])
    assert [bar[0] for bar in bars] == [97, 60, 99, 50]
    assert [bar[2] for bar in bars] == pytest.approx([1, 2, 0.5, 0])
    heights = [bar[1] for bar in bars]
    assert heights[2] - heights[0] == pytest.approx(1.0)
    assert "ACL" in [text.get_text() for text in axis.texts]
    labels = [text.get_text() for text in axis.get_legend().texts]
    assert labels == ["TA", "RA"]
    assert "percent" in axis.get_xlabel()


def test_too_many_measures_are_refused():
    with pytest.raises(ValueError, match="1 to 5"):
        controls.plot_controls([Control("CL", {str(i): (1, 1, 1) for i in range(6)})], title="")
    with pytest.raises(ValueError, match="1 to 5"):
        controls.plot_controls([], title="")


def test_a_sweep_shows_errors_and_accuracies():
    figure = controls.plot_capacity(
        {
            "training images": {2_000: (0.7, 0.6, 0.8), 300: (0.9, 0.8, 1)},
            "test images": {300: (0.95, _NAN, _NAN)},
        },
        {"ACL, TA": {300: (90, 89, 91)}},
        {"CL, TA": (97, 96, 98)},
        title="sweep",
        template_error=(0.5, 0.49, 0.51),
    )
    above, below = figure.axes
    line = above.containers[0].lines[0]
    assert line.get_xdata().tolist() == [300, 2000]
    assert line.get_ydata().tolist() == [0.9, 0.7]
    ticks = [label.get_text() for label in below.get_xticklabels()]
    assert ticks == ["300", "2 k"]
    assert below.get_xscale() == "log"
    labels = [text.get_text() for text in above.get_legend().texts]
    assert "template of the true class" in labels
    with pytest.raises(ValueError, match="4 series"):
        controls.plot_capacity({str(i): {} for i in range(5)}, {}, {}, title="")


def test_templates_share_a_scale_around_zero():
    shown = np.zeros((3, 4, 4, 3), np.float32)
    shown[1] = -0.5
    figure = augmentation.plot_class_templates(shown, ["a", "$b", "c"], title="mean")
    panels = [axis for axis in figure.axes if axis.images and axis.axison == 0]
    assert [axis.get_title() for axis in panels] == ["a", r"\$b", "c"]
    assert {axis.images[0].get_clim() for axis in panels} == {(-0.5, 0.5)}
    np.testing.assert_allclose(panels[1].images[0].get_array(), -0.5)
    with pytest.raises(ValueError, match="3 templates need"):
        augmentation.plot_class_templates(shown, ["a"])
