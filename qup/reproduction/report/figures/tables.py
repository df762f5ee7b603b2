"""TA and RA over epochs, and TA against RA: Tables 2 and 3 as figures."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qup.core import plotting
from qup.core.plotting import IntervalPoint
from qup.reproduction.report.figures import style
from qup.reproduction.report.figures.style import NetworkStyle


@dataclasses.dataclass(frozen=True)
class AccuracyCurve:
    """TA, or RA under one attack, of one network.

    Attributes:
      title: In the legend.
      points: Epochs to value, low, high, in percent.
      style: A line style of matplotlib.
      marker: Of its points.
      open_markers: Draw markers without filling, for the paper's numbers.
    """

    title: str
    points: Mapping[int, IntervalPoint]
    style: str | tuple = "-"
    marker: str = "o"
    open_markers: bool = False

    def get_line_options(self, colour: str) -> dict:
        """Returns the options of its line in a colour."""
        return {
            "color": colour,
            "linestyle": self.style,
            "marker": self.marker,
            "markersize": 5,
            "linewidth": 1.2,
            "markerfacecolor": "none" if self.open_markers else colour,
        }


@dataclasses.dataclass(frozen=True)
class NetworkAccuracies:
    """TA of one network, and its RA under several attacks.

    Attributes:
      title: For the legend.
      model: Its architecture, for the colour.
      clean: TA, ours and the paper's.
      robust: RA.
    """

    title: str
    model: str
    clean: Sequence[AccuracyCurve]
    robust: Sequence[AccuracyCurve]

    @property
    def colour(self) -> str:
        """The colour of the architecture."""
        return plotting.get_network_colour(self.model)


def plot_accuracies(networks: Sequence[NetworkAccuracies], title: str) -> Figure:
    """Draws TA of all networks in one panel, and RA of each in a panel of its own."""
    rows = math.ceil((1 + len(networks)) / 2)
    figure = Figure(figsize=(9.2, 1.3 + 3.5 * rows), layout="constrained")
    first, *others = figure.subplots(rows, 2).flat
    for axis in others[1:]:
        axis.sharey(others[0])
    _plot_accuracy_curves(first, [(n.colour, curve) for n in networks for curve in n.clean])
    names = ", ".join(network.title for network in networks)
    first.set(ylabel="test accuracy TA in percent", title=f"TA: {names}")
    for axis, network in zip(others, networks, strict=False):
        _plot_accuracy_curves(axis, [(network.colour, curve) for curve in network.robust])
        axis.set(ylabel="robust accuracy RA in percent", title=f"RA: {network.title}")
    for axis in others[len(networks) :]:
        axis.remove()
    for axis in (first, others[0]):
        low, high = axis.get_ylim()
        axis.set_ylim(max(low, -2), min(high, 102))
    handles = [
        Line2D([], [], color=network.colour, linewidth=4, label=network.title)
        for network in (networks if len(networks) > 1 else ())
    ]
    curves = {curve.title: curve for n in networks for curve in (*n.clean, *n.robust)}
    handles += [
        Line2D([], [], label=curve_title, **curve.get_line_options(plotting.GREY))
        for curve_title, curve in curves.items()
    ]
    plotting.add_legend_below(figure, handles=handles, ncols=4)
    figure.suptitle(title, fontsize=11)
    return figure


def _plot_accuracy_curves(axis: Axes, curves: Sequence[tuple[str, AccuracyCurve]]) -> None:
    epochs = sorted({n for _, curve in curves for n in curve.points})
    for number, (colour, curve) in enumerate(curves):
        # Side by side, so that error bars do not cover each other.
        shift = 0.05 * (number - (len(curves) - 1) / 2)
        positions = [epochs.index(n) + shift for n in sorted(curve.points)]
        plotting.plot_intervals(axis, curve.points, positions, **curve.get_line_options(colour))
    axis.set_xticks(range(len(epochs)), [str(n) for n in epochs])
    axis.set_xlabel("training epochs")
    plotting.tidy_axis(axis)


@dataclasses.dataclass(frozen=True)
class TrainingPath:
    """A network after several numbers of epochs.

    Attributes:
      style: How it is drawn.
      points: Epochs to TA and RA, each (value, low, high) in percent.
    """

    style: NetworkStyle
    points: Mapping[int, tuple[IntervalPoint, IntervalPoint]]


def plot_frontier(
    paths: Sequence[TrainingPath], *, title: str, attack: str, note: str = ""
) -> Figure:
    """Draws TA against RA, with arrows from fewer to more epochs.

    Args:
      paths: The networks.
      title: The network and the data set.
      attack: Name of the attack of RA.
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
    plotting.tidy_axis(axis)
    axis.margins(0.12)
    axis.set_ylim(max(axis.get_ylim()[0], -4), min(axis.get_ylim()[1], 104))
    axis.set_xlim(right=min(axis.get_xlim()[1], 100.5))
    axis.legend(
        handles=style.build_network_legend(path.style for path in paths),
        fontsize=8.5,
        framealpha=0.9,
        loc="best",
    )
    text = f"Arrows lead from fewer to more epochs. {note}".strip()
    figure.supxlabel(text, fontsize=8, color=plotting.GREY)
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
        style.plot_network(axis, path.style, clean, robust)
        axis.annotate(
            str(epochs),
            (clean[0], robust[0]),
            xytext=(5, 4),
            textcoords="offset points",
            fontsize=8,
            color=path.style.colour,
        )
