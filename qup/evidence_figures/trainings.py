"""A colour an architecture, a marker a training: networks among each other."""

import dataclasses
from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from qup.evidence_figures import colours

# Value, lower and upper end of its interval; NaN where there is none.
IntervalPoint = tuple[float, float, float]
# Training: its marker and its name.
_TRAINING_MARKERS = {
    "standard": ("o", "standard training"),
    "pgd_at": ("s", "PGD-AT"),
    "trades": ("^", "TRADES"),
}


@dataclasses.dataclass(frozen=True)
class NetworkStyle:
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
        return colours.get_network_colour(self.model)

    @property
    def marker(self) -> str:
        """The training's marker."""
        return _TRAINING_MARKERS[self.training][0]


def plot_interval_point(
    axis: Axes, style: NetworkStyle, x: IntervalPoint, y: IntervalPoint
) -> None:
    """Draws a network with its intervals in both directions."""
    axis.errorbar(
        [x[0]],
        [y[0]],
        xerr=_compute_error_bars(x),
        yerr=_compute_error_bars(y),
        color=style.colour,
        marker=style.marker,
        markersize=6,
        capsize=2,
        elinewidth=1.1,
        markeredgecolor="white",
        markeredgewidth=0.6,
        linestyle="",
        zorder=3,
    )


def _compute_error_bars(point: IntervalPoint) -> np.ndarray:
    """Returns what lies below and above the value: float [2, 1]."""
    value, low, high = point
    bars = np.array([[value - low], [high - value]])
    return np.maximum(np.nan_to_num(bars), 0)


def build_style_legend(styles: Iterable[NetworkStyle]) -> list[Line2D]:
    """Returns a legend: of colours where several, and of markers."""
    styles = list(styles)
    families = dict.fromkeys((style.title, style.colour) for style in styles)
    trainings = {style.training for style in styles}
    return [
        Line2D([], [], color=colour, linewidth=3, label=title) for title, colour in families
    ] + [
        Line2D([], [], ls="", color=colours.GREY, marker=marker, label=name)
        for training, (marker, name) in _TRAINING_MARKERS.items()
        if training in trainings
    ]
