"""Iterative FGSM Augmentation: its pipeline, X_n over n, and the mean Delta_N per class."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import MaxNLocator

from qup.core import plotting
from qup.core.plotting import IntervalPoint

_WIDTH, _HEIGHT = 12.0, 9.0
# The height of the four stages, from the top, and their titles.
_STAGE_TITLES = {
    8.75: "1  Train a classifier on the training images $X_0$ with labels $Y^*$",
    6.45: "2  Iterate opposite FGSM on the training images, with their labels: "
    r"$X_{n+1} = X_n - \epsilon\,$sign$(\nabla_X l) = X_n + D_n$",
    4.35: r"3  Train Pix2Pix on the pairs $(X_0, \Delta_N)$, "
    r"$\Delta_N = X_N - X_0$",
    2.05: "4  Put G before the classifier, for images without a label",
}
_BOX_COLOURS = {"data": "#EEF4FA", "network": "#FBEFE2", "number": "#E8F5EF"}
_MAX_ITERATES = 8
# The height of the third stage.
_TRANSLATION_Y = 3.35


class AccuracyTexts(NamedTuple):
    """TA and RA in percent, as text."""

    test_accuracy: str
    robust_accuracy: str

    def format_lines(self) -> str:
        """Returns two lines."""
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
    """Draws the four stages with the numbers that were measured.

    Args:
      classifier: Its name and epochs.
      classifier_only: Of test images, the classifier alone (CL).
      iterates: n to TA and RA of the training images X_n; of more than eight the first six and
        the last two are drawn.
      pair: Of test images, the pair (ACL).
      title: Above: the network, the data set, the seeds.
      images: "x_0", "delta_n", "translated" and "x_n" of one test image, float32 [height,
        width, channels]; None draws boxes.
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
    # Images change the limits.
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
    """Draws an image with its label; a box instead of a missing image."""
    if image is None:
        _draw_box(
            axis, x, y, label, "data", width=1.0 if small else 1.6, height=0.6 if small else 1.0
        )
        return
    half = 0.38 if small else 0.6
    extent = (x - half, x + half, y - half, y + half)
    plotting.show_image(axis, image, extent=extent, zorder=2, aspect="auto")
    # The upper one of two small images has its label above.
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
    """Draws a box around its centre."""
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


# n to the value and its interval.
StepPoints = Mapping[int, IntervalPoint]
_TRAJECTORY_STYLES = {"test_accuracy": ("TA", "o-"), "robust_accuracy": ("RA", "s--")}
_TEST_CURVE_STYLES = {
    "clean": (plotting.BLUE, "o-", "TA of $X_n$"),
    "attacked_after": (plotting.VERMILION, "s--", "RA, $X_n$ attacked"),
    "attacked_before": (plotting.PURPLE, "^:", "RA, $X_0$ attacked, then iterated"),
}


@dataclasses.dataclass(frozen=True)
class NetworkTrajectory:
    """Accuracies of the iterates X_n of one network.

    Attributes:
      title: For the legend.
      model: Its architecture, for its colour.
      points: "test_accuracy" and "robust_accuracy" to n to (value, low, high) in percent.
    """

    title: str
    model: str
    points: Mapping[str, StepPoints]


def plot_trajectories(panels: Mapping[str, Sequence[NetworkTrajectory]], title: str) -> Figure:
    """Draws accuracies of training images X_n over n, supplement Fig. 2.

    Args:
      panels: Title of a panel, such as "30 epochs", to its networks.
      title: Above all.
    """
    figure = Figure(figsize=(max(3.3 * len(panels), 5.4), 4.0), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (name, trajectories) in zip(axes, panels.items(), strict=True):
        for trajectory in trajectories:
            for measure, points in trajectory.points.items():
                label, line_format = _TRAJECTORY_STYLES[measure]
                plotting.plot_intervals(
                    axis,
                    points,
                    label=f"{trajectory.title}, {label}",
                    fmt=line_format,
                    color=plotting.get_network_colour(trajectory.model),
                    markersize=3.5,
                )
        _label_steps(axis, name)
    axes[0].set_ylabel("accuracy of $X_n$ in percent")
    num_networks = len({t.title for trajectories in panels.values() for t in trajectories})
    plotting.add_legend_below(figure, axes, ncols=max(1, num_networks), fontsize=9)
    figure.suptitle(title, fontsize=11, parse_math=False)
    return figure


def plot_label_comparison(panels: Mapping[str, Mapping[str, StepPoints]], title: str) -> Figure:
    """Draws accuracies of test images X_n over n, iterated with true and with predicted labels.

    Args:
      panels: Title of a panel to "clean", "attacked_after" and "attacked_before" to n to
        (value, low, high) in percent.
      title: The network.
    """
    figure = Figure(figsize=(8.4, 3.9), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (name, curves) in zip(axes, panels.items(), strict=True):
        for key, points in curves.items():
            colour, line_format, label = _TEST_CURVE_STYLES[key]
            plotting.plot_intervals(axis, points, fmt=line_format, color=colour, label=label)
        _label_steps(axis, name)
    axes[0].set_ylabel("accuracy in percent, 95 % interval")
    plotting.add_legend_below(figure, axes[:1], fontsize=9)
    figure.suptitle(title, fontsize=11)
    return figure


def _label_steps(axis: Axes, title: str) -> None:
    axis.set(xlabel="opposite-FGSM steps n", ylim=(-3, 103))
    axis.set_title(title, fontsize=10)
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    plotting.tidy_axis(axis)


_TEMPLATE_COLUMNS, _MAX_CLASSES = 5, 20


def plot_class_templates(
    templates: np.ndarray, class_names: Sequence[str], *, title: str = ""
) -> Figure:
    """Draws the mean Delta_N of each class, all on one scale around zero.

    Args:
      templates: float32 [num_classes, height, width, channels]; the mean over channels is
        drawn, of at most 20 classes.
      class_names: One per class.
      title: Above.

    Raises:
      ValueError: The numbers of names and of classes differ.
    """
    if len(class_names) != len(templates):
        raise ValueError(
            f"{len(templates)} templates need as many names; received {len(class_names)}: "
            f"{list(class_names)[:_MAX_CLASSES]}."
        )
    drawn = templates[:_MAX_CLASSES]
    scale = max(float(np.abs(drawn.mean(-1)).max()), 1e-6)
    num_rows = -(-len(drawn) // _TEMPLATE_COLUMNS)
    figure = Figure(figsize=(7.0, 0.9 + 1.45 * num_rows), layout="constrained")
    axes = figure.subplots(num_rows, _TEMPLATE_COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, template, name in zip(axes.flat, drawn, class_names, strict=False):
        image = plotting.show_signed_field(axis, template, scale)
        # A dollar would begin a formula.
        axis.set_title(str(name).replace("$", r"\$"), fontsize=9)
    colorbar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
    colorbar.set_label("mean Δ, in units of pixels in [0, 1]", fontsize=9)
    colorbar.ax.tick_params(labelsize=8)
    if len(templates) > len(drawn):
        title += f" (the first {_MAX_CLASSES} classes)"
    figure.suptitle(title, fontsize=11.5, weight="bold")
    return figure
