"""The benchmark as a figure: a bar a ratio, a mark where it should end."""

import pathlib
import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.attacks import rows as texts
from benchmarks.attacks.rows import Row
from qup import files

# Colour-blind safe (Okabe and Ito 2008).
_COLOURS = {"reached": "#0072B2", "missed": "#D55E00", "": "#999999"}
_ROW, _GAP = 0.24, 0.6


def draw(
    rows: Sequence[Row], path: pathlib.Path, circumstances: Mapping[str, str]
) -> None:
    """Draws the rows into a file, PGD on the left.

    Args:
      rows: At least one; those that are no ratios are written out.
      path: The file, .png or .svg.
      circumstances: Written below.
    """
    halves = [
        [row for row in rows if row.part == "pgd"],
        [row for row in rows if row.part != "pgd"],
    ]
    halves = [half for half in halves if half]
    heights = [_height(half) for half in halves]
    figure = Figure(
        figsize=(6.2 * len(halves), 1.8 + _ROW * max(heights)),
        layout="constrained",
    )
    panels = figure.subplots(1, len(halves), squeeze=False)[0]
    for axis, half in zip(panels, halves, strict=True):
        _panel(axis, half, max(heights))
    handles = [
        Patch(color=_COLOURS["reached"], label="target reached"),
        Patch(color=_COLOURS["missed"], label="target missed"),
        Patch(color=_COLOURS[""], label="no target"),
        Line2D([], [], color="black", linewidth=2.5, label="target, at least"),
    ]
    if all(row.verdict for row in rows):
        del handles[2]
    figure.suptitle("qup's attacks beside those of other libraries")
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    below = "\n".join(
        line
        for text in circumstances.values()
        for line in textwrap.wrap(text, 78 * len(halves))
    )
    figure.supxlabel(below, fontsize=8, color="#555555")
    with files.replacing(path) as partial:
        figure.savefig(partial, dpi=130)


def _height(rows: Sequence[Row]) -> float:
    groups = len({_heading(row) for row in rows})
    return len(rows) + groups * (1 + _GAP)


def _heading(row: Row) -> str:
    return row.what if row.unit == texts.TIMES else "Other targets"


def _panel(axis: Axes, rows: Sequence[Row], height: float) -> None:
    """Draws the bars, a heading above those of the same attack."""
    place, heading = -_GAP, None
    ticks, ratios = [], [row for row in rows if row.unit == texts.TIMES]
    for row in sorted(rows, key=lambda row: row.unit != texts.TIMES):
        if _heading(row) != heading:
            heading = _heading(row)
            place += _GAP
            _write(axis, place, heading, weight="bold", fontsize=9)
            place += 1
        if row in ratios:
            ticks.append((place, row.rival))
            _bar(axis, place, row)
        else:
            text = f"{row.what}: {texts.shown(row.measured)} {row.unit}"
            text += f" ({row.bound}, {row.verdict})"
            colour = _COLOURS[row.verdict]
            _write(axis, place, text, fontsize=7.5, color=colour)
        place += 1
    axis.set_yticks([place for place, _ in ticks])
    axis.set_yticklabels([rival for _, rival in ticks], fontsize=9)
    axis.set_ylim(height - 0.4, -0.8)
    axis.set_xscale("log")
    ends = [row.measured or 1 for row in ratios]
    ends += [row.target or 1 for row in ratios]
    axis.set_xlim(min([0.7, *(0.8 * end for end in ends)]), 2.4 * max(ends))
    axis.axvline(1, color="black", linewidth=0.8, zorder=0.9)
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("times as fast as the other (1: as fast)")
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.grid(axis="x", color="#e0e0e0", linewidth=0.6)
    axis.set_axisbelow(True)


def _write(axis: Axes, place: float, text: str, **style) -> None:
    """Writes a line over the left end of the axis, on white."""
    background = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axis.text(
        -0.1, place, text, va="center", transform=axis.get_yaxis_transform(),
        bbox=background, **style,
    )  # fmt: skip


def _bar(axis: Axes, place: float, row: Row) -> None:
    if row.measured is None:
        axis.text(1.03, place, "does not run", va="center", fontsize=8)
        return
    axis.barh(
        place, row.measured - 1, left=1, height=0.7,
        color=_COLOURS[row.verdict],
    )  # fmt: skip
    if row.target is not None:
        axis.plot(
            [row.target] * 2, [place - 0.48, place + 0.48],
            color="white", linewidth=4.5, solid_capstyle="butt",
        )  # fmt: skip
        axis.plot(
            [row.target] * 2, [place - 0.48, place + 0.48],
            color="black", linewidth=2.5, solid_capstyle="butt",
        )  # fmt: skip
    missed = ", missed" if row.verdict == "missed" else ""
    axis.text(
        1.06 * max(1, row.measured, row.target or 1), place,
        f"{texts.shown(row.measured)}{missed}", va="center", fontsize=8,
    )  # fmt: skip
