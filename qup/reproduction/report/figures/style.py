"""The style of the report's figures: networks by colour and marker, titles with a subject."""

import dataclasses
import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qup.core import errors, plotting
from qup.core.plotting import IntervalPoint

# Training: its marker and its name.
_TRAINING_MARKERS = {
    "standard": ("o", "standard training"),
    "pgd_at": ("s", "PGD-AT"),
    "trades": ("^", "TRADES"),
}
_NETWORK_MARKERS = {"convnet": "o", "resnet": "s", "ygcnn": "^", "googlenet": "D"}

FrequencyArrays = Mapping[str, Any]


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
        """The colour of the architecture."""
        return plotting.get_network_colour(self.model)


def plot_network(axis: Axes, style: NetworkStyle, x: IntervalPoint, y: IntervalPoint) -> None:
    """Draws a network with its intervals in both directions."""
    axis.errorbar(
        [x[0]],
        [y[0]],
        xerr=plotting.compute_error_bars([x]),
        yerr=plotting.compute_error_bars([y]),
        color=style.colour,
        marker=_TRAINING_MARKERS[style.training][0],
        markersize=6,
        capsize=2,
        elinewidth=1.1,
        markeredgecolor="white",
        markeredgewidth=0.6,
        linestyle="",
        zorder=3,
    )


def build_network_legend(styles: Iterable[NetworkStyle]) -> list[Line2D]:
    """Returns a handle per architecture, and one per training."""
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


def assign_markers(models: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Returns a colour and a marker per architecture, its own where it has one."""
    free_styles = iter(list(zip(plotting.PALETTE, plotting.MARKERS, strict=True))[4:] * len(models))
    return {
        model: (plotting.get_network_colour(model), _NETWORK_MARKERS[model])
        if model in _NETWORK_MARKERS
        else next(free_styles)
        for model in dict.fromkeys(models)
    }


def decode_metadata(arrays: Mapping[str, np.ndarray], network: str = "") -> dict[str, Any]:
    """Returns arrays of a component with its description, decoded from JSON, in "metadata".

    Args:
      arrays: The arrays.
      network: Replaces the keys of network and data set in titles, such as "ConvNet on MNIST".

    Raises:
      InputError: The arrays have no description.
    """
    try:
        metadata = json.loads(str(arrays["told"]))
        return {**arrays, "metadata": {**metadata, "network": network}}
    except (KeyError, ValueError) as error:
        raise errors.InputError(
            f"The arrays cannot be drawn: expected a description in JSON, received {error}. "
            "Run the component again."
        ) from error


def format_subject(metadata: Mapping[str, Any]) -> str:
    """Returns "ConvNet on MNIST · 1 epoch · 100 test images"."""
    phrases = [metadata.get("network") or f"{metadata['model']} on {metadata['dataset']}"]
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
    field_metadata = arrays["metadata"]["fields"][key]
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
      size: Of the area between title and note, in inches; a width of 7 is 700 pixels.
      title: What is shown.
      subject: Of which network and images.
      note: Further explanations.
    """
    width = size[0]
    subject_lines = textwrap.wrap(subject, int(13 * width))
    note_lines = textwrap.wrap(note, int(14.5 * width))
    head_height, foot_height = 0.36 + 0.17 * len(subject_lines), 0.1 + 0.17 * len(note_lines)
    height = size[1] + head_height + foot_height
    figure = Figure((width, height), layout="constrained")
    figure.get_layout_engine().set(rect=(0, foot_height / height, 1, size[1] / height))
    left = 0.12 / width
    options = {"color": plotting.GREY, "linespacing": 1.25}
    figure.text(left, 1 - 0.08 / height, title, fontsize=12, weight="bold", va="top")
    figure.text(left, 1 - 0.33 / height, "\n".join(subject_lines), fontsize=9, va="top", **options)
    figure.text(left, 0.05 / height, "\n".join(note_lines), fontsize=8.5, va="bottom", **options)
    return figure


def plot_mean_curve(
    axis: Axes, x: np.ndarray, arrays: FrequencyArrays, name: str, **line_options: Any
) -> None:
    """Draws a mean over images with a band of two standard errors."""
    mean, error = arrays[name], arrays[f"{name}_stderr"]
    axis.plot(x, mean, lw=1.5, **line_options)
    low = np.maximum(mean - 2 * error, mean * 1e-2)
    axis.fill_between(x, low, mean + 2 * error, color=line_options["color"], alpha=0.2, lw=0)


def get_series_style(index: int) -> dict[str, Any]:
    """Returns colour and line of a series by its number."""
    return {
        "color": plotting.PALETTE[index % len(plotting.PALETTE)],
        "ls": plotting.LINE_STYLES[index % len(plotting.LINE_STYLES)],
    }


def show_frequency_planes(
    figure: Figure,
    planes: Mapping[str, np.ndarray],
    max_columns: int,
    *,
    label: str,
    vmin: float,
    vmax: float,
) -> None:
    """Draws planes of frequencies as panels of one scale, zero frequency in the middle.

    Args:
      figure: An empty figure.
      planes: Title to float [height, width].
      max_columns: Panels per row at most.
      label: Of the colour bar.
      vmin: The value of the darkest colour.
      vmax: The value of the brightest colour.
    """
    num_rows = -(-len(planes) // max_columns)
    columns = -(-len(planes) // num_rows)
    axes = figure.subplots(num_rows, columns, squeeze=False)
    for axis, (title, plane) in zip(axes.flat, planes.items(), strict=False):
        height, width = plane.shape
        left, top = -(width // 2) - 0.5, -(height // 2) - 0.5
        image = axis.imshow(
            plane,
            cmap="viridis",
            vmin=vmin,
            vmax=vmax,
            extent=(left, left + width, top + height, top),
            interpolation="nearest",
        )
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=8)
    for axis in axes.flat[len(planes) :]:
        axis.axis("off")
    for axis in axes[:, 0]:
        axis.set_ylabel("cycles per image", fontsize=8.5)
    for axis in axes[-1]:
        axis.set_xlabel("cycles per image", fontsize=8.5)
    figure.colorbar(image, ax=axes, shrink=0.85, pad=0.02).set_label(label, fontsize=9)
