"""Figures of the pipeline: its stages as images, X_n over n, and Table 4 with spectra."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from qup.core import plotting
from qup.core.measurements import Row
from qup.robustness import spectrum
from qup.robustness.conjugates import TABLE_4

STAGE_TITLES = {
    "x_0": "$X_0$",
    "delta_n_around_grey": r"$\Delta_N$",
    "x_n": "$X_N$",
    "translated_delta_around_grey": "$G(X_0)$",
    "x_0_plus_translated_delta": "$X_0 + G(X_0)$",
    "attacked": "attacked",
}
_TRAJECTORY_STYLES = {
    "test_accuracy": ("TA of $X_n$", plotting.BLUE),
    "robust_accuracy": ("RA of $X_n$", plotting.VERMILION),
}
_COLUMN_TITLES = (
    "attacked",
    "perturbation",
    "conjugate",
    "its spectrum,\nlog magnitude",
    "power over the\nlength of the frequency",
)
_CURVE_STYLES = {"perturbation": (plotting.BLUE, "-"), "conjugate": (plotting.VERMILION, "--")}
# Powers below this share of an image's mean are drawn as that share.
_MIN_RELATIVE_POWER = 1e-4

ConjugateArrays = Mapping[str, np.ndarray]


def build_stage_images(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the stages of the pipeline as images, by the keys of `STAGE_TITLES`.

    Args:
      arrays: x_0, x_n, translated and attacked, float32 [n, height, width, channels]. Both
        deltas have one scale and are added to grey.
    """
    start, end, translated = arrays["x_0"], arrays["x_n"], arrays["translated"]
    scale = 2.0 * max(float(np.abs(end - start).max()), 1e-6)
    stage_images = (
        start,
        0.5 + (end - start) / scale,
        end,
        0.5 + translated / scale,
        start + translated,
        arrays["attacked"],
    )
    return dict(zip(STAGE_TITLES, stage_images, strict=True))


def plot_stage_images(images: Mapping[str, np.ndarray]) -> Figure:
    """Draws a row per stage, a column per image.

    Args:
      images: Key of `STAGE_TITLES` to float32 [n, height, width, channels], cut to [0, 1].
    """
    columns = max(len(stack) for stack in images.values())
    figure = Figure(figsize=(1.6 + columns, len(images)), layout="constrained")
    axes = figure.subplots(len(images), columns, squeeze=False)
    for row, (key, stack) in zip(axes, images.items(), strict=True):
        for axis in row:
            axis.axis("off")
        for axis, image in zip(row, stack, strict=False):
            plotting.show_image(axis, image)
        row[0].text(
            -0.1, 0.5, STAGE_TITLES[key], transform=row[0].transAxes, ha="right", va="center"
        )
    return figure


def plot_trajectory(rows: Sequence[Row]) -> Figure:
    """Draws TA and RA of X_n over n with one standard error, supplement Fig. 2.

    Args:
      rows: Those of one classifier, with "step" among their parameters.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    for measure, (label, colour) in _TRAJECTORY_STYLES.items():
        points = {
            row.parameters["step"]: (row.value, row.value - row.stderr, row.value + row.stderr)
            for row in rows
            if row.measure == measure
        }
        plotting.plot_intervals(axis, points, label=label, color=colour, marker="o", markersize=3)
    first = rows[0]
    axis.set(
        xlabel="opposite-FGSM steps n",
        ylabel="accuracy in percent ± one standard error",
        title=f"{first.model} on {first.dataset}, epochs: {first.epochs}, "
        f"training images: {first.n:,}",
    )
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    plotting.tidy_axis(axis)
    axis.legend()
    return figure


def plot_conjugates(arrays: ConjugateArrays, title: str, note: str = "") -> Figure:
    """Draws Table 4: the perturbation of each attack, its conjugate, and both spectra.

    Args:
      arrays: "class_names" and, after the name of each attack and an underscore: "attacked",
        "perturbation" and, where one is known, "conjugate", float32 [height, width, channels];
        "label", the classifier's decision; "perturbation_relative" and "conjugate_relative"
        [bins], means over many images, see `spectrum.Averages`. Without these means, the
        curves are those of the image.
      title: Above.
      note: Below, such as how many images the curves are means over.
    """
    names = [str(name) for name in arrays["class_names"]]
    attack_names = [name for name in TABLE_4 if f"{name}_attacked" in arrays]
    figure = Figure((9.6, 1.5 * len(attack_names) + 1.1), layout="constrained")
    figure.suptitle(title, fontsize=11, parse_math=False)
    axes = figure.subplots(
        len(attack_names), len(_COLUMN_TITLES), squeeze=False, width_ratios=(1, 1, 1, 1, 1.5)
    )
    curves = {name: _compute_radial_curves(arrays, name) for name in attack_names}
    for row, name in zip(axes, attack_names, strict=True):
        _show_attack_images(row, arrays, name, names)
        _plot_radial_curves(row[4], curves[name])
    _set_common_scale(axes[:, 4], curves.values())
    for axis, column_title in zip(axes[0], _COLUMN_TITLES, strict=True):
        axis.set_title(column_title, fontsize=9.5)
    axes[-1, 4].set_xlabel("cycles per image", fontsize=8)
    handles = [
        Line2D([], [], color=colour, ls=linestyle, lw=1.4, label=key)
        for key, (colour, linestyle) in _CURVE_STYLES.items()
    ]
    handles.append(Line2D([], [], color=plotting.GREY, ls=":", lw=1, label="white noise"))
    plotting.add_legend_below(
        figure, handles=handles, loc="outside lower right", title=note or None
    )
    return figure


def _show_attack_images(row, arrays: ConjugateArrays, name: str, names: list[str]) -> None:
    adversarial, perturbation = (arrays[f"{name}_{key}"] for key in ("attacked", "perturbation"))
    max_magnitude = float(np.abs(perturbation).max())
    decision = f"class: {names[int(arrays[f'{name}_label'])]}" if max_magnitude else "failed"
    plotting.show_image(row[0], adversarial)
    row[0].set_ylabel(
        f"{name.replace('_', ' ').replace(' class', chr(10) + 'class')}\n{decision}",
        rotation=0,
        ha="right",
        va="center",
        fontsize=9,
        parse_math=False,
    )
    plotting.show_signed_field(row[1], perturbation)
    row[1].set_xlabel(f"max {max_magnitude:.3g}", fontsize=8)
    field = arrays.get(f"{name}_conjugate")
    if field is None:
        for axis in row[2:4]:
            axis.axis("off")
        row[2].text(0.5, 0.5, TABLE_4[name].description, ha="center", va="center", fontsize=9)
    else:
        plotting.show_signed_field(row[2], field)
        row[2].set_xlabel(TABLE_4[name].symbol, fontsize=8)
        row[3].imshow(_compute_log_spectrum(field), cmap="viridis")
        row[3].set(xticks=[], yticks=[])


def _compute_radial_curves(arrays: ConjugateArrays, name: str) -> dict[str, np.ndarray]:
    """Returns radial means relative to an image's mean power: [bins] each."""
    radial_curves = {}
    for key in _CURVE_STYLES:
        curve = arrays.get(f"{name}_{key}_relative")
        field = arrays.get(f"{name}_{key}")
        if curve is None and field is not None and np.any(field):
            power = spectrum.compute_power(spectrum.convert_to_grey(field[None]))
            curve = spectrum.compute_radial_mean(power / power.mean())[0]
        if curve is not None and np.isfinite(curve).all():
            radial_curves[key] = np.maximum(curve, _MIN_RELATIVE_POWER)
    return radial_curves


def _plot_radial_curves(axis: Axes, curves: Mapping[str, np.ndarray]) -> None:
    for key, curve in curves.items():
        colour, linestyle = _CURVE_STYLES[key]
        axis.plot(curve, color=colour, ls=linestyle, lw=1.4)
    if not curves:
        axis.text(
            0.5,
            0.6,
            "no perturbation to average",
            ha="center",
            fontsize=8.5,
            color=plotting.GREY,
            transform=axis.transAxes,
        )
    axis.axhline(1.0, color=plotting.GREY, ls=":", lw=1)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=7.5)


def _set_common_scale(axes, curves: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Gives all curves one scale, with labels at decades only."""
    all_curves = [curve for attack_curves in curves for curve in attack_curves.values()]
    low = min((curve.min() for curve in all_curves), default=0.1)
    high = max((curve.max() for curve in all_curves), default=10.0)
    last = max((len(curve) - 1 for curve in all_curves), default=1)
    for axis in axes:
        axis.set(yscale="log", xlim=(0, last), ylim=(min(low, 0.1) / 1.5, 1.5 * max(high, 10.0)))
        axis.yaxis.set_major_locator(LogLocator(10, numticks=4))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def _compute_log_spectrum(field: np.ndarray) -> np.ndarray:
    """Returns log10 of the magnitudes, at most six decades below the largest.

    Args:
      field: float32 [height, width, channels].

    Returns:
      float64 [height, width], zero frequency in the middle.
    """
    magnitude = np.sqrt(spectrum.compute_power(spectrum.convert_to_grey(field[None])))[0]
    return np.log10(np.maximum(magnitude, max(magnitude.max(), 1e-30) * 1e-6))
