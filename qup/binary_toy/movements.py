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
from qup.binary_toy.portraits import compute_logit_gap

STAGES = ("points", "attacked", "walked")
_MARKERS = "os"
_GRID = np.linspace(0, 1, 201)


def compute_trajectories(
    network: keras.Model, points: np.ndarray, labels: np.ndarray, *, epsilon: float, num_steps: int
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
    perturbed = attacks.get("fgsm")(network, points, labels, epsilon=epsilon)
    iterates = opposite_fgsm.iterate(
        network, points, labels, num_steps=num_steps, step_size=epsilon
    )
    stage_points = [points, perturbed.numpy(), iterates.numpy()]
    correct = [
        compilation.predict(network, x.astype(np.float32)).numpy().argmax(1) == labels
        for x in stage_points
    ]
    return {
        **dict(zip(STAGES, stage_points, strict=True)),
        "labels": labels,
        "right": np.array(correct),
        "lead": compute_logit_gap(network, _GRID),
        "epsilon": np.array(epsilon),
        "num_steps": np.array(num_steps),
    }


def plot_trajectories(trajectories: Mapping[str, np.ndarray], title: str) -> Figure:
    """Draws the supplement's Fig. 1: FGSM, and its opposite, iterated.

    Args:
      trajectories: Of `compute_trajectories`.
      title: Stands above.
    """
    epsilon = float(trajectories["epsilon"])
    titles = {
        "points": "as drawn",
        "attacked": rf"after FGSM, $\epsilon$ = {epsilon:g}",
        "walked": f"after {int(trajectories['num_steps'])} opposite steps of {epsilon:g}",
    }
    figure = Figure(figsize=(12.6, 5.2), layout="constrained")
    figure.suptitle(title, fontsize=13, weight="bold")
    grid = figure.subplots(1, len(STAGES), sharey=True)
    for index, (axis, stage) in enumerate(zip(grid, STAGES, strict=True)):
        correct = trajectories["right"][index]
        axis.set_title(f"{titles[stage]}: {100 * correct.mean():.1f} % right")
        _plot_regions(axis, trajectories["lead"])
        _plot_points(axis, trajectories[stage], trajectories["labels"], correct)
    grid[0].set_ylabel("$x_2$", fontsize=12)
    figure.legend(
        handles=_build_class_handles(),
        loc="outside lower center",
        ncols=3,
        fontsize=11,
        frameon=False,
    )
    return figure


def _build_class_handles() -> list[Line2D]:
    style = {"color": "none", "ms": 7}
    handles = [
        Line2D([], [], marker=marker, mfc=colour, mec="white", label=f"class {label}", **style)
        for label, (marker, colour) in enumerate(zip(_MARKERS, COLOURS, strict=True))
    ]
    misclassified = Line2D(
        [],
        [],
        marker="o",
        mfc="none",
        mec="black",
        mew=1.2,
        label="black edge: misclassified",
        **style,
    )
    return [*handles, misclassified]


def _plot_regions(axis: Axes, logit_gap: np.ndarray) -> None:
    coordinates, gap = _GRID, logit_gap.T
    axis.contourf(coordinates, coordinates, gap, [-np.inf, 0, np.inf], colors=COLOURS, alpha=0.18)
    axis.contour(coordinates, coordinates, gap, [0.0], colors="black", linewidths=1.3)
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis.set_xlabel("$x_1$", fontsize=12)


def _plot_points(axis: Axes, points, labels, correct) -> None:
    for label, marker in enumerate(_MARKERS):
        for is_correct, edge in ((True, "white"), (False, "black")):
            selected = (labels == label) & (correct == is_correct)
            axis.scatter(
                *points[selected].T,
                s=26,
                color=COLOURS[label],
                marker=marker,
                edgecolor=edge,
                linewidth=0.5 if is_correct else 1.2,
            )
