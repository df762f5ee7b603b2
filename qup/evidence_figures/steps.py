"""Eqs. 21 and 22 as curves: RA by sign steps and by gradient steps.

```python
figure = by_epsilon([Curve("raw_l2", "margin", 1, {0.1: (40.0, 37.0, 43.0)})],
                    title="ConvNet on MNIST, 30 epochs")
```
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qup.evidence_figures import colours
from qup.evidence_figures.trainings import IntervalPoint

# Direction: its colour, line, marker and name.
_DIRECTION_STYLES = {
    "sign": (colours.BLUE, "o-", r"sign of the gradient, $\epsilon$ a pixel"),
    "raw_l2": (colours.ORANGE, "s--", "gradient, as long in L2"),
    "raw_linf": (colours.VERMILION, "^:", "gradient, as long in L-inf"),
}
_LOSS_TITLES = {"cross_entropy": "cross-entropy", "squared": "squared loss", "margin": "margin"}


@dataclasses.dataclass(frozen=True)
class StepCurve:
    """RA of one network by one kind of step.

    Attributes:
      direction: "sign", "raw_l2" or "raw_linf".
      loss: "cross_entropy", "squared" or "margin".
      num_steps: Steps that make up the size epsilon.
      points: Epsilon in units of [0, 1] to (value, low, high) in percent.
    """

    direction: str
    loss: str
    num_steps: int
    points: Mapping[float, IntervalPoint]


def plot_gradient_steps(curves: Sequence[StepCurve], *, title: str, note: str = "") -> Figure:
    """Draws RA over epsilon: a column a loss, a row a number of steps.

    Args:
      curves: At least one.
      title: Of which network.
      note: Above the legend, such as what the bars are.
    """
    losses = [name for name in _LOSS_TITLES if any(c.loss == name for c in curves)]
    steps = sorted({curve.num_steps for curve in curves})
    size = (max(2.3 * len(losses), 4.6), 2.1 * len(steps) + 1.2)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(steps), len(losses), squeeze=False, sharex=True, sharey=True)
    for row, num_steps in zip(panels, steps, strict=True):
        for axis, loss in zip(row, losses, strict=True):
            panel_curves = [c for c in curves if (c.loss, c.num_steps) == (loss, num_steps)]
            _plot_step_curves(axis, panel_curves)
        plural = "s" if num_steps > 1 else ""
        row[0].set_ylabel(f"{num_steps} step{plural}\nRA in percent", fontsize=9)
    for axis, loss in zip(panels[0], losses, strict=True):
        axis.set_title(_LOSS_TITLES[loss], fontsize=10)
    for axis in panels[-1]:
        axis.set_xlabel(r"$\epsilon$, in units of [0, 1]", fontsize=9)
    figure.suptitle(title, fontsize=11)
    handles_by_label = {}
    for axis in panels.flat:
        handles, labels = axis.get_legend_handles_labels()
        handles_by_label |= dict(zip(labels, handles, strict=True))
    figure.legend(
        handles_by_label.values(),
        handles_by_label,
        loc="outside lower center",
        ncols=3,
        fontsize=8.5,
        frameon=False,
        title=note or None,
        title_fontsize=8,
    )
    return figure


def _plot_step_curves(axis: Axes, curves: Sequence[StepCurve]) -> None:
    for curve in curves:
        colour, line_format, name = _DIRECTION_STYLES[curve.direction]
        epsilons = sorted(curve.points)
        values, low, high = np.array([curve.points[e] for e in epsilons]).T
        bars = np.nan_to_num([values - low, high - values])
        axis.errorbar(
            epsilons,
            values,
            np.maximum(bars, 0),
            color=colour,
            fmt=line_format,
            label=name,
            markersize=4,
            linewidth=1.2,
            capsize=2,
        )
    axis.set_ylim(-4, 104)
    axis.tick_params(labelsize=8)
    axis.grid(color="#E8E8E8", linewidth=0.7)
    axis.set_axisbelow(True)
