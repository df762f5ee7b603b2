"""Fig. 3 of the paper: distortion against top-1 accuracy, model by model.

```python
figure = draw(rows, published.read())
```
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qup.errors import InputError
from qup.evidence_figures import imagenet_names, imagenet_words
from qup.evidence_figures.imagenet_points import (
    ModelPoint,
    build_measured_points,
    build_published_points,
)
from qup.imagenet import fits
from qup.imagenet.networks import FAMILIES
from qup.imagenet.published import PublishedValues
from qup.measurements import Row

# Okabe and Ito 2008, in the order of the families.
FAMILY_COLOURS = dict(
    zip(
        FAMILIES,
        ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
        strict=True,
    )
)
_GREY = "#5A5A5A"
# Of a marker in points^2: per million parameters, and where none is known.
_AREA_PER_MILLION, _MIN_AREA, _UNKNOWN_AREA = 2.2, 14.0, 30.0


class Panel(NamedTuple):
    """One panel of the figure.

    Attributes:
      measure: Of our rows.
      published: Of the published values.
      label: Of its axis.
    """

    measure: str
    published: str
    label: str


PANELS = (
    Panel("mean_linf", "ifgsm_linf", "(a) I-FGSM: mean L-inf distance,\nunits of [0, 1]"),
    Panel(
        "mean_l2_per_element", "cw_l2_per_element", "(b) C&W: mean L2 distance /\ninput elements"
    ),
    Panel(
        "mean_clever_per_element",
        "clever_l2_per_element",
        "(c) CLEVER: mean L2 score /\ninput elements",
    ),
)


def plot_distortions(rows: Sequence[Row], published: Mapping[str, PublishedValues]) -> Figure:
    """Draws panels (a) to (c) with lines in (log error, distortion).

    Args:
      rows: Those of `ImageNetAnalyzer`, of any models; others are left out.
      published: Values by model, see `imagenet.published.read`.

    Returns:
      Ours as filled circles with one standard error each way, what is
      published as open diamonds, random weights as grey crosses, which take
      no part in lines; a marker's area is the number of parameters. What is
      missing is said in words below.
    """
    figure = Figure(figsize=(7.6, 12.0), layout="constrained")
    body, foot = figure.subfigures(2, 1, height_ratios=(10.7, 1.3))
    for axis, panel in zip(body.subplots(3, 1), PANELS, strict=True):
        measured_points = build_measured_points(rows, panel.measure)
        published_points = build_published_points(published, panel.published)
        axis.set_ylabel(panel.label, fontsize=9.5)
        axis.set_xlabel("top-1 accuracy in percent", fontsize=9.5)
        axis.set_title(
            textwrap.fill(_describe_fit(measured_points), 95),
            fontsize=8.5,
            color=_GREY,
            loc="left",
            parse_math=False,
        )
        _plot_panel(axis, measured_points, published_points)
    body.suptitle("Robustness against accuracy on ImageNet, random targets", fontsize=12)
    foot.legend(
        handles=_build_legend(),
        loc="upper center",
        ncols=5,
        fontsize=8.5,
        frameon=False,
        borderaxespad=0,
    )
    missing_text = textwrap.fill(imagenet_words.describe_missing_models(rows, published), 112)
    foot.text(0.02, 0.04, missing_text, fontsize=8, color=_GREY, va="bottom")
    return figure


def _plot_panel(
    axis: Axes, measured_points: Sequence[ModelPoint], published_points: Sequence[ModelPoint]
) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.3)
    for point in measured_points:
        colour = _get_point_colour(point)
        axis.errorbar(
            point.top_1,
            point.distortion,
            point.distortion_stderr,
            point.top_1_stderr,
            ecolor=colour,
            elinewidth=0.9,
            capsize=2,
            linestyle="none",
        )
        axis.scatter(
            point.top_1,
            point.distortion,
            _compute_marker_area(point),
            color=colour,
            marker="X" if point.untrained else "o",
            alpha=0.75,
            zorder=3,
        )
    for point in published_points:
        axis.scatter(
            point.top_1,
            point.distortion,
            _compute_marker_area(point),
            facecolors="none",
            edgecolors=_get_point_colour(point),
            marker="D",
            linewidths=1.3,
            zorder=3,
        )
    _plot_fit(axis, [point for point in measured_points if not point.untrained], "-")
    _plot_fit(axis, published_points, "--")
    points = (*measured_points, *published_points)
    axis.set_xlim(min([20.0, *(point.top_1 - 8 for point in points)]), 100)
    if not points:
        axis.text(
            0.5,
            0.5,
            "not run, and no value published in a text or table",
            transform=axis.transAxes,
            ha="center",
            color=_GREY,
        )
        axis.set_yticks([])
        return
    top = max(point.distortion + (point.distortion_stderr or 0) for point in points)
    axis.set_ylim(0, 1.12 * top or 1.0)
    imagenet_names.annotate_points(axis, points, [_get_point_colour(point) for point in points])


def _get_point_colour(point: ModelPoint) -> str:
    return _GREY if point.untrained else FAMILY_COLOURS[point.family]


def _compute_marker_area(point: ModelPoint) -> float:
    if point.num_parameters is None:
        return _UNKNOWN_AREA
    return _MIN_AREA + _AREA_PER_MILLION * point.num_parameters / 1e6


def _plot_fit(axis: Axes, points: Sequence[ModelPoint], style: str) -> None:
    """Draws distortion = intercept + slope ln(error), where there is one."""
    try:
        fit = fits.fit_line([point.point for point in points])
    except InputError:
        return
    accuracies = [point.top_1 for point in points]
    x = np.linspace(min(accuracies), max(accuracies), 100)
    y = fit.intercept + fit.slope * fits.compute_log_error(x)
    axis.plot(x, y, style, color=_GREY, linewidth=1.1, zorder=1)


def _describe_fit(measured_points: Sequence[ModelPoint]) -> str:
    trained = [point.point for point in measured_points if not point.untrained]
    return f"Ours, distortion = a + b ln(error). {fits.format_slope_verdict(trained)}"


def _build_legend() -> list[Line2D]:
    def build_handle(label: str, **style) -> Line2D:
        return Line2D([], [], linestyle="none", label=label, **style)

    family_handles = [
        build_handle(family, marker="o", color=colour) for family, colour in FAMILY_COLOURS.items()
    ]
    return [
        *family_handles,
        build_handle("ours, ± 1 s.e.", marker="o", color=_GREY),
        build_handle("published", marker="D", color=_GREY, markerfacecolor="none"),
        build_handle("random weights", marker="X", color=_GREY),
        *(
            build_handle(
                f"{n} million parameters",
                marker="o",
                color="#BBBBBB",
                markersize=float(np.sqrt(_MIN_AREA + _AREA_PER_MILLION * n)),
            )
            for n in (1, 75, 150)
        ),
    ]
