"""Controls, capacity, temperature and uncertainty products as figures of intervals."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from qup.core import plotting
from qup.core.plotting import IntervalPoint

_CONTROL_STYLES = (
    (plotting.BLUE, "o"),
    (plotting.ORANGE, "D"),
    (plotting.VERMILION, "s"),
    (plotting.PURPLE, "^"),
    (plotting.GREEN, "v"),
)
_CAPACITY_STYLES = (
    (plotting.BLUE, "o-"),
    (plotting.VERMILION, "s-"),
    (plotting.GREEN, "D-"),
    (plotting.PURPLE, "^-"),
)
_TEMPERATURE_STYLES = (
    (plotting.BLUE, "o-"),
    (plotting.VERMILION, "s--"),
    (plotting.ORANGE, "D-."),
    (plotting.PURPLE, "^:"),
)
# Characters of a legend in one row.
_MAX_LEGEND_LENGTH = 44

# Epochs, parameters or temperature to a value and its interval.
Curve = Mapping[float, IntervalPoint]


@dataclasses.dataclass(frozen=True)
class Control:
    """A network, a class, or another control: one line of the figure.

    Attributes:
      title: Left of its line.
      points: In percent by what is measured, such as "TA", "RA, PGD-4".
    """

    title: str
    points: Mapping[str, IntervalPoint]


def plot_controls(controls: Sequence[Control], *, title: str) -> Figure:
    """Draws a line per control, with a dot and its interval per measure.

    Args:
      controls: From top to bottom.
      title: The network and the images.

    Raises:
      ValueError: No controls, or more than five measures.
    """
    measures = list(dict.fromkeys(k for c in controls for k in c.points))
    if not measures or len(measures) > len(_CONTROL_STYLES):
        raise ValueError(
            f"Expected 1 to {len(_CONTROL_STYLES)} different measures; received {measures}."
        )
    figure = Figure(figsize=(7.0, 1.66 + 0.46 * len(controls)), layout="constrained")
    axis = figure.subplots()
    for number, (name, (colour, marker)) in enumerate(zip(measures, _CONTROL_STYLES, strict=False)):
        heights = [
            index
            for index, control in enumerate(controls)
            if name in control.points and np.isfinite(control.points[name][0])
        ]
        points = [controls[index].points[name] for index in heights]
        shift = 0.18 * (number - (len(measures) - 1) / 2)
        axis.errorbar(
            [point[0] for point in points],
            [height + shift for height in heights],
            xerr=plotting.compute_error_bars(points),
            color=colour,
            marker=marker,
            label=name,
            markersize=5,
            capsize=2.5,
            elinewidth=1.2,
            linestyle="",
        )
    _label_control_lines(axis, controls)
    figure.suptitle(title, fontsize=11.5, weight="bold")
    is_wide = sum(map(len, measures)) > _MAX_LEGEND_LENGTH
    axis.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=-(-len(measures) // 2) if is_wide else len(measures),
        frameon=False,
        fontsize=9,
    )
    return figure


def _label_control_lines(axis: Axes, controls: Sequence[Control]) -> None:
    plotting.tidy_axis(axis, grid="x")
    axis.spines["left"].set_visible(False)
    for height, control in enumerate(controls):
        if height % 2 == 0:
            axis.axhspan(height - 0.5, height + 0.5, color="#F4F4F4", zorder=0)
        axis.text(
            -0.015,
            height,
            control.title,
            fontsize=9,
            ha="right",
            va="center",
            transform=axis.get_yaxis_transform(),
            parse_math=False,
        )
    axis.set_yticks([])
    axis.set_ylim(len(controls) - 0.4, -0.75)
    axis.set_xlim(-2, 102)
    axis.set_xlabel("accuracy in percent; bars are 95 % intervals", fontsize=9.5)


def plot_capacity(
    errors: Mapping[str, Curve],
    accuracies: Mapping[str, Curve],
    references: Mapping[str, IntervalPoint],
    *,
    title: str,
    template_error: IntervalPoint | None = None,
) -> Figure:
    """Draws the error of translators above, accuracies of pairs below, over their parameters.

    Args:
      errors: Parameters of the translator to its L1 error relative to the mean |Delta|, by
        series.
      accuracies: Parameters to percent, by series, such as "ACL, TA".
      references: Percent of networks without translator, in the order of `accuracies`, as
        horizontal lines.
      title: The network and the images.
      template_error: Error of the template of the true class, as a horizontal line. Below it
        a translator predicts more of Delta than its class.

    Raises:
      ValueError: More than four series.
    """
    figure = Figure(figsize=(7.0, 6.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    _plot_curves(above, errors, _CAPACITY_STYLES)
    if template_error is not None:
        _plot_reference(above, "template of the true class", template_error, plotting.GREY)
    above.axhline(1.0, color="black", linewidth=0.8, linestyle=":")
    above.set_ylim(0.0, max(1.1, above.get_ylim()[1]))
    above.annotate(
        "no translation",
        (0.995, 1.0),
        fontsize=8.5,
        ha="right",
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
    )
    above.set_ylabel("mean |G(X) - Δ| / mean |Δ|", fontsize=9.5)
    _plot_curves(below, accuracies, _CAPACITY_STYLES)
    for (name, point), (colour, _) in zip(references.items(), _CAPACITY_STYLES, strict=False):
        _plot_reference(below, name, point, colour)
    plotting.limit_percent_axis(below)
    below.set_ylabel("accuracy in percent", fontsize=9.5)
    below.set_xlabel(
        "parameters of the translator; bars and bands are 95 % intervals", fontsize=9.5
    )
    curves = [*errors.values(), *accuracies.values()]
    sizes = sorted({size for curve in curves for size in curve})
    below.set_xscale("log")
    below.set_xticks(sizes, [_format_size(size) for size in sizes])
    below.xaxis.set_minor_locator(NullLocator())
    for axis in (above, below):
        plotting.tidy_axis(axis)
        axis.legend(fontsize=8.5, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.suptitle(title, fontsize=11.5, weight="bold")
    return figure


def _plot_curves(
    axis: Axes, curves: Mapping[str, Curve], styles: Sequence[tuple[str, str]]
) -> None:
    if len(curves) > len(styles):
        raise ValueError(f"Expected at most {len(styles)} series; received {list(curves)}.")
    for (name, points), (colour, line_format) in zip(curves.items(), styles, strict=False):
        plotting.plot_intervals(axis, points, fmt=line_format, color=colour, label=name)


def _plot_reference(axis: Axes, name: str, point: IntervalPoint, colour: str) -> None:
    value, low, high = point
    axis.axhline(value, color=colour, linewidth=1.1, linestyle="--", label=name)
    if np.isfinite([low, high]).all():
        axis.axhspan(low, high, color=colour, alpha=0.12, linewidth=0)


def _format_size(size: float) -> str:
    """Returns "1.94 M" or "124 k"."""
    for unit, name in ((1e6, " M"), (1e3, " k")):
        if size >= unit:
            return f"{size / unit:.3g}{name}"
    return str(size)


def plot_temperatures(
    accuracies: Mapping[str, Curve], deviations: Mapping[str, Curve], title: str
) -> Figure:
    """Draws accuracies on the left, sigma_p on the right, over the temperature of the logits.

    Args:
      accuracies: Temperature to percent, by measure.
      deviations: Temperature to sigma_p, by domain; may be empty.
      title: The network.
    """
    figure = Figure(figsize=(8.6, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    temperatures = sorted(
        {t for curve in (*accuracies.values(), *deviations.values()) for t in curve}
    )
    for axis, curves in ((left, accuracies), (right, deviations)):
        _plot_curves(axis, curves, _TEMPERATURE_STYLES)
        axis.set_xscale("log")
        axis.set_xticks(temperatures, [f"{t:g}" for t in temperatures])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.margins(x=0.12)
        plotting.tidy_axis(axis)
        if any(curves.values()):
            axis.legend(fontsize=8.5)
    left.set(ylabel="accuracy in percent", ylim=(-3, 103))
    # sigma_p of a window is a thousand times that of the box.
    right.set(ylabel="sigma_p, 1 / pixel range (mean over pixels)", yscale="log")
    if not any(deviations.values()):
        right.text(0.5, 0.5, "not run", ha="center", color=plotting.GREY, transform=right.transAxes)
        right.set_yticks([])
    figure.suptitle(title, fontsize=11)
    figure.supxlabel("temperature T: logits are divided by it; bars: 95 % intervals", fontsize=9.5)
    return figure


def plot_uncertainty_products(points: Mapping[str, Curve], title: str) -> Figure:
    """Draws sigma_p on the left, product and bound on the right, over epochs.

    Args:
      points: "sigma_p", "uncertainty_product" and "uncertainty_bound" to epochs to a value and
        its interval.
      title: The network and the domain.
    """
    figure = Figure(figsize=(8.6, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axis, measure, label, colour, line_format in (
        (left, "sigma_p", "sigma_p", plotting.PURPLE, "o-"),
        (right, "uncertainty_product", "sigma_x sigma_p", plotting.BLUE, "o-"),
        (right, "uncertainty_bound", "bound |1 - B| / 2", plotting.VERMILION, "s--"),
    ):
        epochs = sorted(points[measure])
        plotting.plot_intervals(
            axis, points[measure], range(len(epochs)), fmt=line_format, color=colour, label=label
        )
        axis.set_xticks(range(len(epochs)), [str(n) for n in epochs])
        axis.set_xlabel("training epochs")
        plotting.tidy_axis(axis)
    right.axhline(
        0.5, color=plotting.GREY, linewidth=1, linestyle=":", label="1/2, the printed bound"
    )
    left.set_ylabel("sigma_p, 1 / pixel range (mean over pixels)")
    right.set_ylabel("product (mean over pixels)")
    right.legend(fontsize=8)
    figure.suptitle(title, fontsize=11)
    return figure
