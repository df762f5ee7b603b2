"""TA and RA over epochs: the paper's Tables 2 and 3 as pictures.

```python
line = Line("PGD-4", {1: (41.4, 40.4, 42.4), 30: (50.9, 49.9, 51.9)})
figure = over_epochs([Network("ConvNet", "convnet", [], [line])], "mnist")
```
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qup.evidence_figures import colours

# Value, lower and upper end of its interval.
IntervalPoint = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class AccuracyCurve:
    """One network under one look.

    Attributes:
      title: In the legend.
      points: Epochs to value, low, high, in percent.
      style: "-", "--", ":" or "-.".
      marker: Of its points.
      open_markers: Draw markers without filling, for the paper's numbers.
    """

    title: str
    points: Mapping[int, IntervalPoint]
    style: str | tuple = "-"
    marker: str = "o"
    open_markers: bool = False


@dataclasses.dataclass(frozen=True)
class NetworkAccuracies:
    """One network under all looks.

    Attributes:
      title: What it is called.
      model: Its architecture, for the colour.
      clean: Its TA.
      robust: Its RA under attacks.
    """

    title: str
    model: str
    clean: Sequence[AccuracyCurve]
    robust: Sequence[AccuracyCurve]


def plot_accuracies(networks: Sequence[NetworkAccuracies], title: str) -> Figure:
    """Draws TA of all networks, and RA of each in a panel of its own.

    Args:
      networks: At least one.
      title: Above all.
    """
    rows = math.ceil((1 + len(networks)) / 2)
    figure = Figure(figsize=(9.2, 1.3 + 3.5 * rows), layout="constrained")
    first, *others = figure.subplots(rows, 2).flat
    for axis in others[1:]:
        # Of one scale, to be compared.
        axis.sharey(others[0])
    _plot_accuracy_curves(first, [(n.model, curve) for n in networks for curve in n.clean])
    names = ", ".join(network.title for network in networks)
    first.set(ylabel="test accuracy TA in percent", title=f"TA: {names}")
    for axis, network in zip(others, networks, strict=False):
        _plot_accuracy_curves(axis, [(network.model, curve) for curve in network.robust])
        axis.set(ylabel="robust accuracy RA in percent", title=f"RA: {network.title}")
    for axis in others[len(networks) :]:
        axis.remove()
    for axis in (first, others[0]):
        # Intervals of few seeds may leave the range that accuracies have.
        low, high = axis.get_ylim()
        axis.set_ylim(max(low, -2), min(high, 102))
    # Below, where it covers no point.
    figure.legend(
        handles=[*_build_colour_legend(networks), *_build_kind_legend(networks)],
        loc="outside lower center",
        ncols=4,
        fontsize=8.5,
        frameon=False,
    )
    figure.suptitle(title, fontsize=11)
    return figure


def _plot_accuracy_curves(
    axis: Axes, models_and_curves: Sequence[tuple[str, AccuracyCurve]]
) -> None:
    epochs = sorted({n for _, curve in models_and_curves for n in curve.points})
    positions = {n: i for i, n in enumerate(epochs)}
    for number, (model, curve) in enumerate(models_and_curves):
        # Side by side, so that error bars do not cover each other.
        shift = 0.05 * (number - (len(models_and_curves) - 1) / 2)
        curve_epochs = sorted(curve.points)
        values = [curve.points[n][0] for n in curve_epochs]
        below = [max(curve.points[n][0] - curve.points[n][1], 0) for n in curve_epochs]
        above = [max(curve.points[n][2] - curve.points[n][0], 0) for n in curve_epochs]
        colour = colours.get_network_colour(model)
        axis.errorbar(
            [positions[n] + shift for n in curve_epochs],
            values,
            [below, above],
            color=colour,
            linestyle=curve.style,
            marker=curve.marker,
            markersize=5,
            capsize=3,
            linewidth=1.2,
            markerfacecolor="none" if curve.open_markers else colour,
        )
    axis.set_xticks(range(len(epochs)), [str(n) for n in epochs])
    axis.set_xlabel("training epochs")
    axis.grid(alpha=0.3)


def _build_colour_legend(networks: Sequence[NetworkAccuracies]) -> list[Line2D]:
    """Returns a key to the networks, where there are several."""
    if len(networks) == 1:
        return []
    return [
        Line2D([], [], color=colours.get_network_colour(n.model), linewidth=4, label=n.title)
        for n in networks
    ]


def _build_kind_legend(networks: Sequence[NetworkAccuracies]) -> list[Line2D]:
    """Returns a key to the looks, in no network's colour."""
    curves = {curve.title: curve for n in networks for curve in (*n.clean, *n.robust)}
    return [
        Line2D(
            [],
            [],
            color=colours.GREY,
            linestyle=curve.style,
            marker=curve.marker,
            markersize=5,
            linewidth=1.2,
            label=title,
            markerfacecolor="none" if curve.open_markers else colours.GREY,
        )
        for title, curve in curves.items()
    ]
