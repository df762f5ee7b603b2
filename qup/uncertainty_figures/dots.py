"""Dot plots: a line for each network, or for each direction."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from qup import uncertainty_networks as networks
from qup.measurements import Row
from qup.uncertainty_figures import look, percents
from qup.uncertainty_figures import series as series_module
from qup.uncertainty_figures.series import Series
from qup.uncertainty_measured import RelationRecord

_MAX_DIRECTIONS = 40


def plot_controls(records: Sequence[RelationRecord], rows: Sequence[Row]) -> Figure | None:
    """Draws every network and control of one packet and domain.

    Returns:
      The figure; None where there is only one.
    """
    ordered = sorted(records, key=_sort_key)
    networks_by_name = {networks.format_network(record): record for record in ordered}
    if len(networks_by_name) < 2:
        return None
    names = list(networks_by_name)
    network_accuracies = [
        networks.find_accuracy_rows(rows, record) for record in networks_by_name.values()
    ]
    has_accuracies = any(network_accuracies)
    series = Series(records)
    handles = series.build_handles()
    if ordered[0].domain == "box":
        handles.append(Line2D([], [], ls="", marker="|", color=look.GREY, label="bound"))
    if has_accuracies:
        handles += [
            Line2D([], [], ls="", color=colour, marker=marker, label=name)
            for name, colour, marker in look.ACCURACY_STYLES.values()
        ]
    figure, panels = _build_panels(
        "Every network and its controls",
        ordered,
        series,
        names,
        has_accuracies,
        handles=handles,
        note=look.describe_means(ordered),
    )
    for record in ordered:
        y = names.index(networks.format_network(record)) + 0.7 * series.compute_offset(record)
        style = series.marker_style(record)
        for axis, measure in zip(panels, look.choose_measures(records), strict=False):
            series_module.draw_dot(axis, y, record.mean(measure), **style)
        if record.domain == "box":
            bound = record.mean("uncertainty_bound").value
            panels[0].plot(bound, y, "|", color=style["color"], ms=8)
    if has_accuracies:
        percents.draw_accuracies_across(panels[-1], network_accuracies)
    _shade_controls(panels, sum(bool(record["control"]) for record in networks_by_name.values()))
    return figure


def plot_directions(records: Sequence[RelationRecord]) -> Figure | None:
    """Draws one network along its directions, such as PCA axes.

    Returns:
      The figure; None without directions.
    """
    final_records = networks.select_final_records(records)
    names = [name for name in final_records[0].names if not name.startswith("pixel:")]
    final_records = [record for record in final_records if set(names) <= set(record.names)]
    if not names:
        return None
    hidden, names = names[_MAX_DIRECTIONS:], names[:_MAX_DIRECTIONS]
    series = Series(final_records)
    note = "Bars are one standard error."
    note += f" {len(hidden)} further directions are not shown." * bool(hidden)
    figure, panels = _build_panels(
        "Along directions",
        final_records,
        series,
        names,
        False,
        handles=series.build_handles(),
        note=note,
    )
    for axis, measure in zip(panels, look.choose_measures(final_records), strict=True):
        for record in final_records:
            for index, name in enumerate(names):
                y = index + 0.7 * series.compute_offset(record)
                series_module.draw_dot(
                    axis, y, record.axis_value(measure, name), **series.marker_style(record)
                )
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
    """Returns panels side by side with a line for each name."""
    measures = look.choose_measures(records)
    columns = len(measures) + has_accuracies
    row_height = 0.22 + 0.06 * min(len(series.keys), 10)
    figure, body = look.build_page(
        (2.05 * columns + 1.2, row_height * len(names) + 0.8),
        title,
        look.format_subject(records),
        handles=handles,
        note=note,
    )
    panels = list(body.subplots(1, columns, sharey=True, squeeze=False)[0])
    for axis, measure in zip(panels, measures, strict=False):
        axis.set_title(look.MEASURE_TITLES[measure], fontsize=10.5)
        axis.xaxis.set_major_locator(MaxNLocator(3))
        look.style_axes(axis, "both")
        look.draw_reference(axis, records, measure, horizontal=True)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    for axis in panels:
        axis.tick_params(axis="y", length=0)
    return figure, panels


def _shade_controls(panels: Sequence[Axes], count: int) -> None:
    """Puts grey behind the controls, which come first."""
    for axis in panels:
        if count:
            axis.axhspan(-0.6, count - 0.5, color=look.PALE, zorder=0)


def _sort_key(record: RelationRecord) -> tuple:
    return (
        not record["control"],
        record["control"],
        record["temperature"] != 1,
        record["epochs"],
        record["temperature"],
    )
