"""Means over pixels by epoch, temperature, network and direction, with TA and RA."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from qup.core.measurements import Row
from qup.uncertainty.figures import style
from qup.uncertainty.figures.style import Series
from qup.uncertainty.records import (
    RelationRecord,
    find_accuracy_rows,
    format_network,
    select_final_records,
    select_snapshots,
)

_UNKNOWN_NOTE = " Grey crosses could not be estimated."
_MAX_DIRECTIONS = 40


def plot_by_epoch(records: Sequence[RelationRecord], rows: Sequence[Row]) -> Figure | None:
    """Plots the relation against epochs, with controls at the right and TA and RA below.

    Args:
      records: Of one packet and domain.
      rows: Measurements of accuracies.

    Returns:
      The figure; None for a single snapshot.
    """
    snapshots = select_snapshots(records)
    epochs = sorted({record["epochs"] for record in snapshots})
    if len(epochs) < 2:
        return None
    control_records = [record for record in records if record["control"]]
    control_names = list(dict.fromkeys(format_network(record) for record in control_records))
    title = "Epoch by epoch" + (", and the controls" if control_names else "")
    stack = _PanelStack(title, snapshots, control_records, rows)
    ratios = (1, 0.04 + 0.16 * len(control_names)) if control_names else (1,)
    panels = stack.build_panels(7.6, ratios)
    stack.draw_curves(panels[:, 0], "epochs", epochs)
    if control_names:
        stack.draw_controls(panels[:, 1], control_names)
    return stack.figure


def plot_by_temperature(records: Sequence[RelationRecord], rows: Sequence[Row]) -> Figure | None:
    """Plots the relation against temperature, with TA and RA below.

    Returns:
      The figure; None for a single temperature.
    """
    max_epochs = select_final_records(records)[0]["epochs"]
    network_records = [
        record for record in records if not record["control"] and record["epochs"] == max_epochs
    ]
    network_records = [
        record
        for record in network_records
        if len(_list_temperatures(network_records, record["label"])) > 1
    ]
    if not network_records:
        return None
    stack = _PanelStack("The same decisions at every temperature", network_records, [], rows)
    panels = stack.build_panels(6.6, (1,))
    stack.draw_curves(panels[:, 0], "temperature", sorted(_list_temperatures(network_records)))
    panels[-1, 0].set_xlabel("temperature T, logits / T", fontsize=10)
    return stack.figure


def _list_temperatures(records: Sequence[RelationRecord], *labels) -> set[float]:
    """Returns the temperatures of records of these labels, or of all records."""
    return {record["temperature"] for record in records if not labels or record["label"] in labels}


class _PanelStack:
    """A column of panels, one per measure, with the accuracies below."""

    figure: Figure

    def __init__(
        self,
        title: str,
        network_records: Sequence[RelationRecord],
        control_records: Sequence[RelationRecord],
        rows: Sequence[Row],
    ):
        self._title, self._records, self._controls = title, network_records, control_records
        self._rows = rows
        self._series = Series([*network_records, *control_records])
        self._measures = style.choose_measures(network_records)
        self._has_accuracies = any(find_accuracy_rows(rows, record) for record in network_records)

    def build_panels(self, width: float, ratios: tuple[float, ...]):
        """Returns axes [panels, columns]."""
        all_records = [*self._records, *self._controls]
        note = style.describe_means(all_records)
        if any(
            record.mean(measure).num_known == 0
            for record in all_records
            for measure in self._measures
        ):
            note += _UNKNOWN_NOTE
        handles = self._series.build_handles()
        if all_records[0].domain == "box":
            handles.append(Line2D([], [], color=style.GREY, ls=":", label="bound"))
        num_rows = len(self._measures) + self._has_accuracies
        self.figure, body = style.build_page(
            (width, 1.55 * num_rows + 0.35),
            self._title,
            style.format_subject(self._records),
            handles=handles,
            note=note,
        )
        return body.subplots(
            num_rows, len(ratios), squeeze=False, sharex="col", sharey="row", width_ratios=ratios
        )

    def draw_curves(self, panels: Sequence[Axes], key: str, positions: Sequence[float]) -> None:
        """Draws the measures against the metadata `key`, such as "epochs"."""
        for axis, measure in zip(panels, self._measures, strict=False):
            for name in self._series.keys:
                group = [record for record in self._records if style.get_series_key(record) == name]
                self._draw_curve(axis, group, key, measure, positions)
            style.draw_reference(axis, self._records, measure)
            axis.set_ylabel(style.MEASURE_TITLES[measure], fontsize=11)
            style.style_axes(axis)
        if self._has_accuracies:
            style.draw_accuracy_curves(panels[-1], self._records, key, self._rows)
        style.set_ticks(panels[-1], positions)
        panels[-1].set_xlabel(key, fontsize=10)

    def _draw_curve(
        self,
        axis: Axes,
        group: Sequence[RelationRecord],
        key: str,
        measure: str,
        positions: Sequence[float],
    ) -> None:
        points = sorted(
            (
                (
                    style.shift_position(
                        record[key], positions, self._series.compute_offset(record)
                    ),
                    record,
                )
                for record in group
            ),
            key=lambda pair: pair[0],
        )
        if not points:
            return
        xs = [x for x, _ in points]
        marker = self._series.build_marker(group[0])
        line_style = {"color": marker["color"], "linewidth": 1.1, "alpha": 0.55}
        axis.plot(xs, [record.mean(measure).value for _, record in points], **line_style)
        for x, record in points:
            style.draw_point(axis, x, record.mean(measure), **marker)
        if measure == "uncertainty_product" and group[0].domain == "box":
            bounds = [record.mean("uncertainty_bound").value for _, record in points]
            axis.plot(xs, bounds, ":", color=marker["color"])

    def draw_controls(self, panels: Sequence[Axes], control_names: Sequence[str]) -> None:
        """Draws every control at its own position."""
        for record in self._controls:
            index = control_names.index(format_network(record))
            x = index + 0.5 * self._series.compute_offset(record)
            marker = {**self._series.build_marker(record), "linestyle": ""}
            for axis, measure in zip(panels, self._measures, strict=False):
                style.draw_point(axis, x, record.mean(measure), **marker)
            if record.domain == "box":
                bound = record.mean("uncertainty_bound").value
                panels[0].plot(x, bound, "_", color=marker["color"], ms=9)
            if self._has_accuracies:
                accuracy_rows = find_accuracy_rows(self._rows, record)
                style.draw_accuracies(panels[-1], index, accuracy_rows)
        for axis, measure in zip(panels, self._measures, strict=False):
            style.draw_reference(axis, self._records, measure)
        for axis in panels:
            style.style_axes(axis)
            axis.tick_params(left=False)
            axis.set_facecolor(style.PALE)
            axis.spines["left"].set_visible(False)
        panels[-1].set_xlim(-0.6, len(control_names) - 0.4)
        names = [name.replace(" ", "\n") for name in control_names]
        panels[-1].set_xticks(range(len(control_names)), names)


def plot_controls(records: Sequence[RelationRecord], rows: Sequence[Row]) -> Figure | None:
    """Plots every network and control of one packet and domain, a line each.

    Returns:
      The figure; None for a single network.
    """
    ordered = sorted(records, key=_get_sort_key)
    networks_by_name = {format_network(record): record for record in ordered}
    if len(networks_by_name) < 2:
        return None
    names = list(networks_by_name)
    network_accuracies = [find_accuracy_rows(rows, record) for record in networks_by_name.values()]
    has_accuracies = any(network_accuracies)
    series = Series(records)
    handles = series.build_handles()
    if ordered[0].domain == "box":
        handles.append(Line2D([], [], ls="", marker="|", color=style.GREY, label="bound"))
    if has_accuracies:
        handles += [
            Line2D([], [], ls="", color=colour, marker=marker, label=name)
            for name, colour, marker in style.ACCURACY_STYLES.values()
        ]
    figure, panels = _build_panels(
        "Every network and its controls",
        ordered,
        series,
        names,
        has_accuracies,
        handles=handles,
        note=style.describe_means(ordered),
    )
    for record in ordered:
        y = names.index(format_network(record)) + 0.7 * series.compute_offset(record)
        marker = series.build_marker(record)
        for axis, measure in zip(panels, style.choose_measures(records), strict=False):
            style.draw_point(axis, y, record.mean(measure), horizontal=True, **marker)
        if record.domain == "box":
            bound = record.mean("uncertainty_bound").value
            panels[0].plot(bound, y, "|", color=marker["color"], ms=8)
    if has_accuracies:
        for index, accuracy_rows in enumerate(network_accuracies):
            style.draw_accuracies(panels[-1], index, accuracy_rows, horizontal=True)
        panels[-1].set_title("accuracy, percent", fontsize=10.5)
        panels[-1].set(xlim=(-4, 104), xticks=[0, 50, 100])
        style.style_axes(panels[-1], "both")
    _shade_controls(panels, sum(bool(record["control"]) for record in networks_by_name.values()))
    return figure


def plot_directions(records: Sequence[RelationRecord]) -> Figure | None:
    """Plots the last network along its directions, such as PCA axes.

    Returns:
      The figure; None without directions.
    """
    final_records = select_final_records(records)
    names = [name for name in final_records[0].names if not name.startswith("pixel:")]
    final_records = [record for record in final_records if set(names) <= set(record.names)]
    if not names:
        return None
    hidden, names = names[_MAX_DIRECTIONS:], names[:_MAX_DIRECTIONS]
    series = Series(final_records)
    note = "Bars are one standard error."
    if hidden:
        note += f" {len(hidden)} further directions are not shown."
    figure, panels = _build_panels(
        "Along directions",
        final_records,
        series,
        names,
        False,
        handles=series.build_handles(),
        note=note,
    )
    for axis, measure in zip(panels, style.choose_measures(final_records), strict=True):
        for record in final_records:
            for index, name in enumerate(names):
                y = index + 0.7 * series.compute_offset(record)
                value, marker = record.axis_value(measure, name), series.build_marker(record)
                style.draw_point(axis, y, value, horizontal=True, **marker)
    return figure


def _build_panels(
    title: str,
    records: Sequence[RelationRecord],
    series: Series,
    names: Sequence[str],
    has_accuracies: bool,
    *,
    handles: Sequence,
    note: str,
) -> tuple[Figure, list[Axes]]:
    """Returns a figure and its row of panels, with a line for each name."""
    measures = style.choose_measures(records)
    columns = len(measures) + has_accuracies
    row_height = 0.22 + 0.06 * min(len(series.keys), 10)
    figure, body = style.build_page(
        (2.05 * columns + 1.2, row_height * len(names) + 0.8),
        title,
        style.format_subject(records),
        handles=handles,
        note=note,
    )
    panels = list(body.subplots(1, columns, sharey=True, squeeze=False)[0])
    for axis, measure in zip(panels, measures, strict=False):
        axis.set_title(style.MEASURE_TITLES[measure], fontsize=10.5)
        axis.xaxis.set_major_locator(MaxNLocator(3))
        style.style_axes(axis, "both")
        style.draw_reference(axis, records, measure, horizontal=True)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    for axis in panels:
        axis.tick_params(axis="y", length=0)
    return figure, panels


def _shade_controls(panels: Sequence[Axes], count: int) -> None:
    """Shades the lines of the controls, which come first."""
    for axis in panels:
        if count:
            axis.axhspan(-0.6, count - 0.5, color=style.PALE, zorder=0)


def _get_sort_key(record: RelationRecord) -> tuple:
    return (
        not record["control"],
        record["control"],
        record["temperature"] != 1,
        record["epochs"],
        record["temperature"],
    )
