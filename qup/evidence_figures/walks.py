"""TA and RA of the walked images X_n over n: supplement, Fig. 2.

```python
figure = trajectory({"test_accuracy": {0: (97.0, 96.9, 97.1)}}, "ConvNet")
```
"""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from qup.evidence_figures import colours

_STYLES = {
    "test_accuracy": ("TA of $X_n$", colours.BLUE, "-"),
    "robust_accuracy": ("RA of $X_n$", colours.VERMILION, "--"),
}


def trajectory(
    points: Mapping[str, Mapping[int, tuple[float, float, float]]], title: str
) -> Figure:
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
        steps = sorted(found)
        below = [max(found[n][0] - found[n][1], 0) for n in steps]
        above = [max(found[n][2] - found[n][0], 0) for n in steps]
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
