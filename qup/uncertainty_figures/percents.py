"""TA and RA beside what is measured."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from qup import uncertainty_networks as networks
from qup.measurements import Row
from qup.uncertainty_figures import look
from qup.uncertainty_measured import RelationRecord


def draw_accuracy_curves(
    axis: Axes, records: Sequence[RelationRecord], key: str, rows: Sequence[Row]
) -> None:
    """Draws TA and RA against `key`, such as "epochs"."""
    rows_by_key = {record[key]: networks.find_accuracy_rows(rows, record) for record in records}
    for measure, (name, colour, marker) in look.ACCURACY_STYLES.items():
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
            name + networks.format_attack(curve_rows[-1]),
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
    look.style_axes(axis)


def draw_accuracies(axis: Axes, x: float, accuracy_rows: dict[str, Row]) -> None:
    """Draws the accuracies of one network above x."""
    for measure, row in accuracy_rows.items():
        _, colour, marker = look.ACCURACY_STYLES[measure]
        axis.errorbar(
            x, row.value, row.stderr or 0.0, color=colour, marker=marker, markersize=5, capsize=2
        )


def draw_accuracies_across(axis: Axes, accuracies: Sequence[dict[str, Row]]) -> None:
    """Draws the accuracies of networks, one to a line."""
    for index, accuracy_rows in enumerate(accuracies):
        for measure, row in accuracy_rows.items():
            _, colour, marker = look.ACCURACY_STYLES[measure]
            axis.errorbar(
                row.value,
                index,
                xerr=row.stderr or 0.0,
                color=colour,
                marker=marker,
                markersize=5,
                capsize=2,
            )
    axis.set_title("accuracy, percent", fontsize=10.5)
    axis.set_xlim(-4, 104)
    axis.set_xticks([0, 50, 100])
    look.style_axes(axis, "both")
