"""The benchmark as a figure: a bar a ratio, a mark where it should end."""

import pathlib
import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks.attacks import bars
from benchmarks.attacks import rows as attacks_rows
from benchmarks.attacks.rows import Row
from qup.core import files

# In inches.
_WIDTH, _ROW, _HEAD, _FOOT = 9.6, 0.27, 0.75, 0.45
_COLUMNS = 2


def draw(rows: Sequence[Row], path: pathlib.Path, circumstances: Mapping[str, str]) -> None:
    """Draws the rows into a file.

    Args:
      rows: At least one. PGD has a panel for each network and batch, other
        ratios share one, and what is no ratio is written beside it.
      path: The file, .png or .svg.
      circumstances: Written below.
    """
    pgd = [row for row in rows if row.part == "pgd"]
    ratios = [r for r in rows if r.unit == attacks_rows.TIMES and r not in pgd]
    others = [r for r in rows if r.unit != attacks_rows.TIMES]
    races = _grouped(pgd)
    lines = -(-len(races) // _COLUMNS)
    below = 2.0 + len(_grouped(ratios)) + len(ratios)
    heights = [
        lines * (2.4 + max(map(len, races.values()), default=0)) * _ROW,
        max(below if ratios else 0, 1.5 + 2.1 * len(others)) * _ROW if ratios or others else 0,
    ]
    heights = [_HEAD, *(max(height, 1e-3) for height in heights), _FOOT]
    figure = Figure(figsize=(_WIDTH, sum(heights)), layout="constrained")
    head, upper, lower, foot = figure.subfigures(4, 1, height_ratios=heights)
    if races:
        _draw_races(upper, races)
    if ratios or others:
        _draw_others(lower, ratios, others)
    _frame(head, foot, rows, circumstances)
    with files.atomic_write(path) as partial:
        figure.savefig(partial, dpi=150)


def _frame(
    head: SubFigure, foot: SubFigure, rows: Sequence[Row], circumstances: Mapping[str, str]
) -> None:
    """Writes a title, what the colours mean, and the circumstances."""
    titles = {"reached": "target reached", "missed": "missed", "": "no target"}
    verdicts = {row.verdict for row in rows}
    handles = [
        Patch(color=bars.COLOURS[verdict], label=title)
        for verdict, title in titles.items()
        if verdict in verdicts
    ]
    handles.append(Line2D([], [], color="black", linewidth=2, label="target"))
    head.text(
        0.5,
        0.95,
        "How many times as fast qup's attacks are as others",
        ha="center",
        va="top",
        fontsize=13,
    )
    head.legend(handles=handles, loc="lower center", ncols=4, frameon=False, borderaxespad=0)
    text = "\n".join(line for text in circumstances.values() for line in textwrap.wrap(text, 130))
    foot.text(0.5, 0.2, text, ha="center", va="bottom", fontsize=8, color=bars.GREY)


def _grouped(rows: Sequence[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.what, []).append(row)
    return groups


def _draw_races(figure: SubFigure, races: dict[str, list[Row]]) -> None:
    """Draws a panel a race, all on one axis."""
    columns = min(_COLUMNS, len(races))
    lines = -(-len(races) // columns)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    every = [row for rows in races.values() for row in rows]
    for axis in panels.flat[len(races) :]:
        axis.set_visible(False)
    for axis, (what, rows) in zip(panels.flat, races.items(), strict=False):
        axis.set_title(what, loc="left", fontsize=9.5, weight="bold")
        places = range(len(rows))
        bars.draw(axis, places, rows, bars.ends(every))
        axis.set_yticks(places, [row.rival for row in rows], fontsize=9)
        axis.set_ylim(len(rows) - 0.4, -0.6)


def _draw_others(figure: SubFigure, ratios: Sequence[Row], others: Sequence[Row]) -> None:
    """Draws the other ratios on the left, writes the rest on the right."""
    panels = figure.subplots(1, 2, squeeze=False, gridspec_kw={"width_ratios": [1.1, 1]})[0]
    if ratios:
        _draw_ratios(panels[0], ratios)
    else:
        panels[0].set_visible(False)
    panels[1].set_axis_off()
    if others:
        _write_others(panels[1], others)


def _draw_ratios(axis: Axes, rows: Sequence[Row]) -> None:
    places, ordered, top = [], [], 0.0
    for what, group in _grouped(rows).items():
        axis.text(
            0.01,
            top,
            what,
            va="center",
            fontsize=9,
            weight="bold",
            transform=axis.get_yaxis_transform(),
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
        places += [top + 0.95 + i for i in range(len(group))]
        ordered += group
        top = places[-1] + 1.1
    bars.draw(axis, places, ordered, bars.ends(rows))
    axis.set_yticks(places, [row.rival for row in ordered], fontsize=9)
    axis.set_ylim(top - 0.4, -0.6)


def _write_others(axis: Axes, rows: Sequence[Row]) -> None:
    """Writes two lines a row: what, and what was measured."""
    for place, row in enumerate(rows):
        colour = bars.COLOURS.get(row.verdict, bars.COLOURS[""])
        axis.plot(0, place, "s", color=colour, markersize=7, clip_on=False)
        text = f"{attacks_rows.shown(row.measured)} {row.unit}"
        if row.bound:
            text += f" ({row.bound})"
        axis.text(0.04, place - 0.2, row.what, va="center", fontsize=8.5)
        axis.text(0.04, place + 0.2, text, va="center", fontsize=8.5, color=colour, weight="bold")
    axis.set_xlim(-0.02, 1)
    axis.set_ylim(len(rows) - 0.4, -0.6)
