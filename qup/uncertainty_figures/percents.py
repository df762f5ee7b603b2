"""TA and RA beside what is measured."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from qup import uncertainty_networks as networks
from qup.measurements import Row
from qup.uncertainty_figures import look
from qup.uncertainty_measured import Measured


def curves(
    axis: Axes, own: Sequence[Measured], key: str, rows: Sequence[Row]
) -> None:
    """Draws TA and RA against `key`, such as "epochs"."""
    points = {of[key]: networks.accuracies(rows, of) for of in own}
    for measure, (name, colour, marker) in look.ACCURACIES.items():
        xs = sorted(x for x, known in points.items() if measure in known)
        if not xs:
            continue
        found = [points[x][measure] for x in xs]
        axis.errorbar(
            xs, [row.value for row in found],
            [row.stderr or 0.0 for row in found], color=colour,
            marker=marker, markersize=5, linewidth=1.1, capsize=2,
        )  # fmt: skip
        axis.annotate(
            name + networks.attack(found[-1]), (xs[-1], found[-1].value),
            xytext=(0, 6), textcoords="offset points",
            ha="right" if len(xs) > 1 else "left",
            fontsize=9, color=colour, weight="bold",
        )  # fmt: skip
    axis.set_ylabel("percent", fontsize=10)
    axis.set_ylim(-6, 122)
    axis.set_yticks([0, 50, 100])
    look.style(axis)


def above(axis: Axes, x: float, known: dict[str, Row]) -> None:
    """Draws the accuracies of one network above x."""
    for measure, row in known.items():
        _, colour, marker = look.ACCURACIES[measure]
        axis.errorbar(
            x, row.value, row.stderr or 0.0, color=colour, marker=marker,
            markersize=5, capsize=2,
        )  # fmt: skip


def across(axis: Axes, known: Sequence[dict[str, Row]]) -> None:
    """Draws the accuracies of networks, one to a line."""
    for place, own in enumerate(known):
        for measure, row in own.items():
            _, colour, marker = look.ACCURACIES[measure]
            axis.errorbar(
                row.value, place, xerr=row.stderr or 0.0, color=colour,
                marker=marker, markersize=5, capsize=2,
            )  # fmt: skip
    axis.set_title("accuracy, percent", fontsize=10.5)
    axis.set_xlim(-4, 104)
    axis.set_xticks([0, 50, 100])
    look.style(axis, "both")
