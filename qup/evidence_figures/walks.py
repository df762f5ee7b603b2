"""TA and RA of the walked images X_n over n: supplement, Fig. 2.

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
from qup.evidence_figures.trainings import Point

_STYLES = {
    "test_accuracy": ("TA", "-", "o"),
    "robust_accuracy": ("RA", "--", "s"),
}


@dataclasses.dataclass(frozen=True)
class Walk:
    """The walk of one network.

    Attributes:
      title: What it is called.
      model: Its architecture, for its colour.
      points: "test_accuracy" and "robust_accuracy" to n to (value, low,
        high) in percent.
    """

    title: str
    model: str
    points: Mapping[str, Mapping[int, Point]]


def compared(panels: Mapping[str, Sequence[Walk]], title: str) -> Figure:
    """Draws accuracies over the number of opposite-FGSM steps.

    Args:
      panels: Title of a panel, such as "30 epochs", to its walks.
      title: Stands above all.
    """
    figure = Figure(
        figsize=(max(3.3 * len(panels), 5.4), 4.0), layout="constrained"
    )
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (name, walks) in zip(grid, panels.items(), strict=True):
        for walk in walks:
            _draw(axis, walk)
        axis.set(xlabel="opposite-FGSM steps n", title=name, ylim=(-3, 103))
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axis.grid(alpha=0.3)
    grid[0].set_ylabel("accuracy of $X_n$ in percent")
    named = {}
    for axis in grid:
        lines, names = axis.get_legend_handles_labels()
        named |= dict(zip(names, lines, strict=True))
    # A column for each network.
    figure.legend(
        named.values(), named, loc="outside lower center",
        ncols=max(1, len(named) // len(_STYLES)), fontsize=9, frameon=False,
    )  # fmt: skip
    figure.suptitle(title, fontsize=11, parse_math=False)
    return figure


def _draw(axis: Axes, walk: Walk) -> None:
    for measure, found in walk.points.items():
        name, line, marker = _STYLES[measure]
        steps = sorted(found)
        below = [max(found[n][0] - found[n][1], 0) for n in steps]
        above = [max(found[n][2] - found[n][0], 0) for n in steps]
        axis.errorbar(
            steps, [found[n][0] for n in steps], [below, above],
            label=f"{walk.title}, {name}", ls=line, marker=marker,
            color=colours.of_network(walk.model), ms=3.5, capsize=2, lw=1.3,
        )  # fmt: skip
