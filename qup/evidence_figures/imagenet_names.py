"""Names of crowded points in a column beside a panel, each with a line.

```python
write(axis, marks, colours)
spread([0.5, 0.5], 0.1)  # [0.45, 0.55]
```
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from qup.evidence_figures.imagenet_points import ModelPoint

# Between two names, as a share of the panel's height.
_MIN_LABEL_GAP = 0.052


def annotate_points(axis: Axes, points: Sequence[ModelPoint], colours: Sequence[str]) -> None:
    """Writes every mark's name to the right of a panel.

    Args:
      axis: The panel, its limits set.
      points: Its points.
      colours: One a point.
    """
    top = axis.get_ylim()[1]
    heights = spread_labels([point.distortion / top for point in points], _MIN_LABEL_GAP)
    for point, height, colour in zip(points, heights, colours, strict=True):
        axis.annotate(
            point.title,
            (point.top_1, point.distortion),
            xytext=(1.02, height),
            textcoords="axes fraction",
            fontsize=7.2,
            color=colour,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "alpha": 0.45,
                "linewidth": 0.6,
                "shrinkA": 1,
                "shrinkB": 2,
            },
        )


def spread_labels(positions: Sequence[float], gap: float) -> np.ndarray:
    """Returns places at least a gap apart, near those wanted, in their order.

    Runs of places that would overlap are moved together, about their mean.

    Args:
      positions: Places in any order.
      gap: The least distance.
    """
    order = np.argsort(positions, kind="stable")
    # Without the gaps, places only have to be in order: the nearest such
    # ones are means of runs (pooling of adjacent violators).
    steps = gap * np.arange(len(order))
    runs: list[list[float]] = []
    for value in np.asarray(positions, float)[order] - steps:
        runs.append([value, 1])
        while len(runs) > 1 and runs[-2][0] > runs[-1][0]:
            (mean, count), (other, more) = runs[-2], runs.pop()
            total = count + more
            runs[-1] = [(mean * count + other * more) / total, total]
    level = np.concatenate([[mean] * int(count) for mean, count in runs])
    spread_positions = np.empty(len(order))
    spread_positions[order] = level + steps
    return spread_positions
