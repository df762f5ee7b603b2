"""The supplement's Fig. 1 of a real network: FGSM and its opposite.

```python
held = moved(network, points, labels, epsilon=0.05, num_steps=4)
draw(held, title="The network after 50 epochs")
```
"""

from collections.abc import Mapping

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qup import attacks, compilation, opposite_fgsm
from qup.binary_toy.figures import COLOURS
from qup.binary_toy.portraits import lead

STAGES = ("points", "attacked", "walked")
_MARKERS = "os"
_GRID = np.linspace(0, 1, 201)


def moved(
    network: keras.Model,
    points: np.ndarray,
    labels: np.ndarray,
    *,
    epsilon: float,
    num_steps: int,
) -> dict[str, np.ndarray]:
    """Moves points by FGSM, and by its opposite, iterated.

    Args:
      network: The classifier.
      points: float32 [n, 2] in [0, 1].
      labels: int32 [n].
      epsilon: Length of each step.
      num_steps: Number of opposite steps.

    Returns:
      "points", "attacked" and "walked", float32 [n, 2]; "right", bool [3, n],
      which of each are classified rightly; "lead", float32 [201, 201], logit
      of class 1 less that of class 0 over the square; and what was given.
    """
    attacked = attacks.get("fgsm")(network, points, labels, epsilon=epsilon)
    walked = opposite_fgsm.walk(
        network, points, labels, num_steps=num_steps, step_size=epsilon
    )
    places = [points, attacked.numpy(), walked.numpy()]
    right = [
        compilation.predict(network, x.astype(np.float32)).numpy().argmax(1)
        == labels
        for x in places
    ]
    return {
        **dict(zip(STAGES, places, strict=True)), "labels": labels,
        "right": np.array(right), "lead": lead(network, _GRID),
        "epsilon": np.array(epsilon), "num_steps": np.array(num_steps),
    }  # fmt: skip


def draw(held: Mapping[str, np.ndarray], title: str) -> Figure:
    """Draws the supplement's Fig. 1: FGSM, and its opposite, iterated.

    Args:
      held: Of `moved`.
      title: Stands above.
    """
    epsilon = float(held["epsilon"])
    words = {
        "points": "as drawn",
        "attacked": rf"after FGSM, $\epsilon$ = {epsilon:g}",
        "walked": f"after {int(held['num_steps'])} opposite steps of "
        f"{epsilon:g}",
    }
    figure = Figure(figsize=(12.6, 5.2), layout="constrained")
    figure.suptitle(title, fontsize=13, weight="bold")
    grid = figure.subplots(1, len(STAGES), sharey=True)
    for place, (axis, stage) in enumerate(zip(grid, STAGES, strict=True)):
        right = held["right"][place]
        axis.set_title(f"{words[stage]}: {100 * right.mean():.1f} % right")
        _regions(axis, held["lead"])
        _dots(axis, held[stage], held["labels"], right)
    grid[0].set_ylabel("$x_2$", fontsize=12)
    figure.legend(
        handles=_markers(), loc="outside lower center", ncols=3, fontsize=11,
        frameon=False,
    )  # fmt: skip
    return figure


def _markers() -> list[Line2D]:
    style = {"color": "none", "ms": 7}
    lines = [
        Line2D([], [], marker=marker, mfc=colour, mec="white",
               label=f"class {label}", **style)
        for label, (marker, colour) in enumerate(
            zip(_MARKERS, COLOURS, strict=True)
        )
    ]  # fmt: skip
    wrong = Line2D([], [], marker="o", mfc="none", mec="black", mew=1.2,
                   label="black edge: misclassified", **style)  # fmt: skip
    return [*lines, wrong]


def _regions(axis: Axes, lead_of_1: np.ndarray) -> None:
    places, ahead = _GRID, lead_of_1.T
    axis.contourf(
        places, places, ahead, [-np.inf, 0, np.inf], colors=COLOURS,
        alpha=0.18,
    )  # fmt: skip
    axis.contour(places, places, ahead, [0.0], colors="black", linewidths=1.3)
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis.set_xlabel("$x_1$", fontsize=12)


def _dots(axis: Axes, points, labels, right) -> None:
    for label, marker in enumerate(_MARKERS):
        for hit, edge in ((True, "white"), (False, "black")):
            own = (labels == label) & (right == hit)
            axis.scatter(
                *points[own].T, s=26, color=COLOURS[label], marker=marker,
                edgecolor=edge, linewidth=0.5 if hit else 1.2,
            )  # fmt: skip
