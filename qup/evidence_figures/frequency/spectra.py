"""Spectra over the image plane: radial, two-dimensional, and of an error."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from qup.errors import InputError
from qup.evidence_figures.frequency import style

_PLANE_COLUMNS = 4
# Those that `error` draws, and what the white line stands for.
_CONTROL_FIELDS = ("random_signs", "translated", "error")


def _select_fields(arrays: style.FrequencyArrays, keys: Sequence[str] | None) -> list[str]:
    stored_fields = [str(key) for key in arrays["fields"]]
    for key in keys or ():
        if key not in stored_fields:
            raise InputError(f"No spectrum of {key!r} is held. Known: {', '.join(stored_fields)}.")
    return list(keys or [key for key in stored_fields if key not in _CONTROL_FIELDS])


def plot_radial_spectra(arrays: style.FrequencyArrays, keys: Sequence[str] | None = None) -> Figure:
    """Draws power over the length of the frequency, each image's mean as 1.

    Args:
      arrays: Those of spectrum.npz.
      keys: Of its "fields"; None for data, gradient and walk.

    Raises:
      InputError: An unknown key.
    """
    keys = _select_fields(arrays, keys)
    figure = style.create_figure(
        (7, 4.2),
        "Radially averaged power spectra",
        style.format_subject(arrays["told"]),
        "Power relative to each image's mean over frequencies: 1 is white "
        "noise. Bands are two standard errors over images. Beyond the "
        "dotted line only the corners of the plane are left.",
    )
    axis = figure.subplots()
    axis.axhline(1.0, color=style.FREQUENCY_GREY, ls="--", lw=1)
    for index, key in enumerate(keys):
        mean = arrays[f"{key}_relative"]
        style.plot_mean_curve(
            axis,
            np.arange(len(mean)),
            arrays,
            f"{key}_relative",
            label=style.format_field(arrays, key),
            color=style.COLOURS[index % len(style.COLOURS)],
            ls=style.LINE_STYLES[index % len(style.LINE_STYLES)],
        )
    _label_frequency_axis(axis, arrays)
    axis.set(yscale="log", ylabel="power relative to its mean")
    axis.set_ylim(top=30 * axis.get_ylim()[1])
    axis.legend(fontsize=8.5, frameon=False, ncols=2)
    return figure


def _label_frequency_axis(axis: Axes, arrays: style.FrequencyArrays) -> None:
    """Names the axis of frequencies, and marks Nyquist's."""
    nyquist = min(arrays["told"]["image_shape"]) / 2
    axis.axvline(nyquist, color=style.FREQUENCY_GREY, ls=":", lw=1)
    axis.set_xlabel("length of the frequency in cycles per image")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.tidy_axis(axis)


def plot_spectrum_planes(
    arrays: style.FrequencyArrays, keys: Sequence[str] | None = None
) -> Figure:
    """Draws the mean logarithm of power over the plane of frequencies.

    Args:
      arrays: Those of spectrum.npz.
      keys: Of its "fields"; None for data, gradient and walk.

    Raises:
      InputError: An unknown key.
    """
    keys = _select_fields(arrays, keys)
    num_rows = -(-len(keys) // _PLANE_COLUMNS)
    columns = -(-len(keys) // num_rows)
    figure = style.create_figure(
        (7, (1.75 if columns == _PLANE_COLUMNS else 2.3) * num_rows),
        "Mean log power over the plane",
        style.format_subject(arrays["told"]),
        "Zero frequency in the middle, colours of one scale. 0 is an "
        "image's mean power; the mean logarithm of white noise lies at "
        "-0.25.",
    )
    axes = figure.subplots(num_rows, columns, squeeze=False)
    log_powers = [arrays[f"{key}_log"] for key in keys]
    finite = np.concatenate([plane[np.isfinite(plane)] for plane in log_powers])
    low, high = np.percentile(finite, 0.5), finite.max()
    extent = style.compute_extent(arrays["told"]["image_shape"])
    for axis, key, plane in zip(axes.flat, keys, log_powers, strict=False):
        image = axis.imshow(
            plane, cmap="viridis", vmin=low, vmax=high, extent=extent, interpolation="nearest"
        )
        axis.set_title(style.format_field(arrays, key), fontsize=9)
        axis.tick_params(labelsize=8)
    for axis in axes.flat[len(keys) :]:
        axis.axis("off")
    style.label_planes(axes)
    colorbar = figure.colorbar(image, ax=axes, shrink=0.85, pad=0.02)
    colorbar.set_label("mean log10 of relative power", fontsize=9)
    return figure


def plot_translation_error(arrays: style.FrequencyArrays) -> Figure:
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
            "These spectra hold no translator's error. Give those that were made with one."
        )
    metadata = arrays["told"]
    target = metadata["target"]
    figure = style.create_figure(
        (7, 4.9),
        r"What the translator misses: $|FFT(G(X_0) - \Delta_N)|$ "
        r"against $|FFT(\Delta_N)|$",
        style.format_subject(metadata),
        "Delta_N of images that the translator never saw, by their true "
        "labels. Bands are two standard errors over images. At a relative "
        "error of 1 the translator is no better than answering 0.",
    )
    above, below = figure.subplots(2, 1, sharex=True)
    for index, key in enumerate((target, "translated", "error")):
        mean = arrays[f"{key}_power"]
        style.plot_mean_curve(
            above,
            np.arange(len(mean)),
            arrays,
            f"{key}_power",
            label=style.format_field(arrays, key),
            color=style.COLOURS[index],
            ls=style.LINE_STYLES[index],
        )
    above.set(yscale="log", ylabel="power in squared\npixel units")
    above.set_ylim(top=10 * above.get_ylim()[1])
    above.legend(fontsize=9, frameon=False, ncols=3)
    relative_error = np.sqrt(arrays["error_power"] / arrays[f"{target}_power"])
    below.plot(relative_error, color=style.COLOURS[2], marker="o", ms=3, lw=1.3)
    below.axhline(1.0, color=style.FREQUENCY_GREY, ls="--", lw=1)
    below.set(ylabel="relative error", ylim=(0, max(1.1, 1.1 * relative_error.max())))
    for axis in (above, below):
        _label_frequency_axis(axis, arrays)
    above.set_xlabel("")
    return figure
