"""Means over pixels, by epoch and by temperature, beside TA and RA."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qup import uncertainty_networks as networks
from qup.measurements import Row
from qup.uncertainty_figures import look, percents
from qup.uncertainty_figures import series as series_module
from qup.uncertainty_figures.series import Series
from qup.uncertainty_measured import RelationRecord

_UNKNOWN_NOTE = " Grey crosses could not be estimated."


def plot_by_epoch(records: Sequence[RelationRecord], rows: Sequence[Row]) -> Figure | None:
    """Draws the relation against epochs, controls aside, TA and RA below.

    Args:
      records: Of one packet and domain.
      rows: Those of the accuracies.

    Returns:
      The figure; None where there is only one snapshot.
    """
    snapshots = networks.select_snapshots(records)
    epochs = sorted({record["epochs"] for record in snapshots})
    if len(epochs) < 2:
        return None
    control_records = [record for record in records if record["control"]]
    control_names = list(
        dict.fromkeys(networks.format_network(record) for record in control_records)
    )
    title = "Epoch by epoch" + (", and the controls" if control_names else "")
    stack = _PanelStack(title, snapshots, control_records, rows)
    ratios = (1, 0.04 + 0.16 * len(control_names)) if control_names else (1,)
    panels = stack.build_panels(7.6, ratios)
    stack.draw_curves(panels[:, 0], "epochs", epochs)
    if control_names:
        stack.draw_controls(panels[:, 1], control_names)
    return stack.figure


def plot_by_temperature(records: Sequence[RelationRecord], rows: Sequence[Row]) -> Figure | None:
    """Draws the relation against temperature, TA and RA below.

    Returns:
      The figure; None where the network was measured at one temperature.
    """
    max_epochs = networks.select_final_records(records)[0]["epochs"]
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
    """Returns the temperatures at which labels, or all, were measured."""
    return {record["temperature"] for record in records if not labels or record["label"] in labels}


class _PanelStack:
    """Panels above one another, a measure each, the accuracies below."""

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
        self._measures = look.choose_measures(network_records)
        self._has_accuracies = any(
            networks.find_accuracy_rows(rows, record) for record in network_records
        )

    def build_panels(self, width: float, ratios: tuple[float, ...]):
        """Returns axes [panels, columns]."""
        all_records = [*self._records, *self._controls]
        note = look.describe_means(all_records)
        if any(
            record.mean(measure).num_known == 0
            for record in all_records
            for measure in self._measures
        ):
            note += _UNKNOWN_NOTE
        handles = self._series.build_handles()
        if all_records[0].domain == "box":
            handles.append(Line2D([], [], color=look.GREY, ls=":", label="bound"))
        num_rows = len(self._measures) + self._has_accuracies
        self.figure, body = look.build_page(
            (width, 1.55 * num_rows + 0.35),
            self._title,
            look.format_subject(self._records),
            handles=handles,
            note=note,
        )
        return body.subplots(
            num_rows, len(ratios), squeeze=False, sharex="col", sharey="row", width_ratios=ratios
        )

    def draw_curves(self, panels: Sequence[Axes], key: str, positions: Sequence[float]) -> None:
        """Draws what is told by `key`, such as "epochs"."""
        for axis, measure in zip(panels, self._measures, strict=False):
            for name in self._series.keys:
                group = [
                    record for record in self._records if series_module.series_key(record) == name
                ]
                self._draw_curve(axis, group, key, measure, positions)
            look.draw_reference(axis, self._records, measure)
            axis.set_ylabel(look.MEASURE_TITLES[measure], fontsize=11)
            look.style_axes(axis)
        if self._has_accuracies:
            percents.draw_accuracy_curves(panels[-1], self._records, key, self._rows)
        look.set_ticks(panels[-1], positions)
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
                    look.shift_position(
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
        style = self._series.marker_style(group[0])
        line_style = {"color": style["color"], "linewidth": 1.1, "alpha": 0.55}
        axis.plot(xs, [record.mean(measure).value for _, record in points], **line_style)
        for x, record in points:
            series_module.draw_point(axis, x, record.mean(measure), **style)
        if measure == "uncertainty_product" and group[0].domain == "box":
            bounds = [record.mean("uncertainty_bound").value for _, record in points]
            axis.plot(xs, bounds, ":", color=style["color"])

    def draw_controls(self, panels: Sequence[Axes], control_names: Sequence[str]) -> None:
        """Draws every control in a place of its own."""
        for record in self._controls:
            index = control_names.index(networks.format_network(record))
            x = index + 0.5 * self._series.compute_offset(record)
            style = {**self._series.marker_style(record), "linestyle": ""}
            for axis, measure in zip(panels, self._measures, strict=False):
                series_module.draw_point(axis, x, record.mean(measure), **style)
            if record.domain == "box":
                bound = record.mean("uncertainty_bound").value
                panels[0].plot(x, bound, "_", color=style["color"], ms=9)
            if self._has_accuracies:
                accuracy_rows = networks.find_accuracy_rows(self._rows, record)
                percents.draw_accuracies(panels[-1], index, accuracy_rows)
        for axis, measure in zip(panels, self._measures, strict=False):
            look.draw_reference(axis, self._records, measure)
        for axis in panels:
            look.style_axes(axis)
            axis.tick_params(left=False)
            axis.set_facecolor(look.PALE)
            axis.spines["left"].set_visible(False)
        panels[-1].set_xlim(-0.6, len(control_names) - 0.4)
        names = [name.replace(" ", "\n") for name in control_names]
        panels[-1].set_xticks(range(len(control_names)), names)
