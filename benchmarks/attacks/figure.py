"""The benchmark as a figure: one bar per ratio, with a mark at its target."""

import pathlib
import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.attacks import rows as attacks_rows
from benchmarks.attacks.rows import Row
from qup.core import files

# By verdict; colour-blind safe (Okabe and Ito 2008).
_COLOURS = {"reached": "#0072B2", "missed": "#D55E00", "": "#8C8C8C"}
_GREY = "#666666"
# In inches.
_WIDTH, _ROW, _HEAD, _FOOT = 9.6, 0.27, 0.75, 0.45
_COLUMNS = 2


def draw_figure(rows: Sequence[Row], path: pathlib.Path, environment: Mapping[str, str]) -> None:
    """Draws the rows into a file.

    Args:
      rows: At least one row. PGD has one panel per network and batch, other ratios share a panel,
        and values that are not ratios are text next to it.
      path: The file, .png or .svg.
      environment: Text below the panels.
    """
    pgd = [row for row in rows if row.part == "pgd"]
    ratios = [r for r in rows if r.unit == attacks_rows.TIMES and r not in pgd]
    others = [r for r in rows if r.unit != attacks_rows.TIMES]
    panels_by_title = _group_by_title(pgd)
    lines = -(-len(panels_by_title) // _COLUMNS)
    below = 2.0 + len(_group_by_title(ratios)) + len(ratios)
    heights = [
        lines * (2.4 + max(map(len, panels_by_title.values()), default=0)) * _ROW,
        max(below if ratios else 0, 1.5 + 2.1 * len(others)) * _ROW if ratios or others else 0,
    ]
    heights = [_HEAD, *(max(height, 1e-3) for height in heights), _FOOT]
    figure = Figure(figsize=(_WIDTH, sum(heights)), layout="constrained")
    head, upper, lower, foot = figure.subfigures(4, 1, height_ratios=heights)
    if panels_by_title:
        _draw_pgd_panels(upper, panels_by_title)
    if ratios or others:
        _draw_other_rows(lower, ratios, others)
    _add_title_and_footer(head, foot, rows, environment)
    with files.atomic_write(path) as partial:
        figure.savefig(partial, dpi=150)


def _add_title_and_footer(
    head: SubFigure, foot: SubFigure, rows: Sequence[Row], environment: Mapping[str, str]
) -> None:
    """Adds a title, the legend and the environment."""
    titles = {"reached": "target reached", "missed": "missed", "": "no target"}
    verdicts = {row.verdict for row in rows}
    handles = [
        Patch(color=_COLOURS[verdict], label=title)
        for verdict, title in titles.items()
        if verdict in verdicts
    ]
    handles.append(Line2D([], [], color="black", linewidth=2, label="target"))
    head.text(
        0.5,
        0.95,
        "How many times as fast the attacks of qup are as others",
        ha="center",
        va="top",
        fontsize=13,
    )
    head.legend(handles=handles, loc="lower center", ncols=4, frameon=False, borderaxespad=0)
    text = "\n".join(line for text in environment.values() for line in textwrap.wrap(text, 130))
    foot.text(0.5, 0.2, text, ha="center", va="bottom", fontsize=8, color=_GREY)


def _group_by_title(rows: Sequence[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.title, []).append(row)
    return groups


def _draw_pgd_panels(figure: SubFigure, panels_by_title: dict[str, list[Row]]) -> None:
    """Draws one panel per title, with a shared axis."""
    columns = min(_COLUMNS, len(panels_by_title))
    lines = -(-len(panels_by_title) // columns)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    all_rows = [row for rows in panels_by_title.values() for row in rows]
    for axis in panels.flat[len(panels_by_title) :]:
        axis.set_visible(False)
    for axis, (title, rows) in zip(panels.flat, panels_by_title.items(), strict=False):
        axis.set_title(title, loc="left", fontsize=9.5, weight="bold")
        positions = range(len(rows))
        _draw_bars(axis, positions, rows, _compute_limits(all_rows))
        axis.set_yticks(positions, [row.competitor for row in rows], fontsize=9)
        axis.set_ylim(len(rows) - 0.4, -0.6)


def _draw_other_rows(figure: SubFigure, ratios: Sequence[Row], others: Sequence[Row]) -> None:
    """Draws the other ratios on the left and the other values as text on the right."""
    panels = figure.subplots(1, 2, squeeze=False, gridspec_kw={"width_ratios": [1.1, 1]})[0]
    if ratios:
        _draw_ratios(panels[0], ratios)
    else:
        panels[0].set_visible(False)
    panels[1].set_axis_off()
    if others:
        _write_other_rows(panels[1], others)


def _draw_ratios(axis: Axes, rows: Sequence[Row]) -> None:
    positions, ordered, top = [], [], 0.0
    for title, group in _group_by_title(rows).items():
        axis.text(
            0.01,
            top,
            title,
            va="center",
            fontsize=9,
            weight="bold",
            transform=axis.get_yaxis_transform(),
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
        positions += [top + 0.95 + i for i in range(len(group))]
        ordered += group
        top = positions[-1] + 1.1
    _draw_bars(axis, positions, ordered, _compute_limits(rows))
    axis.set_yticks(positions, [row.competitor for row in ordered], fontsize=9)
    axis.set_ylim(top - 0.4, -0.6)


def _write_other_rows(axis: Axes, rows: Sequence[Row]) -> None:
    """Writes two lines per row: its title and its value."""
    for position, row in enumerate(rows):
        colour = _COLOURS.get(row.verdict, _COLOURS[""])
        axis.plot(0, position, "s", color=colour, markersize=7, clip_on=False)
        text = f"{attacks_rows.format_number(row.value)} {row.unit}"
        if row.target_text:
            text += f" ({row.target_text})"
        axis.text(0.04, position - 0.2, row.title, va="center", fontsize=8.5)
        axis.text(
            0.04, position + 0.2, text, va="center", fontsize=8.5, color=colour, weight="bold"
        )
    axis.set_xlim(-0.02, 1)
    axis.set_ylim(len(rows) - 0.4, -0.6)


def _compute_limits(rows: Sequence[Row]) -> tuple[float, float]:
    """Returns the limits of an axis with space for the bars and their numbers."""
    values = [row.value for row in rows if row.value]
    values += [row.target for row in rows if row.target]
    low, high = min([0.9, *values]), max([2.0, *values])
    return low**1.15, high * (high / low) ** 0.4


def _draw_bars(
    axis: Axes, positions: Sequence[float], rows: Sequence[Row], limits: tuple[float, float]
) -> None:
    """Draws one bar per ratio, from 1, with its number and its target, on a logarithmic axis.

    Args:
      axis: The axes to draw on.
      positions: Vertical positions, one per row.
      rows: Rows whose values are ratios.
      limits: The limits of the axis.
    """
    axis.set_xscale("log")
    axis.set_xlim(*limits)
    axis.axvline(1, color="black", linewidth=0.8, zorder=0.9)
    for position, row in zip(positions, rows, strict=True):
        _draw_bar(axis, position, row)
    _style_axis(axis)


def _draw_bar(axis: Axes, position: float, row: Row) -> None:
    offset = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
    if row.value is None:
        axis.annotate("does not run", (1, position), fontsize=8.5, color=_GREY, **offset)
        return
    colour = _COLOURS[row.verdict]
    axis.barh(position, row.value - 1, left=1, height=0.68, color=colour)
    if row.target is not None:
        for line, shade in ((4.5, "white"), (2, "black")):
            axis.plot(
                [row.target] * 2,
                [position - 0.44, position + 0.44],
                color=shade,
                linewidth=line,
                solid_capstyle="butt",
            )
    text = axis.annotate(
        attacks_rows.format_number(row.value),
        (max(1, row.value, row.target or 1), position),
        fontsize=9,
        weight="bold",
        color=colour,
        **offset,
    )
    if row.target is not None:
        axis.annotate(
            f"≥ {row.target:g}", (1, 0.5), xycoords=text, fontsize=8, color=_GREY, **offset
        )


def _style_axis(axis: Axes) -> None:
    low, high = axis.get_xlim()
    steps = (1, 2, 5) if high / low > 20 else (1, 1.5, 2, 3, 5, 7)
    ticks = [m * 10**e for e in (-2, -1, 0, 1, 2, 3) for m in steps]
    axis.xaxis.set_major_locator(FixedLocator(ticks))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.tick_params(axis="x", labelsize=8.5, labelbottom=True)
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.grid(axis="x", color="#e4e4e4", linewidth=0.7)
    axis.set_axisbelow(True)
