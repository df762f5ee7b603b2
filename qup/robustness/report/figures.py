"""The figures of a report: accuracy over epsilon, and images as PNG."""

import base64
import io
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image

from qup.core import files, plotting
from qup.core.numbers import format_epsilon
from qup.robustness.report.curve import RobustnessCurve
from qup.robustness.report.protocol import NORM_NAMES, WORST_CASE, get_attack_name

# The same text gives the same identifiers in an SVG file.
_SVG_SETTINGS: Any = {"svg.hashsalt": "qup", "svg.fonttype": "path"}


def plot_curves(curves: Sequence[RobustnessCurve], headline: float | None = None) -> Figure:
    """Returns a figure of accuracies over epsilon, with 95 % intervals as bars.

    Args:
      curves: At least one, of one norm.
      headline: A budget to mark; None for none.
    """
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axis = figure.add_subplot()
    if len(curves) > 1:
        curves = [curve for curve in curves if curve.attack != WORST_CASE]
    for number, curve in enumerate(curves):
        points = {
            epsilon: (accuracy.percent, accuracy.low, accuracy.high)
            for epsilon, accuracy in zip(curve.epsilons, curve.accuracies, strict=True)
        }
        is_joined = len(points) > 2
        plotting.plot_intervals(
            axis,
            points if is_joined else dict(list(points.items())[1:]),
            color=plotting.PALETTE[number % len(plotting.PALETTE)],
            marker=plotting.MARKERS[number % len(plotting.MARKERS)],
            linestyle="-" if is_joined else "none",
            label=get_attack_name(curve.attack),
        )
    norm, count = curves[0].norm, curves[0].accuracies[0].n
    if headline is not None:
        axis.axvline(headline, color=plotting.GREY, linewidth=0.9, linestyle=(0, (4, 3)))
    axis.set(
        xlabel=f"epsilon ({NORM_NAMES[norm]}, pixels in [0, 1])",
        ylabel=f"accuracy in percent of {count:,} images",
        ylim=(-3, 103),
        xlim=(0, None),
    )
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    if headline is not None:
        axis.annotate(
            format_epsilon(headline),
            (headline, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -2),
            textcoords="offset points",
            va="top",
            fontsize=8.5,
            color=plotting.GREY,
        )
    plotting.tidy_axis(axis)
    plotting.add_legend_below(figure, [axis])
    return figure


def save_figure(figure: Figure, path: pathlib.Path) -> None:
    """Writes a figure as .png, .svg or .pdf.

    Raises:
      InputError: The path cannot be written.
    """
    files.write_bytes(path, render(figure, path.suffix[1:].lower() or "png"))


def render(figure: Figure, file_format: str) -> bytes:
    """Returns a figure as a file, the same bytes for the same figure."""
    with rc_context(_SVG_SETTINGS):
        return plotting.render_figure(figure, file_format, dpi=150)


def encode_image(image: np.ndarray) -> str:
    """Returns an image, float [height, width, channels] in [0, 1], as a data URI of a PNG."""
    pixels = np.round(np.clip(np.nan_to_num(image), 0, 1) * 255).astype(np.uint8)
    channels = pixels.shape[-1]
    if channels not in (1, 3):
        pixels = np.round(pixels.mean(-1, keepdims=True)).astype(np.uint8)
    picture = Image.fromarray(pixels if pixels.shape[-1] == 3 else pixels[..., 0])
    buffer = io.BytesIO()
    picture.save(buffer, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def encode_difference(clean: np.ndarray, attacked: np.ndarray) -> tuple[str, float]:
    """Returns the change of an image as a data URI, grey for none, and its magnification."""
    delta = attacked - clean
    largest = float(np.abs(delta).max())
    scale = 0.5 / largest if largest > 0 else 1.0
    return encode_image(0.5 + scale * delta), scale
