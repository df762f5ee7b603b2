"""sigma_p and the uncertainty product over training epochs.

```python
figure = over_epochs({"sigma_p": {1: (0.015, 0.014, 0.016)}, ...}, "ConvNet")
```
"""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qup.evidence_figures import colours

EpochPoints = Mapping[int, tuple[float, float, float]]


def plot_uncertainty_products(points: Mapping[str, EpochPoints], title: str) -> Figure:
    """Draws sigma_p on the left, product and bound on the right.

    Args:
      points: "sigma_p", "uncertainty_product" and "uncertainty_bound" to
        epochs to value, lower and upper end of the interval.
      title: Of which network, where.
    """
    figure = Figure(figsize=(8.6, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    _plot_epoch_points(left, points["sigma_p"], "sigma_p", colours.PURPLE, "o-")
    left.set_ylabel("sigma_p, 1 / pixel range (mean over pixels)")
    _plot_epoch_points(right, points["uncertainty_product"], "sigma_x sigma_p", colours.BLUE, "o-")
    _plot_epoch_points(
        right, points["uncertainty_bound"], "bound |1 - B| / 2", colours.VERMILION, "s--"
    )
    right.axhline(
        0.5, color=colours.GREY, linewidth=1, linestyle=":", label="1/2, the printed bound"
    )
    right.set_ylabel("product (mean over pixels)")
    right.legend(fontsize=8)
    for axis in (left, right):
        axis.set_xlabel("training epochs")
        axis.grid(alpha=0.3)
    figure.suptitle(title, fontsize=11)
    return figure


def _plot_epoch_points(axis: Axes, points: EpochPoints, label: str, colour: str, style: str):
    epochs = sorted(points)
    below = [max(points[n][0] - points[n][1], 0) for n in epochs]
    above = [max(points[n][2] - points[n][0], 0) for n in epochs]
    axis.errorbar(
        range(len(epochs)),
        [points[n][0] for n in epochs],
        [below, above],
        fmt=style,
        color=colour,
        label=label,
        capsize=3,
        markersize=5,
    )
    axis.set_xticks(range(len(epochs)), [str(n) for n in epochs])
