"""Image frequencies (supplement, Fig. 5 and section 4) and response frequencies as figures."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from qup.core import plotting
from qup.core.errors import InputError
from qup.core.measurements import Row
from qup.reproduction.report.figures import style

_PLANE_COLUMNS = 4
# Drawn by `plot_translation_error`, or as the line of white noise.
_CONTROL_FIELDS = ("random_signs", "translated", "error")


def _select_fields(arrays: style.FrequencyArrays, keys: Sequence[str] | None) -> list[str]:
    stored_fields = [str(key) for key in arrays["fields"]]
    for key in keys or ():
        if key not in stored_fields:
            raise InputError(f"No spectrum of {key!r}. Known fields: {', '.join(stored_fields)}.")
    return list(keys or [key for key in stored_fields if key not in _CONTROL_FIELDS])


def plot_radial_spectra(arrays: style.FrequencyArrays, keys: Sequence[str] | None = None) -> Figure:
    """Draws power over the length of the frequency, each image's mean as 1.

    Args:
      arrays: Those of spectrum.npz.
      keys: Of its "fields"; None for images, gradient and Delta.

    Raises:
      InputError: An unknown key.
    """
    keys = _select_fields(arrays, keys)
    figure = style.create_figure(
        (7, 4.2),
        "Radially averaged power spectra",
        style.format_subject(arrays["metadata"]),
        "Power relative to each image's mean over frequencies: 1 is white noise. Bands are two "
        "standard errors over images. Beyond the dotted line there are only the corners of the "
        "plane.",
    )
    axis = figure.subplots()
    axis.axhline(1.0, color=plotting.GREY, ls="--", lw=1)
    for index, key in enumerate(keys):
        mean = arrays[f"{key}_relative"]
        style.plot_mean_curve(
            axis,
            np.arange(len(mean)),
            arrays,
            f"{key}_relative",
            label=style.format_field(arrays, key),
            **style.get_series_style(index),
        )
    _label_frequency_axis(axis, arrays)
    axis.set(yscale="log", ylabel="power relative to its mean")
    axis.set_ylim(top=30 * axis.get_ylim()[1])
    axis.legend(fontsize=8.5, frameon=False, ncols=2)
    return figure


def _label_frequency_axis(axis: Axes, arrays: style.FrequencyArrays) -> None:
    """Labels the axis of frequencies, and marks the Nyquist frequency."""
    nyquist = min(arrays["metadata"]["image_shape"]) / 2
    axis.axvline(nyquist, color=plotting.GREY, ls=":", lw=1)
    axis.set_xlabel("length of the frequency in cycles per image")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    plotting.tidy_axis(axis)


def plot_spectrum_planes(
    arrays: style.FrequencyArrays, keys: Sequence[str] | None = None
) -> Figure:
    """Draws the mean logarithm of power over the plane of frequencies.

    Args:
      arrays: Those of spectrum.npz.
      keys: Of its "fields"; None for images, gradient and Delta.

    Raises:
      InputError: An unknown key.
    """
    keys = _select_fields(arrays, keys)
    num_rows = -(-len(keys) // _PLANE_COLUMNS)
    is_full_row = -(-len(keys) // num_rows) == _PLANE_COLUMNS
    figure = style.create_figure(
        (7, (1.75 if is_full_row else 2.3) * num_rows),
        "Mean log power over the plane",
        style.format_subject(arrays["metadata"]),
        "Zero frequency is in the middle; all panels have one scale. 0 is an image's mean power; "
        "the mean logarithm of white noise is -0.25.",
    )
    planes = {style.format_field(arrays, key): arrays[f"{key}_log"] for key in keys}
    finite = np.concatenate([plane[np.isfinite(plane)] for plane in planes.values()])
    style.show_frequency_planes(
        figure,
        planes,
        _PLANE_COLUMNS,
        label="mean log10 of relative power",
        vmin=np.percentile(finite, 0.5),
        vmax=finite.max(),
    )
    return figure


def plot_translation_error(arrays: style.FrequencyArrays) -> Figure:
    """Draws the error of a translator, frequency by frequency.

    Supplement, section 4: it fails at high frequencies. Then the relative error in the lower
    panel rises from left to right, towards 1 (no better than an output of 0) or above.

    Args:
      arrays: Those of spectrum.npz, computed with a translator.

    Raises:
      InputError: They were computed without one.
    """
    if "error_power" not in arrays:
        raise InputError(
            "These spectra have no error of a translator. Use spectra computed with a translator."
        )
    metadata = arrays["metadata"]
    target = metadata["target"]
    figure = style.create_figure(
        (7, 4.9),
        r"Error of the translator: $|FFT(G(X_0) - \Delta_N)|$ against $|FFT(\Delta_N)|$",
        style.format_subject(metadata),
        "Delta_N of images outside the translator's training set, by their true labels. Bands are "
        "two standard errors over images. At a relative error of 1 the translator is no better "
        "than an output of 0.",
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
            **style.get_series_style(index),
        )
    above.set(yscale="log", ylabel="power in squared\npixel units")
    above.set_ylim(top=10 * above.get_ylim()[1])
    above.legend(fontsize=9, frameon=False, ncols=3)
    relative_error = np.sqrt(arrays["error_power"] / arrays[f"{target}_power"])
    below.plot(relative_error, color=plotting.GREEN, marker="o", ms=3, lw=1.3)
    below.axhline(1.0, color=plotting.GREY, ls="--", lw=1)
    below.set(ylabel="relative error", ylim=(0, max(1.1, 1.1 * relative_error.max())))
    for axis in (above, below):
        _label_frequency_axis(axis, arrays)
    above.set_xlabel("")
    return figure


_FIELD_TITLES = {"delta": r"$\Delta_1$", "gradient": "the gradient"}


class _RatioPoint(NamedTuple):
    """One network after some epochs: TA and ratio, each (mean, error)."""

    epochs: int
    accuracy: tuple[float, float]
    ratio: tuple[float, float]
    seeds: int


def plot_ratios(
    rows: Sequence[Row],
    titles: Mapping[str, str] | None = None,
    *,
    window: str = "literal",
    field: str = "delta",
) -> Figure:
    """Draws the ratio of high frequencies against test accuracy, supplement Fig. 5.

    A panel per data set, a colour per network, with the epochs at its points, and the line of
    white noise.

    Args:
      rows: Of SpectrumAnalyzer ("high_frequency_ratio") and of accuracies ("test_accuracy"),
        joined on dataset, model, classifier, epochs and seed. Several seeds give a mean with
        its standard error; one seed has that over images.
      titles: Names of data sets and networks by their keys; other keys are their own names.
      window: "literal" (the paper's slices) or "symmetric".
      field: "delta" (the paper's Delta_1, unclipped) or "gradient".

    Raises:
      InputError: No ratio has an accuracy.
    """
    points = _collect_ratio_points(rows, window, field)
    if not points:
        raise InputError(
            f"No high-frequency ratio of {field} in the {window} window has a test accuracy. "
            "Expected rows of both for one network."
        )
    titles = titles or {}
    datasets = list(dict.fromkeys(name for name, _ in points))
    title = f"Share of high image frequencies in {_FIELD_TITLES[field]}"
    seeds = {p.seeds for group in points.values() for p in group}
    error_note = (
        "one seed, bars of one standard error over images"
        if seeds == {1}
        else "means over seeds, bars of one standard error; of a single seed over images"
    )
    figure = style.create_figure(
        (max(3.6 * len(datasets), 7), 4.2),
        title,
        f"{window} window: {error_note}",
        "Numbers are epochs. The dashed line is white noise, a flat spectrum. Image frequency is "
        "not the response frequency of the F-principle.",
    )
    styles = style.assign_markers([model for _, model in points])
    for axis, dataset in zip(
        figure.subplots(1, len(datasets), squeeze=False)[0], datasets, strict=True
    ):
        dataset_points = {m: p for (name, m), p in points.items() if name == dataset}
        for model, group in dataset_points.items():
            _plot_network_ratios(axis, titles.get(model, model), group, *styles[model])
        _plot_white_noise(axis, rows, dataset, window)
        axis.set_xlabel("test accuracy in percent")
        axis.set_title(titles.get(dataset, dataset), fontsize=10)
        axis.legend(
            fontsize=8.5, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.17)
        )
        plotting.tidy_axis(axis)
    figure.axes[0].set_ylabel("high-frequency ratio")
    return figure


def _collect_ratio_points(
    rows: Sequence[Row], window: str, field: str
) -> dict[tuple[str, str], list[_RatioPoint]]:
    """Returns the points of each (dataset, model)."""
    accuracies: dict[tuple, Row] = {}
    for row in rows:
        control = row.parameters.get("control", "")
        if row.measure != "test_accuracy" or control:
            continue
        if row.parameters.get("images") or row.classifier != "CL":
            continue
        existing_row = accuracies.setdefault(_get_ratio_key(row), row)
        if row.n > existing_row.n:
            accuracies[_get_ratio_key(row)] = row
    pairs: dict[tuple, list[tuple[Row, Row]]] = {}
    for row in rows:
        if _is_selected_ratio(row, window, field) and _get_ratio_key(row) in accuracies:
            group = (row.dataset, row.model, row.epochs)
            pairs.setdefault(group, []).append((accuracies[_get_ratio_key(row)], row))
    points: dict[tuple[str, str], list[_RatioPoint]] = {}
    for (dataset, model, epochs), group in sorted(pairs.items()):
        accuracy, ratio = (_average_seeds(paired_rows) for paired_rows in zip(*group, strict=True))
        point = _RatioPoint(epochs, accuracy, ratio, len(group))
        points.setdefault((dataset, model), []).append(point)
    return points


def _get_ratio_key(row: Row) -> tuple:
    return row.dataset, row.model, row.classifier, row.epochs, row.seed


def _is_selected_ratio(row: Row, window: str, field: str) -> bool:
    parameters = row.parameters
    return (
        row.measure == "high_frequency_ratio"
        and (parameters.get("window"), parameters.get("field")) == (window, field)
        and not parameters.get("control", "")
    )


def _average_seeds(rows: Sequence[Row]) -> tuple[float, float]:
    """Returns the mean over seeds and its error; of one, over images."""
    values = np.array([row.value for row in rows])
    if len(values) == 1:
        return float(values[0]), rows[0].stderr or 0.0
    error = values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean()), float(error)


def _plot_network_ratios(
    axis: Axes, title: str, points: Sequence[_RatioPoint], colour: str, marker: str
) -> None:
    x, x_error = zip(*(p.accuracy for p in points), strict=True)
    y, y_error = zip(*(p.ratio for p in points), strict=True)
    axis.errorbar(
        x, y, y_error, x_error, label=title, color=colour, marker=marker, ms=5, lw=1, capsize=2
    )
    for point in points:
        axis.annotate(
            str(point.epochs),
            (point.accuracy[0], point.ratio[0]),
            xytext=(4, 5),
            textcoords="offset points",
            fontsize=8,
            color=colour,
        )


def _plot_white_noise(axis: Axes, rows: Sequence[Row], dataset: str, window: str) -> None:
    for row in rows:
        if row.dataset == dataset and _is_selected_ratio(row, window, "white_noise"):
            axis.axhline(
                row.value, color=plotting.GREY, ls="--", lw=1, label=f"white noise, {row.value:.4f}"
            )
            return


# A target power above this multiple of the power of shuffled labels is signal.
_MIN_SIGNAL_RATIO = 3.0


def plot_convergence(arrays: style.FrequencyArrays) -> Figure:
    """Draws relative errors of low and high response frequencies by epoch (Xu et al. 2019).

    Left: Gaussian filters of several widths; right: along the first principal axis. Response
    frequencies are not those of an image's pixels, see qup/robustness/response.py.

    Args:
      arrays: Those of response.npz.
    """
    centred = arrays["metadata"]["parameters"]["centred"]
    reference_text = "predicting the shares of the classes" if centred else "predicting 0"
    figure = style.create_figure(
        (7, 3.4),
        "What training fits first, by RESPONSE frequency",
        style.format_subject(arrays["metadata"]),
        "Response frequency: how fast the output varies from image to image over the space of "
        "inputs (F-principle). It is not the image frequency of supplement Fig. 5. Relative error "
        f"1: no better than {reference_text}. Widths in units of the median distance of images, "
        f"{float(arrays['distance']):.3g}. Bars are two standard errors. Pale: frequencies at "
        "which labels are hardly more than noise.",
    )
    left, right = figure.subplots(1, 2)
    _plot_filters(left, arrays)
    _plot_axis_errors(right, arrays)
    for axis in (left, right):
        axis.set(yscale="log", ylabel="relative error")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axis.yaxis.set_minor_locator(NullLocator())
        # Room for the legend.
        axis.set_ylim(top=5 * axis.get_ylim()[1])
        axis.legend(fontsize=7.5, frameon=False, ncols=2, loc="upper center")
        plotting.tidy_axis(axis)
    return figure


def _plot_filters(axis: Axes, arrays: style.FrequencyArrays) -> None:
    epochs = arrays["epochs"]
    for index, width in enumerate(arrays["widths"]):
        colour = plotting.PALETTE[index % len(plotting.PALETTE)]
        for band, linestyle, marker in (("low", "-", "o"), ("high", "--", "s")):
            axis.errorbar(
                epochs,
                arrays[band][:, index],
                2 * arrays[f"{band}_stderr"][:, index],
                color=colour,
                ls=linestyle,
                marker=marker,
                ms=4,
                lw=1.2,
                capsize=2,
                label=f"{band}, width {width:g}",
            )
    if epochs.min() > 0:
        axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(epochs))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_xlabel("epochs")
    axis.set_title("Gaussian filter", fontsize=10)


def _plot_axis_errors(axis: Axes, arrays: style.FrequencyArrays) -> None:
    is_signal = arrays["target"] > _MIN_SIGNAL_RATIO * arrays["noise"]
    x, last = arrays["frequencies"], max(len(arrays["epochs"]) - 1, 1)
    for index, epochs in enumerate(arrays["epochs"]):
        colour = colormaps["viridis"](0.88 * index / last)
        axis.plot(x, arrays["line"][index], color=colour, lw=0.8, alpha=0.4)
        axis.errorbar(
            x[is_signal],
            arrays["line"][index][is_signal],
            2 * arrays["line_stderr"][index][is_signal],
            color=colour,
            marker="o",
            ms=3.5,
            lw=1.2,
            capsize=2,
            label=style.format_epochs(epochs),
        )
    axis.set_xlabel("cycles over the first principal axis")
    axis.set_title("along one line", fontsize=10)


_HEAT_MAP_COLUMNS = 3


def plot_heat_maps(arrays_by_name: Mapping[str, style.FrequencyArrays]) -> Figure:
    """Draws Fourier heat maps (Yin et al. 2019) side by side, on one scale.

    Args:
      arrays_by_name: Name to the arrays of sensitivity.npz, of one norm.

    Raises:
      InputError: No arrays, or of several norms.
    """
    metadata = [arrays["metadata"] for arrays in arrays_by_name.values()]
    norms = sorted({entry["parameters"]["norm"] for entry in metadata})
    if len(norms) != 1:
        raise InputError(
            f"Heat maps on one scale need one norm of the added vectors; received {norms}."
        )
    columns = min(len(arrays_by_name), _HEAT_MAP_COLUMNS)
    num_rows = -(-len(arrays_by_name) // columns)
    shared_metadata = dict(metadata[0])
    if len({entry.get("epochs") for entry in metadata}) > 1:
        shared_metadata.pop("epochs")
    figure = style.create_figure(
        (7, {1: 4.0, 2: 2.9}.get(columns, 2.2) * num_rows),
        "Errors under each Fourier basis vector",
        f"{style.format_subject(shared_metadata)} · L2 norm {norms[0]:g} in each channel",
        "Image frequencies, zero in the middle. In brackets: errors on the clean images. White: "
        "not measured.",
    )
    planes = {
        f"{name} [{float(arrays['clean']):.1f} %]": np.ma.masked_invalid(arrays["error"])
        for name, arrays in arrays_by_name.items()
    }
    max_error = max(float(plane.max()) for plane in planes.values())
    style.show_frequency_planes(
        figure,
        planes,
        _HEAT_MAP_COLUMNS,
        label="errors in percent of images",
        vmin=0,
        vmax=max(max_error, 1e-9),
    )
    return figure


def plot_cutoffs(spectra: Mapping[str, style.FrequencyArrays], *, key: str = "delta_1") -> Figure:
    """Draws the ratio of every symmetric window, and its difference to white noise.

    Args:
      spectra: Name to the arrays of spectrum.npz, such as one for each epoch.
      key: Of "fields".

    Raises:
      InputError: No arrays, or without the key.
    """
    if not spectra or any(f"{key}_cutoff" not in a for a in spectra.values()):
        raise InputError(
            f"Each spectrum must have the field {key!r}; received {len(spectra)} spectra, not all "
            "with it."
        )
    first = next(iter(spectra.values()))
    metadata = {k: v for k, v in first["metadata"].items() if k != "epochs"}
    figure = style.create_figure(
        (7, 4.9),
        "High-frequency ratio over the cut-off",
        f"{style.format_field(first, key)} · {style.format_subject(metadata)}",
        "Bands and bars are two standard errors over images. A frequency is low if neither "
        "component is above the cut-off.",
    )
    above, below = figure.subplots(2, 1, sharex=True)
    x = np.arange(len(first["white_cutoff"]))
    above.plot(x, first["white_cutoff"], "--", color=plotting.GREY, label="white noise")
    for index, (name, arrays) in enumerate(spectra.items()):
        line_options = style.get_series_style(index)
        style.plot_mean_curve(above, x, arrays, f"{key}_cutoff", label=name, **line_options)
        difference = arrays[f"{key}_cutoff"] - arrays["white_cutoff"]
        below.errorbar(x, difference, 2 * arrays[f"{key}_cutoff_stderr"], lw=1.2, **line_options)
    below.axhline(0, ls="--", color=plotting.GREY, lw=1)
    above.set(ylabel="high-frequency ratio", ylim=(0, None))
    below.set(xlabel="cut-off in cycles per image", ylabel="ratio minus white noise")
    above.legend(fontsize=9, frameon=False)
    for axis in (above, below):
        plotting.tidy_axis(axis)
    return figure
