"""Fig. 3 of the paper: distortion against top-1 accuracy, model by model."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qup.core import plotting
from qup.core.errors import InputError
from qup.core.measurements import Row
from qup.reproduction.imagenet import fits, models
from qup.reproduction.imagenet.models import FAMILIES
from qup.reproduction.imagenet.published import DISTORTIONS, PublishedValues
from qup.reproduction.report import queries
from qup.reproduction.report.queries import ModelPoint


def build_published_points(published: Mapping[str, PublishedValues], name: str) -> list[ModelPoint]:
    """Returns the points of published values that have both coordinates.

    Args:
      published: By model.
      name: One of `published.DISTORTIONS`.
    """
    points = []
    for model_name, values in published.items():
        distortion = getattr(values, name)
        if values.top_1 is not None and distortion is not None:
            model = models.get_model(model_name)
            points.append(
                ModelPoint(
                    model_name,
                    model.family,
                    values.top_1,
                    None,
                    distortion,
                    None,
                    model.parameters,
                    published=True,
                )
            )
    return points


# Between two labels, as a share of the height of the panel.
_MIN_LABEL_GAP = 0.052


def annotate_points(axis: Axes, points: Sequence[ModelPoint], colours: Sequence[str]) -> None:
    """Writes the name of each point to the right of a panel, with a line to the point.

    Args:
      axis: The panel, with its final limits.
      points: Its points.
      colours: One per point.
    """
    top = axis.get_ylim()[1]
    heights = spread_labels([point.distortion / top for point in points], _MIN_LABEL_GAP)
    for point, height, colour in zip(points, heights, colours, strict=True):
        axis.annotate(
            _format_point(point),
            (point.top_1, point.distortion),
            xytext=(1.02, height),
            textcoords="axes fraction",
            fontsize=7.2,
            color=colour,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "alpha": 0.45,
                "linewidth": 0.6,
                "shrinkA": 1,
                "shrinkB": 2,
            },
        )


def _format_point(point: ModelPoint) -> str:
    if point.published:
        return f"{point.name}, cited"
    return f"{point.name}, untrained" if point.untrained else point.name


def spread_labels(positions: Sequence[float], gap: float) -> np.ndarray:
    """Returns positions at least a gap apart, near the given ones, in the same order.

    Runs of positions that would overlap are moved together, about their mean.

    Args:
      positions: In any order.
      gap: The least distance.
    """
    order = np.argsort(positions, kind="stable")
    # Without the gaps, this is isotonic regression by pooling adjacent violators.
    steps = gap * np.arange(len(order))
    runs: list[list[float]] = []
    for value in np.asarray(positions, float)[order] - steps:
        runs.append([value, 1])
        while len(runs) > 1 and runs[-2][0] > runs[-1][0]:
            (mean, count), (other, more) = runs[-2], runs.pop()
            total = count + more
            runs[-1] = [(mean * count + other * more) / total, total]
    level = np.concatenate([[mean] * int(count) for mean, count in runs])
    spread_positions = np.empty(len(order))
    spread_positions[order] = level + steps
    return spread_positions


def describe_missing_models(rows: Sequence[Row], published: Mapping[str, PublishedValues]) -> str:
    """Returns sentences on models that are absent, and why.

    Args:
      rows: Ours.
      published: By model.
    """
    measured_models = {
        row.model for row in rows if row.parameters.get("weights") not in (None, "random")
    }
    unmeasured_models = [n for n in models.list_names(available=True) if n not in measured_models]
    text = f"Not in keras.applications: {', '.join(models.list_missing())}. "
    if len(unmeasured_models) == len(models.list_names(available=True)):
        text += "Ours with ImageNet weights: none run. "
    elif unmeasured_models:
        text += f"Not run with ImageNet weights: {', '.join(unmeasured_models)}. "
    num_complete = sum(
        all(getattr(values, name) is not None for name in DISTORTIONS)
        for values in published.values()
    )
    text += f"Published distortions (Su et al. 2018): {num_complete} of {len(models.MODELS)} models"
    if num_complete < len(models.MODELS):
        text += "; the others are published in figures only"
    return text + ". Their weights differ from those of Keras."


FAMILY_COLOURS = dict(
    zip(FAMILIES, (plotting.BLACK, *(plotting.PALETTE[i] for i in (1, 0, 2, 3, 4, 5))), strict=True)
)
# Areas of a marker in points^2: per million parameters, least, and for an unknown number.
_AREA_PER_MILLION, _MIN_AREA, _UNKNOWN_AREA = 2.2, 14.0, 30.0


def plot_distortions(rows: Sequence[Row], published: Mapping[str, PublishedValues]) -> Figure:
    """Draws panels (a) to (c) with lines in (log error, distortion).

    Our models are filled circles with one standard error, published values open diamonds,
    random weights grey crosses outside the fit. The area of a marker is the number of
    parameters. A text below names the missing models.

    Args:
      rows: Those of `ImageNetAnalyzer`, of any models; others are left out.
      published: Values by model, see `imagenet.published.read`.
    """
    figure = Figure(figsize=(7.6, 12.0), layout="constrained")
    body, foot = figure.subfigures(2, 1, height_ratios=(10.7, 1.3))
    for axis, panel in zip(body.subplots(3, 1), queries.IMAGENET_PANELS, strict=True):
        measured_points = queries.build_measured_points(rows, panel)
        published_points = build_published_points(published, panel.published)
        axis.set_ylabel(panel.label, fontsize=9.5)
        axis.set_xlabel("top-1 accuracy in percent", fontsize=9.5)
        axis.set_title(
            textwrap.fill(_describe_fit(measured_points), 95),
            fontsize=8.5,
            color=plotting.GREY,
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
    missing_text = textwrap.fill(describe_missing_models(rows, published), 112)
    foot.text(0.02, 0.04, missing_text, fontsize=8, color=plotting.GREY, va="bottom")
    return figure


def _plot_panel(
    axis: Axes, measured_points: Sequence[ModelPoint], published_points: Sequence[ModelPoint]
) -> None:
    plotting.tidy_axis(axis)
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
            color=plotting.GREY,
        )
        axis.set_yticks([])
        return
    top = max(point.distortion + (point.distortion_stderr or 0) for point in points)
    axis.set_ylim(0, 1.12 * top or 1.0)
    annotate_points(axis, points, [_get_point_colour(point) for point in points])


def _get_point_colour(point: ModelPoint) -> str:
    return plotting.GREY if point.untrained else FAMILY_COLOURS[point.family]


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
    axis.plot(x, y, style, color=plotting.GREY, linewidth=1.1, zorder=1)


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
        build_handle("ours, ± 1 s.e.", marker="o", color=plotting.GREY),
        build_handle("published", marker="D", color=plotting.GREY, markerfacecolor="none"),
        build_handle("random weights", marker="X", color=plotting.GREY),
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
