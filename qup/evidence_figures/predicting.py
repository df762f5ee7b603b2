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
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from qup.evidence_figures import trainings
from qup.evidence_figures.trainings import IntervalPoint, NetworkStyle
from qup.rank_correlations import RankCorrelation


@dataclasses.dataclass(frozen=True)
class Predictor:
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
    values: Mapping[str, IntervalPoint]
    correlation: RankCorrelation | None = None
    logarithmic: bool = False


def plot_predictors(
    predictors: Sequence[Predictor],
    networks: Mapping[str, tuple[NetworkStyle, IntervalPoint]],
    *,
    title: str,
    attack: str,
    note: str = "",
) -> Figure:
    """Draws RA of every network over each candidate.

    Args:
      predictors: At least one.
      networks: Key to its look and its RA, (value, low, high) in percent.
      title: What they were trained on.
      attack: Of RA, in words.
      note: Above the legend, such as what the bars are.
    """
    columns = 2 if len(predictors) in (2, 4) else min(len(predictors), 3)
    rows = -(-len(predictors) // columns)
    size = (7 if columns > 1 else 4.6, 2.75 * rows + 1.1)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axis, predictor in zip(panels.flat, predictors, strict=False):
        _plot_predictor(axis, predictor, networks)
    for axis in panels.flat[len(predictors) :]:
        axis.set_visible(False)
    for axis in panels[:, 0]:
        axis.set_ylabel("RA in percent", fontsize=9)
    figure.suptitle(f"{title}\nrobust accuracy: {attack}", fontsize=10.5)
    legend_note = r"$\rho$: Spearman's rank correlation."
    figure.legend(
        handles=trainings.build_style_legend(style for style, _ in networks.values()),
        loc="outside lower center",
        ncols=4,
        fontsize=8.5,
        frameon=False,
        title=f"{legend_note} {note}".strip(),
        title_fontsize=8,
    )
    return figure


def _plot_predictor(
    axis: Axes, predictor: Predictor, networks: Mapping[str, tuple[NetworkStyle, IntervalPoint]]
) -> None:
    if predictor.logarithmic:
        axis.set_xscale("log")
    for key, (style, robust) in networks.items():
        value = predictor.values.get(key)
        if value is not None and np.isfinite([value[0], robust[0]]).all():
            trainings.plot_interval_point(axis, style, value, robust)
    axis.set_title(f"{predictor.title}\n{format_correlation(predictor.correlation)}", fontsize=9)
    axis.set_xlabel(predictor.label, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.margins(0.1)
    _set_predictor_ticks(axis, predictor.logarithmic)
    axis.grid(color="#E8E8E8", linewidth=0.7)
    axis.set_axisbelow(True)


def _set_predictor_ticks(axis: Axes, logarithmic: bool) -> None:
    """Puts as many numbers below a panel as have room."""
    if not logarithmic:
        axis.xaxis.set_major_locator(MaxNLocator(3))
        return
    low, high = axis.get_xlim()
    decades = math.log10(high / low)
    multiples = (1, 2, 5) if decades < 1 else (1, 3) if decades < 2 else (1,)
    axis.xaxis.set_major_locator(LogLocator(subs=multiples, numticks=9))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def format_correlation(correlation: RankCorrelation | None) -> str:
    """Returns a correlation in words, with its interval, p and n."""
    if correlation is None:
        return "too few networks to correlate"
    text = rf"$\rho$ = {_format_signed(correlation.value)}"
    if correlation.interval:
        low, high = map(_format_signed, correlation.interval)
        text += f" [{low}, {high}]"
    digits = max(2, math.ceil(-math.log10(correlation.p_value)))
    text += f"\np = {correlation.p_value:.{digits}f}, n = {correlation.n}"
    if correlation.covariates:
        text = f"given {', '.join(correlation.covariates)}: {text}"
    return text


def _format_signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")
