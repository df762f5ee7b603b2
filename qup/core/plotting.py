"""One palette, one style and one way to draw intervals, for every figure.

The colours are safe for the colour-blind: Okabe and Ito 2008, "Color Universal Design".
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from qup.core import extras

with extras.explain_missing("qup.core.plotting"):
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.container import ErrorbarContainer
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#666666"
GRID_GREY = "#E8E8E8"
# For series without a fixed colour, each with its own marker.
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINE_STYLES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
_NETWORK_COLOURS = {"convnet": BLUE, "resnet": VERMILION, "ygcnn": GREEN, "googlenet": PURPLE}

# A value and the ends of its interval; NaN where there is none.
IntervalPoint = tuple[float, float, float]


def get_network_colour(model: str) -> str:
    """Returns the colour of an architecture, the same in every figure."""
    return _NETWORK_COLOURS.get(model, BLACK)


def compute_error_bars(points: Sequence[IntervalPoint]) -> np.ndarray:
    """Returns the lengths of bars below and above the values: float64 [2, n], 0 without interval.

    An interval that does not contain its value, by rounding, has no negative length.
    """
    values, low, high = np.array(points, float).reshape(-1, 3).T
    return np.maximum(np.nan_to_num([values - low, high - values]), 0)


def plot_intervals(
    axis: Axes,
    points: Mapping[Any, IntervalPoint],
    positions: Sequence[float] | None = None,
    **options: Any,
) -> ErrorbarContainer:
    """Draws values with their intervals over their keys, in the order of the keys.

    Args:
      axis: The panel.
      points: x to the value and its interval.
      positions: Where to draw the sorted keys instead.
      **options: Of `Axes.errorbar`.
    """
    keys = sorted(points)
    sorted_points = [points[key] for key in keys]
    return axis.errorbar(
        keys if positions is None else positions,
        [point[0] for point in sorted_points],
        compute_error_bars(sorted_points),
        **{"capsize": 2.5, "markersize": 4.5, "linewidth": 1.2, **options},
    )


def plot_accuracy_over_distance(
    distances: np.ndarray, num_correct: int, count: int, norm: str
) -> Figure:
    """Returns the share of images that withstand an attack, in percent, over the distance.

    Args:
      distances: float64 [m], of the images that are broken.
      num_correct: Number of images that are classified correctly without an attack.
      count: Number of all images.
      norm: Name of the distance.
    """
    steps = np.concatenate([[0.0], np.sort(distances)])
    withstood = 100 * (num_correct - np.arange(len(steps))) / max(count, 1)
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axis = figure.add_subplot()
    axis.step(steps, withstood, where="post", color=BLUE)
    axis.set(
        xlabel=f"{norm} distance of the adversarial image",
        ylabel=f"accuracy in percent of {count:,} images",
        ylim=(-3, 103),
        xlim=(0, None),
    )
    tidy_axis(axis)
    return figure


def tidy_axis(axis: Axes, grid: str = "both") -> None:
    """Draws a pale grid behind the data, and no frame above and to the right."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis=grid, color=GRID_GREY, linewidth=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=9)


def limit_percent_axis(axis: Axes) -> None:
    """Cuts y at 0 and 100 percent, because intervals of few seeds may reach beyond."""
    low, high = axis.get_ylim()
    axis.set_ylim(max(low, -3), min(high, 103))


def add_legend_below(
    figure: Figure, axes: Iterable[Axes] = (), handles: Sequence[Artist] = (), **options: Any
) -> None:
    """Puts a legend below the panels, where it covers no point; each label once.

    Args:
      figure: The figure.
      axes: Panels whose labelled artists are listed.
      handles: Artists to list instead.
      **options: Of `Figure.legend`.
    """
    handles_by_label = {handle.get_label(): handle for handle in handles}
    for axis in axes:
        panel_handles, labels = axis.get_legend_handles_labels()
        handles_by_label |= dict(zip(labels, panel_handles, strict=True))
    figure.legend(
        handles_by_label.values(),
        handles_by_label,
        **{
            "loc": "outside lower center",
            "ncols": 3,
            "fontsize": 8.5,
            "frameon": False,
            "title_fontsize": 8.5,
            **options,
        },
    )


def show_image(axis: Axes, image: np.ndarray, **options: Any) -> AxesImage:
    """Draws an image without ticks: float [height, width, channels], cut to [0, 1]."""
    pixels = np.clip(image[..., 0] if image.shape[-1] == 1 else image, 0, 1)
    axis.set(xticks=[], yticks=[])
    return axis.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest", **options)


def show_signed_field(axis: Axes, field: np.ndarray, scale: float | None = None) -> AxesImage:
    """Draws a signed field: red above 0, white at 0, blue below.

    Args:
      axis: The panel.
      field: float [height, width, channels]; the mean over channels is drawn.
      scale: The magnitude of the deepest colours; None for the largest one of the field.
    """
    channel_mean = field.mean(-1)
    scale = scale or max(float(np.abs(channel_mean).max()), 1e-12)
    axis.set(xticks=[], yticks=[])
    return axis.imshow(channel_mean, cmap="RdBu_r", vmin=-scale, vmax=scale)


def render_figure(figure: Figure, file_format: str, dpi: int = 130) -> bytes:
    """Returns the figure as an "svg", "png" or "pdf" file without the time of writing."""
    buffer = io.BytesIO()
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    figure.savefig(buffer, format=file_format, dpi=dpi, metadata=metadata.get(file_format))
    # The positions are computed once: other formats need not lay out again.
    figure.set_layout_engine(None)
    return buffer.getvalue()
