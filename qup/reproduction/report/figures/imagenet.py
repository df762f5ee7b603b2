"""Fig. 3 of the paper: distortion against top-1 accuracy, model by model.

```python
figure = draw(rows, published.read())
```
"""

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qup.core.errors import InputError
from qup.core.measurements import Row
from qup.reproduction.imagenet import fits, models
from qup.reproduction.imagenet.fits import FitPoint
from qup.reproduction.imagenet.models import FAMILIES
from qup.reproduction.imagenet.published import DISTORTIONS, PublishedValues

# The points of Fig. 3, from rows and from published values.
#
# ```python
# marks = ours(rows, "mean_linf")
# ```


# Which of several rows of a measure: a mean L-inf comes of two attacks.
_MEASURE_ATTACKS = {
    "mean_linf": "iterative_fgsm_search",
    "mean_l2_per_element": "carlini_wagner",
    "mean_clever_per_element": "",
}
# What tells one measurement of a model from another.
_KEY_PARAMETERS = ("image_files", "image_size", "num_images", "split", "weights")


@dataclasses.dataclass(frozen=True)
class ModelPoint:
    """One point.

    Attributes:
      name: Of the model.
      family: Of the model.
      top_1: Percent.
      top_1_stderr: Standard error; None where it is not known.
      distortion: In the panel's unit.
      distortion_stderr: Standard error; None where it is not known.
      num_parameters: Number of the model's; None where it is not known.
      untrained: Whether the weights are random.
      published: Whether it is published, and not ours.
    """

    name: str
    family: str
    top_1: float
    top_1_stderr: float | None
    distortion: float
    distortion_stderr: float | None
    num_parameters: int | None
    untrained: bool = False
    published: bool = False

    @property
    def title(self) -> str:
        """The name, and what kind of point it is."""
        if self.published:
            return f"{self.name}, cited"
        return f"{self.name}, untrained" if self.untrained else self.name

    @property
    def point(self) -> FitPoint:
        """What a line is fitted to."""
        return FitPoint(self.family, self.top_1, self.distortion)


def build_measured_points(rows: Sequence[Row], measure: str) -> list[ModelPoint]:
    """Returns the points of our rows.

    Args:
      rows: Of any models; those that are none of the 18 are left out, and
        targets that are not random, but for untrained networks.
      measure: "mean_linf", "mean_l2_per_element" or
        "mean_clever_per_element".
    """
    rows = [row for row in rows if row.model in models.list_names()]
    accuracies = {_get_model_key(row): row for row in rows if row.measure == "test_accuracy"}
    points = []
    for row in rows:
        accuracy = accuracies.get(_get_model_key(row))
        is_selected = row.measure == measure and row.attack == _MEASURE_ATTACKS[measure]
        untrained = row.parameters.get("weights") == "random"
        has_random_targets = row.parameters.get("targets", "random") == "random"
        if not is_selected or accuracy is None or not (has_random_targets or untrained):
            continue
        model = models.get_model(row.model)
        points.append(
            ModelPoint(
                model.name,
                model.family,
                accuracy.value,
                accuracy.stderr,
                row.value,
                row.stderr,
                model.parameters,
                untrained,
            )
        )
    return points


def _get_model_key(row: Row) -> tuple:
    parameters = (str(row.parameters.get(name)) for name in _KEY_PARAMETERS)
    return row.model, row.dataset, row.seed, *parameters


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


# Names of crowded points in a column beside a panel, each with a line.
#
# ```python
# write(axis, marks, colours)
# spread([0.5, 0.5], 0.1)  # [0.45, 0.55]
# ```


# Between two names, as a share of the panel's height.
_MIN_LABEL_GAP = 0.052


def annotate_points(axis: Axes, points: Sequence[ModelPoint], colours: Sequence[str]) -> None:
    """Writes every mark's name to the right of a panel.

    Args:
      axis: The panel, its limits set.
      points: Its points.
      colours: One a point.
    """
    top = axis.get_ylim()[1]
    heights = spread_labels([point.distortion / top for point in points], _MIN_LABEL_GAP)
    for point, height, colour in zip(points, heights, colours, strict=True):
        axis.annotate(
            point.title,
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


def spread_labels(positions: Sequence[float], gap: float) -> np.ndarray:
    """Returns places at least a gap apart, near those wanted, in their order.

    Runs of places that would overlap are moved together, about their mean.

    Args:
      positions: Places in any order.
      gap: The least distance.
    """
    order = np.argsort(positions, kind="stable")
    # Without the gaps, places only have to be in order: the nearest such
    # ones are means of runs (pooling of adjacent violators).
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


# What Fig. 3 lacks, in words.
#
# ```python
# missing(rows, published.read())  # "Keras lacks AlexNet, ... Not run: ..."
# ```


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
        text += "; the others stand in pictures alone"
    return text + ". Their weights were others than Keras's."


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
    missing_text = textwrap.fill(describe_missing_models(rows, published), 112)
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
    annotate_points(axis, points, [_get_point_colour(point) for point in points])


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
