"""The capacity sweep: does the error of Delta stop falling as G grows?

Supplement, section 4, holds that no network learns Delta_N exactly; with
the accuracies of the pair below, it shows what the error is good for.

```python
over_parameters(
    {"test images": {124_000: (0.61, 0.60, 0.62)}},
    {"ACL, TA": {124_000: (98.8, 98.5, 99.1)}},
    {"CL, TA": (97.3, 97.0, 97.6)},
    title="ConvNet on MNIST",
)
```
"""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from qup.evidence_figures.controls import IntervalPoint

# Colour-blind safe (Okabe and Ito 2008).
_SERIES_STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "D"), ("#CC79A7", "^"))
_GREY = "#666666"


def plot_capacity(
    errors: Mapping[str, Mapping[int, IntervalPoint]],
    accuracies: Mapping[str, Mapping[int, IntervalPoint]],
    references: Mapping[str, IntervalPoint],
    *,
    title: str,
    template_error: IntervalPoint | None = None,
) -> Figure:
    """Draws the error of translators above, accuracies of pairs below.

    Args:
      errors: Parameters of the translator to its L1 error relative to the
        mean |Delta|, by series, such as "training images".
      accuracies: Parameters to percent, by series, such as "ACL, TA".
      references: Percent of networks without translator, by the same words
        in the same order as `accuracies`, drawn across.
      title: Of what.
      template_error: Error of the template of the true class, drawn across: below
        it a translator knows more of Delta than the class.

    Raises:
      ValueError: More than four series.
    """
    figure = Figure(figsize=(7.0, 6.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    _plot_series(above, errors)
    if template_error is not None:
        _plot_reference(above, "template of the true class", template_error, _GREY, "--")
    above.axhline(1.0, color="black", linewidth=0.8, linestyle=":")
    above.set_ylim(0.0, max(1.1, above.get_ylim()[1]))
    above.annotate(
        "no translation at all",
        (0.995, 1.0),
        fontsize=8.5,
        ha="right",
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
    )
    above.set_ylabel("mean |G(X) - Δ| / mean |Δ|", fontsize=9.5)
    _plot_series(below, accuracies)
    for (name, point), (colour, _) in zip(references.items(), _SERIES_STYLES, strict=False):
        _plot_reference(below, name, point, colour, "--")
    # Intervals of few seeds may leave the range that accuracies have.
    low, high = below.get_ylim()
    below.set_ylim(max(low, -3), min(high, 103))
    below.set_ylabel("accuracy in percent", fontsize=9.5)
    below.set_xlabel(
        "parameters of the translator; bars and bands are 95 % intervals", fontsize=9.5
    )
    sizes = {size for series in errors.values() for size in series}
    sizes |= {size for series in accuracies.values() for size in series}
    _set_size_ticks(below, sorted(sizes))
    for axis in (above, below):
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=9)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=8.5, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.suptitle(title, fontsize=11.5, weight="bold")
    return figure


def _plot_series(axis: Axes, series: Mapping[str, Mapping[int, IntervalPoint]]) -> None:
    if len(series) > len(_SERIES_STYLES):
        raise ValueError(f"A panel holds {len(_SERIES_STYLES)} series at most; got {list(series)}.")
    for (name, points), (colour, marker) in zip(series.items(), _SERIES_STYLES, strict=False):
        sizes = sorted(points)
        values = [points[size][0] for size in sizes]
        error_bars = [
            [_clip_bar_length(points[size][0] - points[size][1]) for size in sizes],
            [_clip_bar_length(points[size][2] - points[size][0]) for size in sizes],
        ]
        axis.errorbar(
            sizes,
            values,
            error_bars,
            color=colour,
            marker=marker,
            markersize=5,
            capsize=2.5,
            linewidth=1.2,
            label=name,
        )


def _clip_bar_length(value: float) -> float:
    return max(value, 0.0) if math.isfinite(value) else 0.0


def _plot_reference(axis: Axes, name: str, point: IntervalPoint, colour: str, style: str) -> None:
    value, low, high = point
    axis.axhline(value, color=colour, linewidth=1.1, linestyle=style, label=name)
    if math.isfinite(low) and math.isfinite(high):
        axis.axhspan(low, high, color=colour, alpha=0.12, linewidth=0)


def _set_size_ticks(axis: Axes, sizes: Sequence[int]) -> None:
    axis.set_xscale("log")
    axis.set_xticks(sizes, [_format_size(size) for size in sizes])
    axis.xaxis.set_minor_locator(NullLocator())


def _format_size(size: int) -> str:
    """Returns 1.94 M, 124 k."""
    for unit, name in ((1e6, " M"), (1e3, " k")):
        if size >= unit:
            return f"{size / unit:.3g}{name}"
    return str(size)
