"""How the figures of one report look alike."""

import textwrap
from collections.abc import Sequence
from itertools import pairwise

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    NullLocator,
    ScalarFormatter,
)

from qup import uncertainty_networks as networks
from qup.uncertainty_measured import FLOOR, Measured

# Colour-blind safe (Okabe and Ito 2008).
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9",
    "#8C6D31", "#000000",
)  # fmt: skip
GREY, PALE, FLAGGED = "#666666", "#F4F4F4", "#D55E00"
NAMES = {
    "sigma_x": r"$\sigma_x$",
    "sigma_p": r"$\sigma_p$",
    "uncertainty_product": r"$\sigma_x\,\sigma_p$",
    "uncertainty_bound": r"bound $\frac{1}{2}|1-B|$",
    "excess": r"excess over $\frac{1}{2}$",
}
ACCURACIES = {
    "test_accuracy": ("TA", "#009E73", "o"),
    "robust_accuracy": ("RA", "#CC79A7", "D"),
}
_EXCESS = (
    " The excess is that of ½ / |corr(x, s)|, which the identity Cov(x, s) = "
    "$-$½ frees of most noise."
)
# In inches: of a page, and of an entry of a legend.
_LEAST_WIDTH, _ENTRY = 6.4, 1.25


def style(axis: Axes, grid: str = "y") -> None:
    """Takes away what does not inform."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#999999")
    axis.tick_params(labelsize=9, color="#999999")
    axis.grid(axis=grid, color="#E8E8E8", linewidth=0.7)
    axis.set_axisbelow(True)
    for side in (axis.xaxis, axis.yaxis):
        # 0.50001, not 1 of 1e-5 + 0.5.
        if isinstance(side.get_major_formatter(), ScalarFormatter):
            side.get_major_formatter().set_useOffset(False)


def page(
    size: tuple[float, float],
    title: str,
    subject: str,
    *,
    handles: Sequence = (),
    note: str = "",
) -> tuple[Figure, SubFigure]:
    """Returns an empty figure with its words, and the room for its panels.

    Args:
      size: Of that room, in inches.
      title: What is shown.
      subject: Of what.
      handles: Of a legend below.
      note: What else has to be known, below.
    """
    width, height = max(size[0], _LEAST_WIDTH), size[1]
    above = textwrap.wrap(subject, int(14 * width))
    below = textwrap.wrap(note, int(15.5 * width))
    head = 0.42 + 0.18 * len(above)
    columns = max(1, min(len(handles), int(width / _ENTRY)))
    rows = -(-len(handles) // columns)
    foot = 0.08 + 0.24 * rows + 0.17 * len(below)
    figure = Figure((width, head + height + foot), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.07, w_pad=0.06)
    parts = figure.subfigures(3, 1, height_ratios=(head, height, foot))
    left = 0.12 / width
    parts[0].text(
        left, 1 - 0.09 / head, title, fontsize=12.5, weight="bold", va="top"
    )
    parts[0].text(
        left, 1 - 0.36 / head, "\n".join(above), fontsize=9.5, color=GREY,
        va="top", linespacing=1.3,
    )  # fmt: skip
    parts[2].text(
        left, 0.06 / foot, "\n".join(below), fontsize=8.5, color=GREY,
        va="bottom", linespacing=1.25,
    )  # fmt: skip
    if handles:
        parts[2].legend(
            handles=handles, loc="upper center", ncols=columns,
            frameon=False, fontsize=9, borderaxespad=0,
        )  # fmt: skip
    return figure, parts[1]


def subject(found: Sequence[Measured], *, epochs: bool = False) -> str:
    """Returns what the records share, in words.

    Args:
      found: At least one.
      epochs: Whether the first one's epochs are told.
    """
    first = found[0]
    words = [f"{first['model']} on {first['dataset']}".removesuffix(" on ")]
    words += [f"{first['packet']} packet", networks.domain(found)]
    words += [networks.labels(found)]
    words += [networks.network(first)] if epochs else []
    return " · ".join(part for part in words if part)


def means(found: Sequence[Measured]) -> str:
    """Says what a point and its bar are."""
    bars = "one standard error"
    if not all(of.means for of in found):
        bars = f"an upper limit of {bars}, as they share their samples"
    words = f"Points are means over {found[0].unit}, bars {bars}."
    return words + (_EXCESS if "excess" in measures(found) else "")


def measures(found: Sequence[Measured]) -> tuple[str, ...]:
    """Returns what is drawn of a relation, from above to below."""
    excess = ("excess",) if found[0].sharp else ()
    return ("uncertainty_product", *excess, "sigma_x", "sigma_p")


def shade(share: float) -> tuple[float, ...]:
    """Returns a colour between dark blue and yellow, for 0 to 1."""
    return colormaps["viridis"](0.92 * share)


def reference(
    axis: Axes, found: Sequence[Measured], measure: str, across: bool = False
) -> None:
    """Draws the bound where it is 1/2; makes the excess logarithmic.

    Args:
      axis: The panel.
      found: What it shows.
      measure: Of what.
      across: Whether values go from left to right.
    """
    if measure == "uncertainty_product" and found[0]["vanishes"]:
        draw = axis.axvline if across else axis.axhline
        draw(0.5, color=GREY, linewidth=0.9, linestyle="--", zorder=1)
    if measure != "excess":
        return
    if across:
        axis.set_xscale("symlog", linthresh=FLOOR)
        axis.set_xlim(left=-0.3 * FLOOR)
        axis.set_xticks([0, 1e-5, 1e-3])
    else:
        axis.set_yscale("symlog", linthresh=FLOOR)
        axis.set_ylim(bottom=-0.3 * FLOOR)


def beside(x: float, places: Sequence[float], shift: float) -> float:
    """Moves a point aside by a share of the room between two places."""
    pairs = list(pairwise(sorted(places)))
    if not _wide(places):
        room = min((b - a for a, b in pairs), default=1.0)
        return x + 0.24 * shift * room
    return x * min(b / a for a, b in pairs) ** (0.24 * shift)


def ticks(axis: Axes, places: Sequence[float]) -> None:
    """Puts a tick at every place, on a logarithmic axis where they spread."""
    if _wide(places):
        axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(sorted(places)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def _wide(places: Sequence[float]) -> bool:
    return min(places) > 0 and max(places) >= 4 * min(places)
