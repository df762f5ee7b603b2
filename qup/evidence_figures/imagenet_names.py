"""Names of crowded points in a column beside a panel, each with a line.

```python
write(axis, marks, colours)
spread([0.5, 0.5], 0.1)  # [0.45, 0.55]
```
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from qup.evidence_figures.imagenet_points import Mark

# Between two names, as a share of the panel's height.
_GAP = 0.052


def write(axis: Axes, marks: Sequence[Mark], colours: Sequence[str]) -> None:
    """Writes every mark's name to the right of a panel.

    Args:
      axis: The panel, its limits set.
      marks: Its points.
      colours: One a point.
    """
    top = axis.get_ylim()[1]
    heights = spread([mark.distortion / top for mark in marks], _GAP)
    for mark, height, colour in zip(marks, heights, colours, strict=True):
        axis.annotate(
            mark.title, (mark.top_1, mark.distortion), xytext=(1.02, height),
            textcoords="axes fraction", fontsize=7.2, color=colour,
            va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "alpha": 0.45,
                        "linewidth": 0.6, "shrinkA": 1, "shrinkB": 2},
        )  # fmt: skip


def spread(wanted: Sequence[float], gap: float) -> np.ndarray:
    """Returns places at least a gap apart, near those wanted, in their order.

    Runs of places that would overlap are moved together, about their mean.

    Args:
      wanted: Places in any order.
      gap: The least distance.
    """
    order = np.argsort(wanted, kind="stable")
    # Without the gaps, places only have to be in order: the nearest such
    # ones are means of runs (pooling of adjacent violators).
    steps = gap * np.arange(len(order))
    runs: list[list[float]] = []
    for value in np.asarray(wanted, float)[order] - steps:
        runs.append([value, 1])
        while len(runs) > 1 and runs[-2][0] > runs[-1][0]:
            (mean, count), (other, more) = runs[-2], runs.pop()
            total = count + more
            runs[-1] = [(mean * count + other * more) / total, total]
    level = np.concatenate([[mean] * int(count) for mean, count in runs])
    places = np.empty(len(order))
    places[order] = level + steps
    return places
