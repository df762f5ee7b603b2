"""The common style of the figures: pages, colours, markers, points with errors."""

import textwrap
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, ScalarFormatter

from qup.core import plotting
from qup.core.measurements import Row
from qup.uncertainty.records import (
    ATOL,
    MeanEstimate,
    RelationRecord,
    find_accuracy_rows,
    format_attack,
    format_domain,
    format_estimator,
    format_labels,
    format_network,
)

COLOURS = (*plotting.PALETTE[:-1], "#8C6D31", plotting.BLACK)
GREY, PALE, FLAGGED = plotting.GREY, "#F4F4F4", plotting.VERMILION
MEASURE_TITLES = {
    "sigma_x": r"$\sigma_x$",
    "sigma_p": r"$\sigma_p$",
    "uncertainty_product": r"$\sigma_x\,\sigma_p$",
    "uncertainty_bound": r"bound $\frac{1}{2}|1-B|$",
    "excess": r"excess over $\frac{1}{2}$",
}
ACCURACY_STYLES = {
    "test_accuracy": ("TA", plotting.GREEN, "o"),
    "robust_accuracy": ("RA", plotting.PURPLE, "D"),
}
_EXCESS_NOTE = (
    " The excess is that of ½ / |corr(x, s)|, which the identity Cov(x, s) = "
    "$-$½ frees of most noise."
)
# In inches: of a page, and of an entry of a legend.
_MIN_PAGE_WIDTH, _LEGEND_WIDTH = 6.4, 1.25


def style_axes(axis: Axes, grid: str = "y") -> None:
    """Draws a pale grid, grey lines at the left and below, and ticks without offsets."""
    plotting.tidy_axis(axis, grid)
    axis.spines[["left", "bottom"]].set_color("#999999")
    axis.tick_params(color="#999999")
    for side in (axis.xaxis, axis.yaxis):
        # Ticks show 0.50001, not 1 with an offset of 0.5.
        if isinstance(side.get_major_formatter(), ScalarFormatter):
            side.get_major_formatter().set_useOffset(False)


def build_page(
    size: tuple[float, float], title: str, subject: str, *, handles: Sequence = (), note: str = ""
) -> tuple[Figure, SubFigure]:
    """Returns a figure with title, legend and note, and the empty subfigure for its panels.

    Args:
      size: Of the subfigure, in inches.
      title: First line.
      subject: Network, packet and domain, below the title.
      handles: Of a legend below the panels.
      note: Explanation at the bottom.
    """
    width, height = max(size[0], _MIN_PAGE_WIDTH), size[1]
    subject_lines = textwrap.wrap(subject, int(14 * width))
    note_lines = textwrap.wrap(note, int(15.5 * width))
    head_height = 0.42 + 0.18 * len(subject_lines)
    columns = max(1, min(len(handles), int(width / _LEGEND_WIDTH)))
    rows = -(-len(handles) // columns)
    foot_height = 0.08 + 0.24 * rows + 0.17 * len(note_lines)
    figure = Figure((width, head_height + height + foot_height), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.07, w_pad=0.06)
    subfigures = figure.subfigures(3, 1, height_ratios=(head_height, height, foot_height))
    left = 0.12 / width
    subfigures[0].text(left, 1 - 0.09 / head_height, title, fontsize=12.5, weight="bold", va="top")
    subfigures[0].text(
        left,
        1 - 0.36 / head_height,
        "\n".join(subject_lines),
        fontsize=9.5,
        color=GREY,
        va="top",
        linespacing=1.3,
    )
    subfigures[2].text(
        left,
        0.06 / foot_height,
        "\n".join(note_lines),
        fontsize=8.5,
        color=GREY,
        va="bottom",
        linespacing=1.25,
    )
    if handles:
        subfigures[2].legend(
            handles=handles,
            loc="upper center",
            ncols=columns,
            frameon=False,
            fontsize=9,
            borderaxespad=0,
        )
    return figure, subfigures[1]


def format_subject(records: Sequence[RelationRecord], *, epochs: bool = False) -> str:
    """Returns model, dataset, packet, domain and labels of records, with `epochs` the network."""
    first = records[0]
    phrases = [f"{first['model']} on {first['dataset']}".removesuffix(" on ")]
    phrases += [f"{first['packet']} packet", format_domain(records)]
    phrases += [format_labels(records)]
    phrases += [format_network(first)] if epochs else []
    return " · ".join(phrase for phrase in phrases if phrase)


def describe_means(records: Sequence[RelationRecord]) -> str:
    """Returns the sentence that defines points and bars."""
    bars = "one standard error"
    if not all(record.means for record in records):
        bars = f"an upper limit of {bars}, as they share their samples"
    text = f"Points are means over {records[0].unit}, bars {bars}."
    return text + (_EXCESS_NOTE if "excess" in choose_measures(records) else "")


def choose_measures(records: Sequence[RelationRecord]) -> tuple[str, ...]:
    """Returns the measures of the panels, from top to bottom."""
    excess = ("excess",) if records[0].use_correlation_estimator else ()
    return ("uncertainty_product", *excess, "sigma_x", "sigma_p")


def interpolate_colour(share: float) -> tuple[float, ...]:
    """Returns a colour between dark blue and yellow, for 0 to 1."""
    return colormaps["viridis"](0.92 * share)


def draw_reference(
    axis: Axes, records: Sequence[RelationRecord], measure: str, horizontal: bool = False
) -> None:
    """Draws the bound where it is 1/2, or makes the axis of an excess logarithmic.

    Args:
      axis: The panel.
      records: Records of the panel.
      measure: Measure of the panel.
      horizontal: Whether values are on the x axis.
    """
    if measure == "uncertainty_product" and records[0]["vanishes"]:
        draw_line = axis.axvline if horizontal else axis.axhline
        draw_line(0.5, color=GREY, linewidth=0.9, linestyle="--", zorder=1)
    if measure != "excess":
        return
    if horizontal:
        axis.set_xscale("symlog", linthresh=ATOL)
        axis.set_xlim(left=-0.3 * ATOL)
        axis.set_xticks([0, 1e-5, 1e-3])
    else:
        axis.set_yscale("symlog", linthresh=ATOL)
        axis.set_ylim(bottom=-0.3 * ATOL)


def shift_position(x: float, positions: Sequence[float], shift: float) -> float:
    """Shifts a point by a share of the smallest distance between positions."""
    neighbours = list(pairwise(sorted(positions)))
    if not _is_wide_range(positions):
        room = min((b - a for a, b in neighbours), default=1.0)
        return x + 0.24 * shift * room
    return x * min(b / a for a, b in neighbours) ** (0.24 * shift)


def set_ticks(axis: Axes, positions: Sequence[float]) -> None:
    """Puts a tick at every position, on a logarithmic axis for a wide range."""
    if _is_wide_range(positions):
        axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(sorted(positions)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def _is_wide_range(positions: Sequence[float]) -> bool:
    return min(positions) > 0 and max(positions) >= 4 * min(positions)


_MARKERS = {"importance": "o", "mcmc": "s"}


class Series:
    """The series of a figure: a colour per label, a marker per estimator."""

    def __init__(self, records: Iterable[RelationRecord]):
        keys = {get_series_key(record) for record in records}
        self._labels = sorted({label for label, _ in keys}, key=_get_label_order)
        self._estimators = sorted({estimator for _, estimator in keys})
        self.keys = [
            (label, estimator)
            for label in self._labels
            for estimator in self._estimators
            if (label, estimator) in keys
        ]

    def compute_offset(self, record: RelationRecord) -> float:
        """Returns a shift in [-1/2, 1/2] that puts points of all series side by side."""
        middle = (len(self.keys) - 1) / 2
        return (self.keys.index(get_series_key(record)) - middle) / len(self.keys)

    def build_marker(self, record: RelationRecord) -> dict:
        """Returns keyword arguments: colour and marker, filled for importance sampling."""
        label, estimator = get_series_key(record)
        colour = self._choose_colour(label)
        return {
            "color": colour,
            "marker": _MARKERS.get(estimator, "^"),
            "markerfacecolor": colour if estimator == "importance" else "white",
        }

    def _choose_colour(self, label):
        index = self._labels.index(label)
        if len(self._labels) <= len(COLOURS):
            return COLOURS[index]
        return interpolate_colour(index / (len(self._labels) - 1))

    def build_handles(self) -> list[Line2D]:
        """Returns the handles of a legend; none for a single series."""
        handles = []
        if len(self._labels) > 1:
            handles += [
                Line2D(
                    [], [], color=self._choose_colour(label), linewidth=3, label=f"label {label}"
                )
                for label in self._labels
            ]
        if len(self._estimators) > 1:
            handles += [
                Line2D(
                    [],
                    [],
                    linestyle="",
                    marker=_MARKERS.get(estimator, "^"),
                    color=GREY,
                    label=format_estimator(estimator),
                    markerfacecolor=GREY if estimator == "importance" else "white",
                )
                for estimator in self._estimators
            ]
        return handles


def get_series_key(record: RelationRecord) -> tuple:
    """Returns the key of a record's series: label and estimator."""
    return record["label"], record["estimator"]


def _get_label_order(label) -> tuple:
    return (str(type(label)), label)


def draw_point(
    axis: Axes, position: float, mean: MeanEstimate, horizontal: bool = False, **style
) -> None:
    """Draws a value with its error; a grey cross where it is unknown.

    Args:
      axis: The panel.
      position: On the other axis.
      mean: The value.
      horizontal: Whether values are on the x axis.
      **style: See `Series.build_marker`.
    """
    style = {"markersize": 5, "capsize": 2, "elinewidth": 1.1, **style}
    if not np.isfinite(mean.value):
        cross = {"color": GREY, "markersize": 7, "markeredgewidth": 2, "clip_on": False}
        if horizontal:
            axis.plot(0.03, position, "x", transform=axis.get_yaxis_transform(), **cross)
        else:
            axis.plot(position, 0.05, "x", transform=axis.get_xaxis_transform(), **cross)
    elif horizontal:
        axis.errorbar(mean.value, position, xerr=mean.stderr, **style)
    else:
        axis.errorbar(position, mean.value, mean.stderr, **style)


def draw_accuracy_curves(
    axis: Axes, records: Sequence[RelationRecord], key: str, rows: Sequence[Row]
) -> None:
    """Draws TA and RA against the metadata `key`, such as "epochs"."""
    rows_by_key = {record[key]: find_accuracy_rows(rows, record) for record in records}
    for measure, (name, colour, marker) in ACCURACY_STYLES.items():
        xs = sorted(x for x, accuracy_rows in rows_by_key.items() if measure in accuracy_rows)
        if not xs:
            continue
        curve_rows = [rows_by_key[x][measure] for x in xs]
        axis.errorbar(
            xs,
            [row.value for row in curve_rows],
            [row.stderr or 0.0 for row in curve_rows],
            color=colour,
            marker=marker,
            markersize=5,
            linewidth=1.1,
            capsize=2,
        )
        axis.annotate(
            name + format_attack(curve_rows[-1]),
            (xs[-1], curve_rows[-1].value),
            xytext=(0, 6),
            textcoords="offset points",
            ha="right" if len(xs) > 1 else "left",
            fontsize=9,
            color=colour,
            weight="bold",
        )
    axis.set_ylabel("percent", fontsize=10)
    axis.set_ylim(-6, 122)
    axis.set_yticks([0, 50, 100])
    style_axes(axis)


def draw_accuracies(
    axis: Axes, position: float, accuracy_rows: dict[str, Row], horizontal: bool = False
) -> None:
    """Draws the accuracies of one network, see `draw_point`."""
    for measure, row in accuracy_rows.items():
        _, colour, marker = ACCURACY_STYLES[measure]
        style = {"color": colour, "marker": marker, "markersize": 5, "capsize": 2}
        if horizontal:
            axis.errorbar(row.value, position, xerr=row.stderr or 0.0, **style)
        else:
            axis.errorbar(position, row.value, row.stderr or 0.0, **style)
