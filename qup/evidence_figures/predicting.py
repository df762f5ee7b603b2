"""What predicts robust accuracy: a panel for each candidate.

```python
figure = draw([Candidate("input gradient", "sum of |dl/dx|", values, found)],
              networks, title="MNIST", attack="PGD-100, epsilon 0.1")
```
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
)

from qup.evidence_figures import trainings
from qup.evidence_figures.trainings import Look, Point
from qup.rank_correlations import Correlation


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A number of each network that may go with its robust accuracy.

    Attributes:
      title: What it is.
      label: Of its axis, with the unit.
      values: (value, low, high) by the network's key; those without are
        left out.
      correlation: With RA, for the title; None where there is none.
      logarithmic: Whether its axis is; all values are positive then.
    """

    title: str
    label: str
    values: Mapping[str, Point]
    correlation: Correlation | None = None
    logarithmic: bool = False


def draw(
    candidates: Sequence[Candidate],
    networks: Mapping[str, tuple[Look, Point]],
    *,
    title: str,
    attack: str,
    note: str = "",
) -> Figure:
    """Draws RA of every network over each candidate.

    Args:
      candidates: At least one.
      networks: Key to its look and its RA, (value, low, high) in percent.
      title: What they were trained on.
      attack: Of RA, in words.
      note: Above the legend, such as what the bars are.
    """
    columns = 2 if len(candidates) in (2, 4) else min(len(candidates), 3)
    rows = -(-len(candidates) // columns)
    size = (7 if columns > 1 else 4.6, 2.75 * rows + 1.1)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axis, candidate in zip(panels.flat, candidates, strict=False):
        _draw(axis, candidate, networks)
    for axis in panels.flat[len(candidates) :]:
        axis.set_visible(False)
    for axis in panels[:, 0]:
        axis.set_ylabel("RA in percent", fontsize=9)
    figure.suptitle(f"{title}\nrobust accuracy: {attack}", fontsize=10.5)
    words = r"$\rho$: Spearman's rank correlation."
    figure.legend(
        handles=trainings.handles(look for look, _ in networks.values()),
        loc="outside lower center", ncols=4, fontsize=8.5, frameon=False,
        title=f"{words} {note}".strip(), title_fontsize=8,
    )  # fmt: skip
    return figure


def _draw(
    axis: Axes,
    candidate: Candidate,
    networks: Mapping[str, tuple[Look, Point]],
) -> None:
    if candidate.logarithmic:
        axis.set_xscale("log")
    for key, (look, robust) in networks.items():
        value = candidate.values.get(key)
        if value is not None and np.isfinite([value[0], robust[0]]).all():
            trainings.dot(axis, look, value, robust)
    axis.set_title(
        f"{candidate.title}\n{told(candidate.correlation)}", fontsize=9
    )
    axis.set_xlabel(candidate.label, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.margins(0.1)
    _ticks(axis, candidate.logarithmic)
    axis.grid(color="#E8E8E8", linewidth=0.7)
    axis.set_axisbelow(True)


def _ticks(axis: Axes, logarithmic: bool) -> None:
    """Puts as many numbers below a panel as have room."""
    if not logarithmic:
        axis.xaxis.set_major_locator(MaxNLocator(3))
        return
    low, high = axis.get_xlim()
    decades = math.log10(high / low)
    between = (1, 2, 5) if decades < 1 else (1, 3) if decades < 2 else (1,)
    axis.xaxis.set_major_locator(LogLocator(subs=between, numticks=9))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def told(found: Correlation | None) -> str:
    """Returns a correlation in words, with its interval, p and n."""
    if found is None:
        return "too few networks to correlate"
    words = rf"$\rho$ = {_signed(found.value)}"
    if found.interval:
        low, high = map(_signed, found.interval)
        words += f" [{low}, {high}]"
    digits = max(2, math.ceil(-math.log10(found.p_value)))
    words += f"\np = {found.p_value:.{digits}f}, n = {found.n}"
    if found.given:
        words = f"given {', '.join(found.given)}: {words}"
    return words


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")
