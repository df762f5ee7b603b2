"""TA and RA over epochs: the paper's Tables 2 and 3 as pictures.

```python
line = Line("PGD-4", {1: (41.4, 40.4, 42.4), 30: (50.9, 49.9, 51.9)})
figure = over_epochs([Network("ConvNet", "convnet", [], [line])], "mnist")
```
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qup.core import plotting
from qup.reproduction.report.figures import style
from qup.reproduction.report.figures.style import IntervalPoint, NetworkStyle


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
        colour = plotting.get_network_colour(model)
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
        Line2D([], [], color=plotting.get_network_colour(n.model), linewidth=4, label=n.title)
        for n in networks
    ]


def _build_kind_legend(networks: Sequence[NetworkAccuracies]) -> list[Line2D]:
    """Returns a key to the looks, in no network's colour."""
    curves = {curve.title: curve for n in networks for curve in (*n.clean, *n.robust)}
    return [
        Line2D(
            [],
            [],
            color=plotting.GREY,
            linestyle=curve.style,
            marker=curve.marker,
            markersize=5,
            linewidth=1.2,
            label=title,
            markerfacecolor="none" if curve.open_markers else plotting.GREY,
        )
        for title, curve in curves.items()
    ]


# TA against RA of all networks: is there a frontier, and what lies on it.
#
# ```python
# figure = draw([Path(look, {1: (clean, robust), 30: (clean, robust)})],
#               title="MNIST", attack="PGD-100, epsilon 0.1")
# ```


@dataclasses.dataclass(frozen=True)
class TrainingPath:
    """A network on its way through its training.

    Attributes:
      style: How it is drawn.
      points: Epochs to TA and RA, each (value, low, high) in percent.
    """

    style: NetworkStyle
    points: Mapping[int, tuple[IntervalPoint, IntervalPoint]]


def plot_frontier(
    paths: Sequence[TrainingPath], *, title: str, attack: str, note: str = ""
) -> Figure:
    """Draws a point for each network, arrows from fewer to more epochs.

    Args:
      paths: The networks.
      title: What they were trained on.
      attack: Of RA, in words.
      note: Below, such as what the bars are.
    """
    figure = Figure(figsize=(7, 5.2), layout="constrained")
    axis = figure.subplots()
    for path in paths:
        _plot_training_path(axis, path)
    axis.set(
        xlabel="test accuracy TA in percent", ylabel=f"robust accuracy RA in percent\n({attack})"
    )
    axis.set_title(title, fontsize=11)
    axis.grid(color="#E8E8E8", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.margins(0.12)
    axis.set_ylim(max(axis.get_ylim()[0], -4), min(axis.get_ylim()[1], 104))
    axis.set_xlim(right=min(axis.get_xlim()[1], 100.5))
    axis.legend(
        handles=style.build_style_legend(path.style for path in paths),
        fontsize=8.5,
        framealpha=0.9,
        loc="best",
    )
    arrows_note = "Arrows lead from fewer to more epochs, given beside the points."
    figure.supxlabel(f"{arrows_note} {note}".strip(), fontsize=8, color=plotting.GREY)
    return figure


def _plot_training_path(axis: Axes, path: TrainingPath) -> None:
    finite_points = [
        (epochs, *path.points[epochs])
        for epochs in sorted(path.points)
        if np.isfinite([point[0] for point in path.points[epochs]]).all()
    ]
    for (_, *start), (_, *end) in pairwise(finite_points):
        axis.annotate(
            "",
            [point[0] for point in end],
            [point[0] for point in start],
            arrowprops={
                "arrowstyle": "-|>",
                "color": path.style.colour,
                "alpha": 0.55,
                "shrinkA": 5,
                "shrinkB": 5,
                "linewidth": 1.1,
            },
        )
    for epochs, clean, robust in finite_points:
        style.plot_interval_point(axis, path.style, clean, robust)
        axis.annotate(
            str(epochs),
            (clean[0], robust[0]),
            xytext=(5, 4),
            textcoords="offset points",
            fontsize=8,
            color=path.style.colour,
        )
