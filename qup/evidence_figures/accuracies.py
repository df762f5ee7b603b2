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
Point = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Line:
    """One network under one look.

    Attributes:
      title: In the legend.
      points: Epochs to value, low, high, in percent.
      style: "-", "--", ":" or "-.".
      marker: Of its points.
      hollow: Draw markers without filling, for the paper's numbers.
    """

    title: str
    points: Mapping[int, Point]
    style: str | tuple = "-"
    marker: str = "o"
    hollow: bool = False


@dataclasses.dataclass(frozen=True)
class Network:
    """One network under all looks.

    Attributes:
      title: What it is called.
      model: Its architecture, for the colour.
      clean: Its TA.
      robust: Its RA under attacks.
    """

    title: str
    model: str
    clean: Sequence[Line]
    robust: Sequence[Line]


def over_epochs(networks: Sequence[Network], title: str) -> Figure:
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
    _draw(first, [(n.model, line) for n in networks for line in n.clean])
    names = ", ".join(network.title for network in networks)
    first.set(ylabel="test accuracy TA in percent", title=f"TA: {names}")
    for axis, network in zip(others, networks, strict=False):
        _draw(axis, [(network.model, line) for line in network.robust])
        axis.set(
            ylabel="robust accuracy RA in percent", title=f"RA: {network.title}"
        )
    for axis in others[len(networks) :]:
        axis.remove()
    for axis in (first, others[0]):
        # Intervals of few seeds may leave the range that accuracies have.
        low, high = axis.get_ylim()
        axis.set_ylim(max(low, -2), min(high, 102))
    # Below, where it covers no point.
    figure.legend(
        handles=[*_colours(networks), *_styles(networks)],
        loc="outside lower center", ncols=4, fontsize=8.5, frameon=False,
    )  # fmt: skip
    figure.suptitle(title, fontsize=11)
    return figure


def _draw(axis: Axes, lines: Sequence[tuple[str, Line]]) -> None:
    epochs = sorted({n for _, line in lines for n in line.points})
    place = {n: i for i, n in enumerate(epochs)}
    for number, (model, line) in enumerate(lines):
        # Side by side, so that error bars do not cover each other.
        shift = 0.05 * (number - (len(lines) - 1) / 2)
        known = sorted(line.points)
        values = [line.points[n][0] for n in known]
        below = [max(line.points[n][0] - line.points[n][1], 0) for n in known]
        above = [max(line.points[n][2] - line.points[n][0], 0) for n in known]
        colour = colours.of_network(model)
        axis.errorbar(
            [place[n] + shift for n in known], values, [below, above],
            color=colour, linestyle=line.style, marker=line.marker,
            markersize=5, capsize=3, linewidth=1.2,
            markerfacecolor="none" if line.hollow else colour,
        )  # fmt: skip
    axis.set_xticks(range(len(epochs)), [str(n) for n in epochs])
    axis.set_xlabel("training epochs")
    axis.grid(alpha=0.3)


def _colours(networks: Sequence[Network]) -> list[Line2D]:
    """Returns a key to the networks, where there are several."""
    if len(networks) == 1:
        return []
    return [
        Line2D(
            [], [], color=colours.of_network(n.model), linewidth=4,
            label=n.title,
        )
        for n in networks
    ]  # fmt: skip


def _styles(networks: Sequence[Network]) -> list[Line2D]:
    """Returns a key to the looks, in no network's colour."""
    lines = {
        line.title: line for n in networks for line in (*n.clean, *n.robust)
    }
    return [
        Line2D(
            [], [], color=colours.GREY, linestyle=line.style,
            marker=line.marker, markersize=5, linewidth=1.2, label=title,
            markerfacecolor="none" if line.hollow else colours.GREY,
        )
        for title, line in lines.items()
    ]  # fmt: skip
