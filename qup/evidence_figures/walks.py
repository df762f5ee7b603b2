"""TA and RA of the walked images X_n over n: supplement, Fig. 2.

`plot_trajectories` is of the training images, as there; `plot_label_comparison` of test images,
whose label nobody may know.

```python
walk = Walk("ConvNet", "convnet", {"test_accuracy": {0: (97.0, 96.9, 97.1)}})
figure = compared({"1 epoch": [walk]}, "mnist")
```
"""

import dataclasses
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from qup.evidence_figures import colours
from qup.evidence_figures.trainings import IntervalPoint

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
            color=colours.get_network_colour(trajectory.model),
            ms=3.5,
            capsize=2,
            lw=1.3,
        )


# What is measured of a walked test image: colour, line and name.
_TEST_CURVE_STYLES = {
    "clean": (colours.BLUE, "o-", "TA of $X_n$"),
    "attacked_after": (colours.VERMILION, "s--", "RA, $X_n$ attacked"),
    "attacked_before": (colours.PURPLE, "^:", "RA, $X_0$ attacked, then walked"),
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
