"""TA and RA of the walked images X_n over n: supplement, Fig. 2.

`trajectory` is of the training images, as there; `by_labels` of test images,
whose label nobody may know.

```python
figure = trajectory({"test_accuracy": {0: (97.0, 96.9, 97.1)}}, "ConvNet")
```
"""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from qup.evidence_figures import colours

# n to value, lower and upper end of its interval.
Points = Mapping[int, tuple[float, float, float]]
_STYLES = {
    "test_accuracy": ("TA of $X_n$", colours.BLUE, "-"),
    "robust_accuracy": ("RA of $X_n$", colours.VERMILION, "--"),
}


def trajectory(points: Mapping[str, Points], title: str) -> Figure:
    """Draws accuracies over the number of opposite-FGSM steps.

    Args:
      points: "test_accuracy" and "robust_accuracy" to n to value, lower and
        upper end of its interval, in percent.
      title: Of which network.
    """
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axis = figure.subplots()
    for measure, found in points.items():
        name, colour, style = _STYLES[measure]
        steps, below, above = _bars(found)
        axis.errorbar(
            steps, [found[n][0] for n in steps], [below, above], label=name,
            color=colour, linestyle=style, marker="o", markersize=3,
            capsize=2,
        )  # fmt: skip
    axis.set(
        xlabel="opposite-FGSM steps n",
        ylabel="accuracy in percent, 95 % interval",
        title=title,
    )
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.3)
    axis.legend()
    return figure


# What is measured of a walked test image: colour, line and name.
_UNSEEN = {
    "clean": (colours.BLUE, "o-", "TA of $X_n$"),
    "attacked_after": (colours.VERMILION, "s--", "RA, $X_n$ attacked"),
    "attacked_before": (
        colours.PURPLE, "^:", "RA, $X_0$ attacked, then walked",
    ),
}  # fmt: skip


def by_labels(panels: Mapping[str, Mapping[str, Points]], title: str) -> Figure:
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
            colour, line, label = _UNSEEN[key]
            steps, below, above = _bars(points)
            axis.errorbar(
                steps, [points[n][0] for n in steps], [below, above],
                fmt=line, color=colour, label=label, markersize=4, capsize=2,
                linewidth=1.2,
            )  # fmt: skip
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("opposite-FGSM steps n")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_ylim(-3, 103)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy in percent, 95 % interval")
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center",
        ncols=3, fontsize=9, frameon=False,
    )  # fmt: skip
    figure.suptitle(title, fontsize=11)
    return figure


def _bars(points: Points) -> tuple[list[int], list[float], list[float]]:
    """Returns n, and the lengths of the bars below and above."""
    steps = sorted(points)
    below = [max(points[n][0] - points[n][1], 0) for n in steps]
    above = [max(points[n][2] - points[n][0], 0) for n in steps]
    return steps, below, above
