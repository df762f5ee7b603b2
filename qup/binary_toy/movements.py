"""The supplement's Fig. 1 of a real network: FGSM and its opposite.

```python
movements(network, points, labels, epsilon=0.05, num_steps=4, title="")
```
"""

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qup import attacks, compilation, opposite_fgsm
from qup.binary_toy.figures import COLOURS
from qup.binary_toy.portraits import lead

_MARKERS = "os"


def movements(
    network: keras.Model,
    points: np.ndarray,
    labels: np.ndarray,
    *,
    epsilon: float,
    num_steps: int,
    title: str,
) -> Figure:
    """Draws the supplement's Fig. 1: FGSM, and its opposite, iterated.

    Args:
      network: The classifier.
      points: float32 [n, 2] in [0, 1].
      labels: int32 [n].
      epsilon: Length of each step.
      num_steps: Number of opposite steps.
      title: Stands above.
    """
    attacked = attacks.get("fgsm")(network, points, labels, epsilon=epsilon)
    walked = opposite_fgsm.walk(
        network, points, labels, num_steps=num_steps, step_size=epsilon
    )
    panels = {
        "as drawn": points,
        rf"after FGSM, $\epsilon$ = {epsilon:g}": attacked.numpy(),
        f"after {num_steps} opposite steps of {epsilon:g}": walked.numpy(),
    }
    figure = Figure(figsize=(12.6, 5.2), layout="constrained")
    figure.suptitle(title, fontsize=13, weight="bold")
    grid = figure.subplots(1, len(panels), sharey=True)
    for axis, (words, moved) in zip(grid, panels.items(), strict=True):
        logits = compilation.predict(network, moved.astype(np.float32)).numpy()
        right = logits.argmax(1) == labels
        axis.set_title(f"{words}: {100 * right.mean():.1f} % right")
        _regions(axis, network)
        _dots(axis, moved, labels, right)
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


def _regions(axis: Axes, network: keras.Model) -> None:
    places = np.linspace(0, 1, 201)
    ahead = lead(network, places).T
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
