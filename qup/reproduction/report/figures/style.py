"""A colour an architecture, a marker a training: networks among each other."""

import dataclasses
import json
import pathlib
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qup.core import errors, plotting

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
        return plotting.get_network_colour(self.model)

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
        Line2D([], [], ls="", color=plotting.GREY, marker=marker, label=name)
        for training, (marker, name) in _TRAINING_MARKERS.items()
        if training in trainings
    ]


# How the figures of frequency look alike, and what they read.


# Colour-blind safe (Okabe and Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINE_STYLES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
FREQUENCY_GREY = "#666666"
# The same colour for the same network in every figure.
NETWORK_INDICES = {"convnet": 0, "resnet": 1, "resnet20": 1, "googlenet": 2, "ygcnn": 3}

FrequencyArrays = Mapping[str, Any]


def load_frequency_arrays(path: pathlib.Path) -> dict[str, Any]:
    """Reads a component's arrays, "told" as what its JSON says.

    Raises:
      InputError: The file is missing, damaged, or another's.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        return {**arrays, "told": json.loads(str(arrays["told"]))}
    except Exception as error:
        raise errors.InputError(f"{path} cannot be drawn: {error}. Make it anew.") from error


def assign_style_indices(names: Sequence[str]) -> dict[str, int]:
    """Gives each network a place among colours, markers and lines."""
    indices = {name: NETWORK_INDICES[name] for name in names if name in NETWORK_INDICES}
    free_indices = [i for i in range(len(COLOURS)) if i not in indices.values()]
    for position, name in enumerate(dict.fromkeys(names)):
        if name not in indices:
            indices[name] = free_indices[position % len(free_indices)] if free_indices else 6
    return indices


def format_subject(metadata: Mapping[str, Any]) -> str:
    """Returns what arrays are of, in words."""
    phrases = [f"{metadata['model']} on {metadata['dataset']}"]
    if "epochs" in metadata:
        phrases.append(format_epochs(metadata["epochs"]))
    if metadata.get("classifier", "CL") != "CL":
        phrases.append(metadata["classifier"])
    split = metadata.get("parameters", {}).get("split", "")
    split_name = {"train": "training ", "": ""}.get(split, f"{split} ")
    phrases.append(f"{metadata['images']:,} {split_name}images")
    return " · ".join(phrases)


def format_field(arrays: FrequencyArrays, key: str) -> str:
    """Returns a field's name in a figure."""
    field_metadata = arrays["told"]["fields"][key]
    step = field_metadata.get("step", "")
    clip = ", in the box" if field_metadata.get("pixel_clip") else ""
    return {
        "data": "clean images",
        "random_signs": "random signs",
        "gradient": "gradient",
        "delta": r"$\Delta_1$, unclipped",
        "walk": rf"$\Delta_{{{step}}}${clip}",
        "translated": "$G(X_0)$",
        "error": rf"$G(X_0) - \Delta_{{{step}}}$",
    }[field_metadata["field"]]


def format_epochs(count: int) -> str:
    """Returns "1 epoch" or "5 epochs"."""
    return f"{count} epoch{'' if count == 1 else 's'}"


def create_figure(size: tuple[float, float], title: str, subject: str, note: str = "") -> Figure:
    """Returns an empty figure with a title, its subject, and a note below.

    Args:
      size: Of the room between, in inches; a width of 7 is 700 pixels.
      title: What is shown.
      subject: Of what.
      note: What else has to be known.
    """
    width = size[0]
    subject_lines = textwrap.wrap(subject, int(13 * width))
    note_lines = textwrap.wrap(note, int(14.5 * width))
    head_height, foot_height = 0.36 + 0.17 * len(subject_lines), 0.1 + 0.17 * len(note_lines)
    height = size[1] + head_height + foot_height
    figure = Figure((width, height), layout="constrained")
    figure.get_layout_engine().set(rect=(0, foot_height / height, 1, size[1] / height))
    left = 0.12 / width
    figure.text(left, 1 - 0.08 / height, title, fontsize=12, weight="bold", va="top")
    figure.text(
        left,
        1 - 0.33 / height,
        "\n".join(subject_lines),
        fontsize=9,
        color=FREQUENCY_GREY,
        va="top",
        linespacing=1.25,
    )
    figure.text(
        left,
        0.05 / height,
        "\n".join(note_lines),
        fontsize=8.5,
        color=FREQUENCY_GREY,
        va="bottom",
        linespacing=1.25,
    )
    return figure


def tidy_axis(axis: Axes) -> None:
    """Takes away what does not inform."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="#E8E8E8", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=9)


def plot_mean_curve(
    axis: Axes, x: np.ndarray, arrays: FrequencyArrays, name: str, **line_options: Any
) -> None:
    """Draws a mean over images with a band of two standard errors."""
    mean, error = arrays[name], arrays[f"{name}_stderr"]
    axis.plot(x, mean, lw=1.5, **line_options)
    low = np.maximum(mean - 2 * error, mean * 1e-2)
    axis.fill_between(x, low, mean + 2 * error, color=line_options["color"], alpha=0.2, lw=0)


def get_shade(share: float) -> tuple[float, ...]:
    """Returns a colour between dark blue and yellow, for 0 to 1."""
    return colormaps["viridis"](0.88 * share)


def compute_extent(shape: tuple[int, int]) -> tuple[float, float, float, float]:
    """Returns where imshow puts a plane of frequencies, in cycles."""
    low = [-(size // 2) - 0.5 for size in shape]
    return (low[1], low[1] + shape[1], low[0] + shape[0], low[0])


def label_planes(axes: np.ndarray) -> None:
    """Names the axes of planes of frequencies, [lines, columns]."""
    for axis in axes[:, 0]:
        axis.set_ylabel("cycles per image", fontsize=8.5)
    for axis in axes[-1]:
        axis.set_xlabel("cycles per image", fontsize=8.5)
