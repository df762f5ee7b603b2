"""Bars of ratios, with the marks where they should end."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.attacks import rows as attacks_rows
from benchmarks.attacks.rows import Row

# By verdict; colour-blind safe (Okabe and Ito 2008).
COLOURS = {"reached": "#0072B2", "missed": "#D55E00", "": "#8C8C8C"}
GREY = "#666666"


def ends(rows: Sequence[Row]) -> tuple[float, float]:
    """Returns the ends of an axis that holds the rows and their numbers."""
    values = [row.measured for row in rows if row.measured]
    values += [row.target for row in rows if row.target]
    low, high = min([0.9, *values]), max([2.0, *values])
    return low**1.15, high * (high / low) ** 0.4


def draw(
    axis: Axes, places: Sequence[float], rows: Sequence[Row], ends: tuple[float, float]
) -> None:
    """Draws a bar a ratio, from 1 on, with its number and its target.

    Args:
      axis: To draw on; becomes logarithmic.
      places: From the top, one a row.
      rows: Ratios.
      ends: Of the axis.
    """
    axis.set_xscale("log")
    axis.set_xlim(*ends)
    axis.axvline(1, color="black", linewidth=0.8, zorder=0.9)
    for place, row in zip(places, rows, strict=True):
        _bar(axis, place, row)
    _style(axis)


def _bar(axis: Axes, place: float, row: Row) -> None:
    offset = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
    if row.measured is None:
        axis.annotate("does not run", (1, place), fontsize=8.5, color=GREY, **offset)
        return
    colour = COLOURS[row.verdict]
    axis.barh(place, row.measured - 1, left=1, height=0.68, color=colour)
    if row.target is not None:
        for line, shade in ((4.5, "white"), (2, "black")):
            axis.plot(
                [row.target] * 2,
                [place - 0.44, place + 0.44],
                color=shade,
                linewidth=line,
                solid_capstyle="butt",
            )
    text = axis.annotate(
        attacks_rows.shown(row.measured),
        (max(1, row.measured, row.target or 1), place),
        fontsize=9,
        weight="bold",
        color=colour,
        **offset,
    )
    if row.target is not None:
        axis.annotate(
            f"≥ {row.target:g}", (1, 0.5), xycoords=text, fontsize=8, color=GREY, **offset
        )


def _style(axis: Axes) -> None:
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
