"""TA against RA of all networks: is there a frontier, and what lies on it.

```python
figure = draw([Path(look, {1: (clean, robust), 30: (clean, robust)})],
              title="MNIST", attack="PGD-100, epsilon 0.1")
```
"""

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qup.evidence_figures import colours, trainings
from qup.evidence_figures.trainings import IntervalPoint, NetworkStyle


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
        handles=trainings.build_style_legend(path.style for path in paths),
        fontsize=8.5,
        framealpha=0.9,
        loc="best",
    )
    arrows_note = "Arrows lead from fewer to more epochs, given beside the points."
    figure.supxlabel(f"{arrows_note} {note}".strip(), fontsize=8, color=colours.GREY)
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
        trainings.plot_interval_point(axis, path.style, clean, robust)
        axis.annotate(
            str(epochs),
            (clean[0], robust[0]),
            xytext=(5, 4),
            textcoords="offset points",
            fontsize=8,
            color=path.style.colour,
        )
