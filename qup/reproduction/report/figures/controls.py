"""The controls of IFA side by side: what of TA and RA is the translator's.

```python
side_by_side(
    [Control("CL", {"TA": (97.3, 97.0, 97.6), "RA, PGD-4": (62, 61, 63)})],
    title="ConvNet on MNIST, 1 epoch",
)
```
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from qup.core import plotting
from qup.reproduction.report.figures.style import IntervalPoint

# Colour-blind safe (Okabe and Ito 2008); each with a marker of its own.
_CONTROL_STYLES = (
    ("#0072B2", "o"),
    ("#E69F00", "D"),
    ("#D55E00", "s"),
    ("#CC79A7", "^"),
    ("#009E73", "v"),
)
_GREY = "#666666"
# Letters of a legend that fill what long titles leave of the figure.
_MAX_LEGEND_LENGTH = 44


@dataclasses.dataclass(frozen=True)
class Control:
    """A network, or what stands for one.

    Attributes:
      title: Beside its line.
      points: In percent by what is measured, such as "TA", "RA, PGD-4".
      group: Lines of one group stand together; "" for none.
      note: In small letters below the title.
    """

    title: str
    points: Mapping[str, IntervalPoint]
    group: str = ""
    note: str = ""


def plot_controls(controls: Sequence[Control], *, title: str, note: str = "") -> Figure:
    """Draws a line for each control, a dot with its interval for each look.

    Args:
      controls: From above to below.
      title: What they are controls of, and on what images.
      note: What else has to be known, below.

    Raises:
      ValueError: No controls, or more than five looks.
    """
    measures = list(dict.fromkeys(k for c in controls for k in c.points))
    if not measures or len(measures) > len(_CONTROL_STYLES):
        raise ValueError(
            f"Controls must have 1 to {len(_CONTROL_STYLES)} different looks; got "
            f"{measures}. Choose some."
        )
    heights = _compute_row_heights(controls)
    height = 1.5 + 0.46 * (heights[-1] + 1) + 0.16 * (note.count("\n") + 1)
    figure = Figure(figsize=(7.0, height), layout="constrained")
    axis = figure.subplots()
    for number, name in enumerate(measures):
        colour, marker = _CONTROL_STYLES[number]
        shift = 0.18 * (number - (len(measures) - 1) / 2)
        first = True
        for row_height, control in zip(heights, controls, strict=True):
            if name not in control.points:
                continue
            _plot_interval(
                axis,
                control.points[name],
                row_height + shift,
                color=colour,
                marker=marker,
                label=name if first else None,
            )
            first = False
    _label_rows(axis, controls, heights)
    figure.suptitle(title, fontsize=11.5, weight="bold")
    axis.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=_count_legend_columns(measures),
        frameon=False,
        fontsize=9,
    )
    if note:
        figure.supxlabel(note, fontsize=8.5, color=_GREY)
    return figure


def _count_legend_columns(measures: Sequence[str]) -> int:
    """Returns how many names stand beside each other without leaving it."""
    is_wide = sum(map(len, measures)) > _MAX_LEGEND_LENGTH
    return -(-len(measures) // 2) if is_wide else len(measures)


def _plot_interval(axis: Axes, point: IntervalPoint, y: float, **marker_options) -> None:
    value, low, high = point
    if not math.isfinite(value):
        return
    error_bars = [
        [max(bar_length, 0.0)] if math.isfinite(bar_length) else [0.0]
        for bar_length in (value - low, high - value)
    ]
    axis.errorbar(
        value,
        y,
        xerr=error_bars,
        markersize=5,
        capsize=2.5,
        elinewidth=1.2,
        linestyle="",
        **marker_options,
    )


def _compute_row_heights(controls: Sequence[Control]) -> list[float]:
    """Returns a height for each line, with a gap between two groups."""
    heights, row_height = [], 0.0
    for previous, control in zip([None, *controls], controls, strict=False):
        if previous is not None:
            row_height += 1.0 if previous.group == control.group else 1.6
        heights.append(row_height)
    return heights


def _label_rows(axis: Axes, controls: Sequence[Control], heights: Sequence[float]) -> None:
    """Names the lines, and shades every other one."""
    for number, row_height in enumerate(heights):
        if number % 2 == 0:
            axis.axhspan(row_height - 0.5, row_height + 0.5, color="#F4F4F4", zorder=0)
    labelled_groups = set()
    for control, row_height in zip(controls, heights, strict=True):
        if control.group and control.group not in labelled_groups:
            axis.text(
                0.0,
                row_height - 0.5,
                f" {control.group}",
                fontsize=8.5,
                style="italic",
                color=_GREY,
                va="bottom",
                transform=axis.get_yaxis_transform(),
            )
            labelled_groups.add(control.group)
        label = control.title
        if control.note:
            label += f"\n{control.note}"
        axis.text(
            -0.015,
            row_height,
            label,
            fontsize=9,
            ha="right",
            va="center",
            transform=axis.get_yaxis_transform(),
            linespacing=1.2,
            parse_math=False,
        )
    axis.set_yticks([])
    axis.set_ylim(heights[-1] + 0.6, -0.75)
    axis.set_xlim(-2, 102)
    axis.set_xlabel("accuracy in percent; bars are 95 % intervals", fontsize=9.5)
    axis.tick_params(labelsize=9)
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)


# The capacity sweep: does the error of Delta stop falling as G grows?
#
# Supplement, section 4, holds that no network learns Delta_N exactly; with
# the accuracies of the pair below, it shows what the error is good for.
#
# ```python
# over_parameters(
#     {"test images": {124_000: (0.61, 0.60, 0.62)}},
#     {"ACL, TA": {124_000: (98.8, 98.5, 99.1)}},
#     {"CL, TA": (97.3, 97.0, 97.6)},
#     title="ConvNet on MNIST",
# )
# ```


# Colour-blind safe (Okabe and Ito 2008).
_SERIES_STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "D"), ("#CC79A7", "^"))


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


# One network at several temperatures of its logits: TA, RA and sigma_p.
#
# ```python
# figure = draw({"TA": {0.25: point, 1.0: point}}, {"box": {1.0: point}},
#               title="ConvNet on MNIST, 1 epoch")
# ```


# Temperature to a value and its interval.
TemperatureCurve = Mapping[float, IntervalPoint]
_TEMPERATURE_STYLES = (
    (plotting.BLUE, "o-"),
    (plotting.VERMILION, "s--"),
    (plotting.ORANGE, "D-."),
    (plotting.PURPLE, "^:"),
)


def plot_temperatures(
    accuracies: Mapping[str, TemperatureCurve],
    deviations: Mapping[str, TemperatureCurve],
    title: str,
) -> Figure:
    """Draws accuracies on the left, sigma_p on the right.

    Args:
      accuracies: Percent by what is measured.
      deviations: sigma_p by domain; may be empty.
      title: Of which network.
    """
    figure = Figure(figsize=(8.6, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    temperatures = sorted(
        {t for curves in (accuracies, deviations) for curve in curves.values() for t in curve}
    )
    _plot_temperature_curves(left, accuracies, temperatures)
    left.set_ylabel("accuracy in percent")
    left.set_ylim(-3, 103)
    _plot_temperature_curves(right, deviations, temperatures)
    right.set_ylabel("sigma_p, 1 / pixel range (mean over pixels)")
    # A window's is a thousand times that of the box.
    right.set_yscale("log")
    if not any(deviations.values()):
        right.text(0.5, 0.5, "not run", ha="center", color=plotting.GREY, transform=right.transAxes)
        right.set_yticks([])
    figure.suptitle(title, fontsize=11)
    figure.supxlabel("temperature T: logits are divided by it; bars: 95 % intervals", fontsize=9.5)
    return figure


def _plot_temperature_curves(
    axis: Axes, curves: Mapping[str, TemperatureCurve], temperatures: list[float]
) -> None:
    for (name, points), (colour, line_format) in zip(
        curves.items(), _TEMPERATURE_STYLES, strict=False
    ):
        point_temperatures = sorted(points)
        below = [max(points[t][0] - points[t][1], 0) for t in point_temperatures]
        above = [max(points[t][2] - points[t][0], 0) for t in point_temperatures]
        axis.errorbar(
            point_temperatures,
            [points[t][0] for t in point_temperatures],
            [below, above],
            fmt=line_format,
            color=colour,
            label=name,
            markersize=5,
            capsize=3,
            linewidth=1.2,
        )
    axis.set_xscale("log")
    axis.set_xticks(temperatures, [f"{t:g}" for t in temperatures])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.margins(x=0.12)
    axis.grid(alpha=0.3)
    if any(curves.values()):
        axis.legend(fontsize=8.5)


# sigma_p and the uncertainty product over training epochs.
#
# ```python
# figure = over_epochs({"sigma_p": {1: (0.015, 0.014, 0.016)}, ...}, "ConvNet")
# ```


EpochPoints = Mapping[int, tuple[float, float, float]]


def plot_uncertainty_products(points: Mapping[str, EpochPoints], title: str) -> Figure:
    """Draws sigma_p on the left, product and bound on the right.

    Args:
      points: "sigma_p", "uncertainty_product" and "uncertainty_bound" to
        epochs to value, lower and upper end of the interval.
      title: Of which network, where.
    """
    figure = Figure(figsize=(8.6, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    _plot_epoch_points(left, points["sigma_p"], "sigma_p", plotting.PURPLE, "o-")
    left.set_ylabel("sigma_p, 1 / pixel range (mean over pixels)")
    _plot_epoch_points(right, points["uncertainty_product"], "sigma_x sigma_p", plotting.BLUE, "o-")
    _plot_epoch_points(
        right, points["uncertainty_bound"], "bound |1 - B| / 2", plotting.VERMILION, "s--"
    )
    right.axhline(
        0.5, color=plotting.GREY, linewidth=1, linestyle=":", label="1/2, the printed bound"
    )
    right.set_ylabel("product (mean over pixels)")
    right.legend(fontsize=8)
    for axis in (left, right):
        axis.set_xlabel("training epochs")
        axis.grid(alpha=0.3)
    figure.suptitle(title, fontsize=11)
    return figure


def _plot_epoch_points(axis: Axes, points: EpochPoints, label: str, colour: str, style: str):
    epochs = sorted(points)
    below = [max(points[n][0] - points[n][1], 0) for n in epochs]
    above = [max(points[n][2] - points[n][0], 0) for n in epochs]
    axis.errorbar(
        range(len(epochs)),
        [points[n][0] for n in epochs],
        [below, above],
        fmt=style,
        color=colour,
        label=label,
        capsize=3,
        markersize=5,
    )
    axis.set_xticks(range(len(epochs)), [str(n) for n in epochs])
