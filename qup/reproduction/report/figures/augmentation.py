"""Supplement, Fig. 3: the pipeline of Iterative FGSM Augmentation, drawn.

```python
figure = draw(
    classifier="ResNet, 5 epochs", alone=Pair("86.2", "1.5"),
    walked={0: Pair("94.4", "3.2"), 20: Pair("100", "97.0")},
    pair=Pair("83.1", "20.4"), title="cifar10, seeds: 5",
)
```
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import MaxNLocator

from qup.core import plotting
from qup.reproduction.report.figures.style import IntervalPoint

_WIDTH, _HEIGHT = 12.0, 9.0
# Where the four parts begin, from above, and their titles.
_STAGE_TITLES = {
    8.75: "1  Train a classifier on the training images $X_0$ with labels $Y^*$",
    6.45: "2  Walk the training images with their labels: "
    r"$X_{n+1} = X_n - \epsilon\,$sign$(\nabla_X l) = X_n + D_n$",
    4.35: r"3  Teach Pix2Pix the pairs $(X_0, \Delta_N)$, "
    r"$\Delta_N = X_N - X_0$",
    2.05: "4  Put it before the classifier, for images without a label",
}
_BOX_COLOURS = {"data": "#EEF4FA", "network": "#FBEFE2", "number": "#E8F5EF"}
_MAX_ITERATES = 8
# Of the third part, between two images.
_TRANSLATION_Y = 3.35


class AccuracyTexts(NamedTuple):
    """TA and RA in percent, as text."""

    test_accuracy: str
    robust_accuracy: str

    def format_lines(self) -> str:
        """Returns both, a line each."""
        return f"TA {self.test_accuracy}\nRA {self.robust_accuracy}"


def plot_pipeline(
    *,
    classifier: str,
    classifier_only: AccuracyTexts,
    iterates: Mapping[int, AccuracyTexts],
    pair: AccuracyTexts,
    title: str,
    images: Mapping[str, np.ndarray] | None = None,
) -> Figure:
    """Draws the four parts with the numbers that were measured.

    Args:
      classifier: Its name and epochs.
      classifier_only: Of test images, the classifier alone (CL).
      iterates: n to those of the training images X_n; of more than eight the
        first six, and the last two, are shown.
      pair: Of test images, the pair (ACL).
      title: Stands above: data set, seeds, attack.
      images: "x_0", "delta_n", "translated" and "x_n", of one test image,
        float32 [height, width, channels]; None draws boxes alone.
    """
    figure = Figure(figsize=(10.4, 7.9), layout="constrained")
    figure.suptitle(title, fontsize=11, parse_math=False)
    axis = figure.subplots()
    axis.set(xlim=(0, _WIDTH), ylim=(0, _HEIGHT))
    axis.axis("off")
    for top, stage_title in _STAGE_TITLES.items():
        axis.text(0.1, top, stage_title, fontsize=10.5, weight="bold", va="center")
    stage_images = dict(images or {})
    _draw_training(axis, classifier, classifier_only)
    _draw_trajectory(axis, iterates)
    _draw_translation(axis, stage_images)
    _draw_combination(axis, classifier, pair, stage_images)
    # Pictures have set the limits anew.
    axis.set(xlim=(0, _WIDTH), ylim=(0, _HEIGHT), aspect="auto")
    return figure


def _draw_training(axis: Axes, classifier: str, classifier_only: AccuracyTexts) -> None:
    _draw_box(axis, 1.1, 7.8, "training images\n$X_0$, $Y^*$", "data")
    _draw_box(axis, 4.3, 7.8, f"classifier\n{classifier}", "network", width=2.6)
    _draw_box(
        axis, 8.3, 7.8, f"test images, CL\n{classifier_only.format_lines()}", "number", width=2.4
    )
    _draw_arrow(axis, (2.0, 7.8), (3.0, 7.8))
    _draw_arrow(axis, (5.6, 7.8), (7.1, 7.8), "attacked, 4 steps")


def _draw_trajectory(axis: Axes, iterates: Mapping[int, AccuracyTexts]) -> None:
    steps = sorted(iterates)
    if len(steps) > _MAX_ITERATES:
        steps = [*steps[: _MAX_ITERATES - 2], *steps[-2:]]
    spacing = (_WIDTH - 1.3) / max(len(steps) - 1, 1)
    for index, step in enumerate(steps):
        x = 0.65 + spacing * index
        _draw_box(
            axis,
            x,
            5.55,
            f"$X_{{{step}}}$\n{iterates[step].format_lines()}",
            "number",
            width=1.05,
            height=1.1,
        )
        if index:
            previous_step = steps[index - 1]
            label = f"$D_{{{previous_step}}}$" if step == previous_step + 1 else "..."
            _draw_arrow(axis, (x - spacing + 0.53, 5.55), (x - 0.53, 5.55), label)


def _draw_translation(axis: Axes, images: Mapping[str, np.ndarray]) -> None:
    _draw_image(axis, 1.1, _TRANSLATION_Y, "$X_0$", images.get("x_0"))
    _draw_box(axis, 3.9, _TRANSLATION_Y, "generator G\n(U-Net)", "network")
    _draw_image(axis, 6.7, 3.8, "$G(X_0)$", images.get("translated"), small=True)
    _draw_image(axis, 6.7, 2.85, r"$\Delta_N$", images.get("delta_n"), small=True)
    _draw_box(axis, 9.8, _TRANSLATION_Y, "discriminator:\nfake or real?", "network")
    _draw_arrow(axis, (2.0, _TRANSLATION_Y), (3.0, _TRANSLATION_Y))
    _draw_arrow(axis, (4.8, 3.45), (6.2, 3.8))
    _draw_arrow(axis, (7.2, 3.8), (8.9, 3.5))
    _draw_arrow(axis, (7.2, 2.85), (8.9, 3.2))


def _draw_combination(
    axis: Axes, classifier: str, pair: AccuracyTexts, images: Mapping[str, np.ndarray]
) -> None:
    _draw_image(axis, 1.1, 1.0, "$X_0$", images.get("x_0"))
    _draw_box(axis, 3.3, 1.0, "generator G", "network", width=1.5)
    _draw_image(axis, 5.6, 1.0, "$X_0 + G(X_0)$", images.get("x_n"))
    _draw_box(axis, 8.0, 1.0, f"classifier\n{classifier}", "network", width=2.3)
    _draw_box(axis, 10.9, 1.0, f"test images, ACL\n{pair.format_lines()}", "number", width=1.9)
    for start, end in ((1.9, 2.5), (4.1, 4.8), (6.4, 6.8), (9.2, 9.9)):
        _draw_arrow(axis, (start, 1.0), (end, 1.0))


def _draw_image(axis: Axes, x: float, y: float, label: str, image, small: bool = False) -> None:
    """Draws an image with its name, or a box where there is none."""
    if image is None:
        _draw_box(
            axis, x, y, label, "data", width=1.0 if small else 1.6, height=0.6 if small else 1.0
        )
        return
    half = 0.38 if small else 0.6
    pixels = np.clip(image, 0, 1)
    # Units of the axis are squares of about the same sides.
    axis.imshow(
        pixels[..., 0] if pixels.shape[-1] == 1 else pixels,
        cmap="gray",
        vmin=0,
        vmax=1,
        extent=(x - half, x + half, y - half, y + half),
        interpolation="nearest",
        zorder=2,
        aspect="auto",
    )
    # Of two small ones the upper has its name above.
    side = 1 if small and y > _TRANSLATION_Y else -1
    axis.text(x, y + side * (half + 0.15), label, fontsize=9, ha="center", va="center")


def _draw_box(
    axis: Axes,
    x: float,
    y: float,
    label: str,
    box_type: str,
    width: float = 1.8,
    height: float = 1.2,
) -> None:
    """Draws a box round its middle."""
    axis.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.1",
            fc=_BOX_COLOURS[box_type],
            ec=plotting.GREY,
            lw=1,
        )
    )
    axis.text(x, y, label, ha="center", va="center", fontsize=9)


def _draw_arrow(axis: Axes, start, end, label: str = "") -> None:
    axis.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=11,
            lw=1.1,
            color=plotting.BLACK,
            shrinkA=1,
            shrinkB=1,
        )
    )
    axis.text(
        (start[0] + end[0]) / 2,
        max(start[1], end[1]) + 0.12,
        label,
        ha="center",
        va="bottom",
        fontsize=8.5,
    )


# TA and RA of the walked images X_n over n: supplement, Fig. 2.
#
# `plot_trajectories` is of the training images, as there; `plot_label_comparison` of test images,
# whose label nobody may know.
#
# ```python
# walk = Walk("ConvNet", "convnet", {"test_accuracy": {0: (97.0, 96.9, 97.1)}})
# figure = compared({"1 epoch": [walk]}, "mnist")
# ```


# n to value, lower and upper end of its interval.
StepPoints = Mapping[int, IntervalPoint]
_TRAJECTORY_STYLES = {"test_accuracy": ("TA", "-", "o"), "robust_accuracy": ("RA", "--", "s")}


@dataclasses.dataclass(frozen=True)
class NetworkTrajectory:
    """The walk of one network.

    Attributes:
      title: What it is called.
      model: Its architecture, for its colour.
      points: "test_accuracy" and "robust_accuracy" to n to (value, low,
        high) in percent.
    """

    title: str
    model: str
    points: Mapping[str, StepPoints]


def plot_trajectories(panels: Mapping[str, Sequence[NetworkTrajectory]], title: str) -> Figure:
    """Draws accuracies over the number of opposite-FGSM steps.

    Args:
      panels: Title of a panel, such as "30 epochs", to its walks.
      title: Stands above all.
    """
    figure = Figure(figsize=(max(3.3 * len(panels), 5.4), 4.0), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (name, trajectories) in zip(grid, panels.items(), strict=True):
        for trajectory in trajectories:
            _plot_trajectory(axis, trajectory)
        axis.set(xlabel="opposite-FGSM steps n", title=name, ylim=(-3, 103))
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axis.grid(alpha=0.3)
    grid[0].set_ylabel("accuracy of $X_n$ in percent")
    handles_by_label = {}
    for axis in grid:
        handles, labels = axis.get_legend_handles_labels()
        handles_by_label |= dict(zip(labels, handles, strict=True))
    # A column for each network.
    figure.legend(
        handles_by_label.values(),
        handles_by_label,
        loc="outside lower center",
        ncols=max(1, len(handles_by_label) // len(_TRAJECTORY_STYLES)),
        fontsize=9,
        frameon=False,
    )
    figure.suptitle(title, fontsize=11, parse_math=False)
    return figure


def _plot_trajectory(axis: Axes, trajectory: NetworkTrajectory) -> None:
    for measure, step_points in trajectory.points.items():
        name, linestyle, marker = _TRAJECTORY_STYLES[measure]
        steps, below, above = _compute_step_bars(step_points)
        axis.errorbar(
            steps,
            [step_points[n][0] for n in steps],
            [below, above],
            label=f"{trajectory.title}, {name}",
            ls=linestyle,
            marker=marker,
            color=plotting.get_network_colour(trajectory.model),
            ms=3.5,
            capsize=2,
            lw=1.3,
        )


# What is measured of a walked test image: colour, line and name.
_TEST_CURVE_STYLES = {
    "clean": (plotting.BLUE, "o-", "TA of $X_n$"),
    "attacked_after": (plotting.VERMILION, "s--", "RA, $X_n$ attacked"),
    "attacked_before": (plotting.PURPLE, "^:", "RA, $X_0$ attacked, then walked"),
}


def plot_label_comparison(panels: Mapping[str, Mapping[str, StepPoints]], title: str) -> Figure:
    """Draws unseen images walked with true and with predicted labels.

    Args:
      panels: A panel's title to "clean", "attacked_after" and
        "attacked_before" to n to value, lower and upper end, in percent.
      title: Of which network.
    """
    figure = Figure(figsize=(8.4, 3.9), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (name, curves) in zip(axes, panels.items(), strict=True):
        for key, points in curves.items():
            colour, line_format, label = _TEST_CURVE_STYLES[key]
            steps, below, above = _compute_step_bars(points)
            axis.errorbar(
                steps,
                [points[n][0] for n in steps],
                [below, above],
                fmt=line_format,
                color=colour,
                label=label,
                markersize=4,
                capsize=2,
                linewidth=1.2,
            )
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("opposite-FGSM steps n")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_ylim(-3, 103)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy in percent, 95 % interval")
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        fontsize=9,
        frameon=False,
    )
    figure.suptitle(title, fontsize=11)
    return figure


def _compute_step_bars(points: StepPoints) -> tuple[list[int], list[float], list[float]]:
    """Returns n, and the lengths of the bars below and above."""
    steps = sorted(points)
    below = [max(points[n][0] - points[n][1], 0) for n in steps]
    above = [max(points[n][2] - points[n][0], 0) for n in steps]
    return steps, below, above


# The mean Delta_N of each class as a picture: what a class alone tells.
#
# ```python
# patterns(np.load("templates.npz")["templates"], info.class_names)
# ```


_TEMPLATE_COLUMNS, _MAX_CLASSES = 5, 20


def plot_class_templates(
    templates: np.ndarray, class_names: Sequence[str], *, title: str = ""
) -> Figure:
    """Draws a panel for each class, all on one scale around zero.

    Args:
      templates: float32 [num_classes, height, width, channels]; of several
        channels their mean is shown.
      class_names: One a class.
      title: Of what they are; above.

    Raises:
      ValueError: As many names as classes are needed.
    """
    if len(class_names) != len(templates):
        raise ValueError(
            f"{len(templates)} templates need as many names; got "
            f"{len(class_names)}: {list(class_names)[:_MAX_CLASSES]}."
        )
    channel_means = templates[:_MAX_CLASSES].mean(-1)
    max_magnitude = max(float(np.abs(channel_means).max()), 1e-6)
    num_rows = -(-len(channel_means) // _TEMPLATE_COLUMNS)
    figure = Figure(figsize=(7.0, 0.9 + 1.45 * num_rows), layout="constrained")
    axes = figure.subplots(num_rows, _TEMPLATE_COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, pattern, name in zip(axes.flat, channel_means, class_names, strict=False):
        image = axis.imshow(pattern, cmap="RdBu_r", vmin=-max_magnitude, vmax=max_magnitude)
        # A dollar would begin a formula.
        axis.set_title(str(name).replace("$", r"\$"), fontsize=9)
    colorbar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
    colorbar.set_label("mean Δ, in units of pixels in [0, 1]", fontsize=9)
    colorbar.ax.tick_params(labelsize=8)
    num_omitted = len(templates) - len(channel_means)
    full_title = title + f" (the first {_MAX_CLASSES} classes)" * bool(num_omitted)
    figure.suptitle(full_title, fontsize=11.5, weight="bold")
    return figure
