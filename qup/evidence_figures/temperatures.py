"""One network at several temperatures of its logits: TA, RA and sigma_p.

```python
figure = draw({"TA": {0.25: point, 1.0: point}}, {"box": {1.0: point}},
              title="ConvNet on MNIST, 1 epoch")
```
"""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from qup.evidence_figures import colours
from qup.evidence_figures.trainings import IntervalPoint

# Temperature to a value and its interval.
TemperatureCurve = Mapping[float, IntervalPoint]
_TEMPERATURE_STYLES = (
    (colours.BLUE, "o-"),
    (colours.VERMILION, "s--"),
    (colours.ORANGE, "D-."),
    (colours.PURPLE, "^:"),
)


def plot_temperatures(
    accuracies: Mapping[str, TemperatureCurve],
    deviations: Mapping[str, TemperatureCurve],
    title: str,
) -> Figure:
    """Draws accuracies on the left, sigma_p on the right.

    Args:
      accuracies: Percent by what is measured.
      deviations: sigma_p by domain; may be empty.
      title: Of which network.
    """
    figure = Figure(figsize=(8.6, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    temperatures = sorted(
        {t for curves in (accuracies, deviations) for curve in curves.values() for t in curve}
    )
    _plot_temperature_curves(left, accuracies, temperatures)
    left.set_ylabel("accuracy in percent")
    left.set_ylim(-3, 103)
    _plot_temperature_curves(right, deviations, temperatures)
    right.set_ylabel("sigma_p, 1 / pixel range (mean over pixels)")
    # A window's is a thousand times that of the box.
    right.set_yscale("log")
    if not any(deviations.values()):
        right.text(0.5, 0.5, "not run", ha="center", color=colours.GREY, transform=right.transAxes)
        right.set_yticks([])
    figure.suptitle(title, fontsize=11)
    figure.supxlabel("temperature T: logits are divided by it; bars: 95 % intervals", fontsize=9.5)
    return figure


def _plot_temperature_curves(
    axis: Axes, curves: Mapping[str, TemperatureCurve], temperatures: list[float]
) -> None:
    for (name, points), (colour, line_format) in zip(
        curves.items(), _TEMPERATURE_STYLES, strict=False
    ):
        point_temperatures = sorted(points)
        below = [max(points[t][0] - points[t][1], 0) for t in point_temperatures]
        above = [max(points[t][2] - points[t][0], 0) for t in point_temperatures]
        axis.errorbar(
            point_temperatures,
            [points[t][0] for t in point_temperatures],
            [below, above],
            fmt=line_format,
            color=colour,
            label=name,
            markersize=5,
            capsize=3,
            linewidth=1.2,
        )
    axis.set_xscale("log")
    axis.set_xticks(temperatures, [f"{t:g}" for t in temperatures])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.margins(x=0.12)
    axis.grid(alpha=0.3)
    if any(curves.values()):
        axis.legend(fontsize=8.5)
