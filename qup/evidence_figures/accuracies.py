"""TA and RA over epochs: the paper's Tables 2 and 3 as pictures.

```python
figure = over_epochs([Line("ConvNet", "convnet", {1: (97.1, 96.9, 97.3)})])
```
"""

import dataclasses
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qup.evidence_figures import colours

# Value, lower and upper end of its interval; NaN where there is none.
Point = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Line:
    """One network under one look.

    Attributes:
      title: In the legend.
      model: Its architecture, for the colour.
      points: Epochs to value, low, high, in percent.
      style: "-", "--", ":" or "-.".
      marker: Of its points.
      hollow: Draw markers without filling, for the paper's numbers.
    """

    title: str
    model: str
    points: Mapping[int, Point]
    style: str = "-"
    marker: str = "o"
    hollow: bool = False


def over_epochs(
    clean: Sequence[Line], robust: Sequence[Line], title: str
) -> Figure:
    """Draws TA on the left and RA on the right.

    Args:
      clean: TA of networks.
      robust: RA of networks under attacks.
      title: Above both.
    """
    # Legends stand below, where they cover no point.
    rows = max(len(lines) + 1 for lines in (clean, robust)) // 2
    figure = Figure(figsize=(9.2, 4.2 + 0.2 * rows), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw(left, clean, "test accuracy TA in percent")
    _draw(right, robust, "robust accuracy RA in percent")
    figure.suptitle(title, fontsize=11)
    return figure


def _draw(axis: Axes, lines: Sequence[Line], label: str) -> None:
    epochs = sorted({n for line in lines for n in line.points})
    place = {n: i for i, n in enumerate(epochs)}
    for number, line in enumerate(lines):
        # Side by side, so that error bars do not cover each other.
        shift = 0.05 * (number - (len(lines) - 1) / 2)
        known = sorted(line.points)
        values = [line.points[n][0] for n in known]
        below = [max(line.points[n][0] - line.points[n][1], 0) for n in known]
        above = [max(line.points[n][2] - line.points[n][0], 0) for n in known]
        colour = colours.of_network(line.model)
        axis.errorbar(
            [place[n] + shift for n in known], values, [below, above],
            label=line.title, color=colour, linestyle=line.style,
            marker=line.marker, markersize=5, capsize=3, linewidth=1.2,
            markerfacecolor="none" if line.hollow else colour,
        )  # fmt: skip
    axis.set_xticks(range(len(epochs)), [str(n) for n in epochs])
    axis.set(xlabel="training epochs", ylabel=label)
    # Intervals of few seeds may leave the range that accuracies have.
    low, high = axis.get_ylim()
    axis.set_ylim(max(low, -2), min(high, 102))
    axis.grid(alpha=0.3)
    if lines:
        axis.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2,
            fontsize=8.5, frameon=False,
        )  # fmt: skip
