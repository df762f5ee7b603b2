"""A colour an architecture, a marker a training: networks among each other."""

import dataclasses
from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from qup.evidence_figures import colours

# Value, lower and upper end of its interval; NaN where there is none.
Point = tuple[float, float, float]
# Training: its marker and its name.
_MARKERS = {
    "standard": ("o", "standard training"),
    "pgd_at": ("s", "PGD-AT"),
    "trades": ("^", "TRADES"),
}


@dataclasses.dataclass(frozen=True)
class Look:
    """How a network is drawn.

    Attributes:
      title: Of its family, for the legend, such as "ConvNet".
      model: Its architecture, for the colour.
      training: "standard", "pgd_at" or "trades", for the marker.
    """

    title: str
    model: str
    training: str = "standard"

    @property
    def colour(self) -> str:
        """The architecture's colour."""
        return colours.of_network(self.model)

    @property
    def marker(self) -> str:
        """The training's marker."""
        return _MARKERS[self.training][0]


def dot(axis: Axes, look: Look, x: Point, y: Point) -> None:
    """Draws a network with its intervals in both directions."""
    axis.errorbar(
        [x[0]], [y[0]], xerr=_bars(x), yerr=_bars(y), color=look.colour,
        marker=look.marker, markersize=6, capsize=2, elinewidth=1.1,
        markeredgecolor="white", markeredgewidth=0.6, linestyle="",
        zorder=3,
    )  # fmt: skip


def _bars(point: Point) -> np.ndarray:
    """Returns what lies below and above the value: float [2, 1]."""
    value, low, high = point
    bars = np.array([[value - low], [high - value]])
    return np.maximum(np.nan_to_num(bars), 0)


def handles(looks: Iterable[Look]) -> list[Line2D]:
    """Returns a legend: of colours where several, and of markers."""
    looks = list(looks)
    families = dict.fromkeys((look.title, look.colour) for look in looks)
    seen = {look.training for look in looks}
    return [
        Line2D([], [], color=colour, linewidth=3, label=title)
        for title, colour in families
    ] + [
        Line2D([], [], ls="", color=colours.GREY, marker=marker, label=name)
        for kind, (marker, name) in _MARKERS.items()
        if kind in seen
    ]
