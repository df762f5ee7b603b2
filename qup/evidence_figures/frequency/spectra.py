"""Spectra over the image plane: radial, two-dimensional, and of an error."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from qup.errors import InputError
from qup.evidence_figures.frequency import style

_COLUMNS = 4
# Those that `error` draws, and what the white line stands for.
_CONTROLS = ("random_signs", "translated", "error")


def _keys(arrays: style.Arrays, keys: Sequence[str] | None) -> list[str]:
    known = [str(key) for key in arrays["fields"]]
    for key in keys or ():
        if key not in known:
            raise InputError(
                f"No spectrum of {key!r} is held. Known: {', '.join(known)}."
            )
    return list(keys or [key for key in known if key not in _CONTROLS])


def radial(arrays: style.Arrays, keys: Sequence[str] | None = None) -> Figure:
    """Draws power over the length of the frequency, each image's mean as 1.

    Args:
      arrays: Those of spectrum.npz.
      keys: Of its "fields"; None for data, gradient and walk.

    Raises:
      InputError: An unknown key.
    """
    keys = _keys(arrays, keys)
    figure = style.page(
        (7, 4.2), "Radially averaged power spectra",
        style.subject(arrays["told"]),
        "Power relative to each image's mean over frequencies: 1 is white "
        "noise. Bands are two standard errors over images. Beyond the "
        "dotted line only the corners of the plane are left.",
    )  # fmt: skip
    axis = figure.subplots()
    axis.axhline(1.0, color=style.GREY, ls="--", lw=1)
    for place, key in enumerate(keys):
        mean = arrays[f"{key}_relative"]
        style.curve(
            axis, np.arange(len(mean)), arrays, f"{key}_relative",
            label=style.field(arrays, key),
            color=style.COLOURS[place % len(style.COLOURS)],
            ls=style.LINES[place % len(style.LINES)],
        )  # fmt: skip
    _length(axis, arrays)
    axis.set(yscale="log", ylabel="power relative to its mean")
    axis.set_ylim(top=30 * axis.get_ylim()[1])
    axis.legend(fontsize=8.5, frameon=False, ncols=2)
    return figure


def _length(axis: Axes, arrays: style.Arrays) -> None:
    """Names the axis of frequencies, and marks Nyquist's."""
    nyquist = min(arrays["told"]["image_shape"]) / 2
    axis.axvline(nyquist, color=style.GREY, ls=":", lw=1)
    axis.set_xlabel("length of the frequency in cycles per image")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.tidy(axis)


def planes(arrays: style.Arrays, keys: Sequence[str] | None = None) -> Figure:
    """Draws the mean logarithm of power over the plane of frequencies.

    Args:
      arrays: Those of spectrum.npz.
      keys: Of its "fields"; None for data, gradient and walk.

    Raises:
      InputError: An unknown key.
    """
    keys = _keys(arrays, keys)
    lines = -(-len(keys) // _COLUMNS)
    columns = -(-len(keys) // lines)
    figure = style.page(
        (7, (1.75 if columns == _COLUMNS else 2.3) * lines),
        "Mean log power over the plane", style.subject(arrays["told"]),
        "Zero frequency in the middle, colours of one scale. 0 is an "
        "image's mean power; the mean logarithm of white noise lies at "
        "-0.25.",
    )  # fmt: skip
    axes = figure.subplots(lines, columns, squeeze=False)
    shown = [arrays[f"{key}_log"] for key in keys]
    finite = np.concatenate([plane[np.isfinite(plane)] for plane in shown])
    low, high = np.percentile(finite, 0.5), finite.max()
    extent = style.extent(arrays["told"]["image_shape"])
    for axis, key, plane in zip(axes.flat, keys, shown, strict=False):
        drawn = axis.imshow(
            plane, cmap="viridis", vmin=low, vmax=high, extent=extent,
            interpolation="nearest",
        )  # fmt: skip
        axis.set_title(style.field(arrays, key), fontsize=9)
        axis.tick_params(labelsize=8)
    for axis in axes.flat[len(keys) :]:
        axis.axis("off")
    style.label_planes(axes)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.85, pad=0.02)
    bar.set_label("mean log10 of relative power", fontsize=9)
    return figure


def error(arrays: style.Arrays) -> Figure:
    """Draws what a translator learns of Delta_N, frequency by frequency.

    Supplement section 4 says that it fails at high frequencies: then the
    relative error below rises from left to right, towards 1 (as bad as
    answering 0) or above.

    Args:
      arrays: Those of spectrum.npz, made with a translator.

    Raises:
      InputError: They were made without.
    """
    if "error_power" not in arrays:
        raise InputError(
            "These spectra hold no translator's error. Give those that "
            "were made with one."
        )
    told = arrays["told"]
    target = told["target"]
    figure = style.page(
        (7, 4.9), r"What the translator misses: $|FFT(G(X_0) - \Delta_N)|$ "
        r"against $|FFT(\Delta_N)|$", style.subject(told),
        "Delta_N of images that the translator never saw, by their true "
        "labels. Bands are two standard errors over images. At a relative "
        "error of 1 the translator is no better than answering 0.",
    )  # fmt: skip
    above, below = figure.subplots(2, 1, sharex=True)
    for place, key in enumerate((target, "translated", "error")):
        mean = arrays[f"{key}_power"]
        style.curve(
            above, np.arange(len(mean)), arrays, f"{key}_power",
            label=style.field(arrays, key), color=style.COLOURS[place],
            ls=style.LINES[place],
        )  # fmt: skip
    above.set(yscale="log", ylabel="power in squared\npixel units")
    above.set_ylim(top=10 * above.get_ylim()[1])
    above.legend(fontsize=9, frameon=False, ncols=3)
    share = np.sqrt(arrays["error_power"] / arrays[f"{target}_power"])
    below.plot(share, color=style.COLOURS[2], marker="o", ms=3, lw=1.3)
    below.axhline(1.0, color=style.GREY, ls="--", lw=1)
    below.set(ylabel="relative error", ylim=(0, max(1.1, 1.1 * share.max())))
    for axis in (above, below):
        _length(axis, arrays)
    above.set_xlabel("")
    return figure
