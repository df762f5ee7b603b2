"""Maps over pixels, histograms of their distances from the bound, traces of chains."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from scipy import stats

from qup.uncertainty.checks import MAX_R_HAT
from qup.uncertainty.figures import style
from qup.uncertainty.records import (
    RelationRecord,
    format_estimator,
    format_labels,
    format_network,
    select_final_records,
    select_most_exact,
)

_MAX_ROWS, _MAX_PANELS = 12, 8
_ERROR_TITLE = "standard error\nof the product"


def plot_maps(records: Sequence[RelationRecord]) -> Figure | None:
    """Plots a row of maps for each label and channel of the last network.

    Args:
      records: Of one packet and domain; of several estimators the most exact is shown.

    Returns:
      The figure; None without the shape of images or without pixels.
    """
    exact_records = select_most_exact(
        [record for record in select_final_records(records) if _has_image(record)]
    )
    rows = [(record, c) for record in exact_records for c in range(record["image_shape"][2])]
    if not rows:
        return None
    hidden, rows = rows[_MAX_ROWS:], rows[:_MAX_ROWS]
    columns = _build_columns(rows)
    note = _format_note(rows)
    if hidden:
        note += f" {len(hidden)} further rows are not shown."
    figure, body = style.build_page(
        (2.15 * len(columns) + 0.5, 1.95 * len(rows) + 0.55),
        "Widths and their product, pixel by pixel",
        style.format_subject([record for record, _ in rows], epochs=True),
        note=note,
    )
    panels = body.subplots(len(rows), len(columns), squeeze=False)
    for index, (title, measure, scale) in enumerate(columns):
        column = panels[:, index]
        column[0].set_title(title, fontsize=10.5)
        for axis, (record, channel) in zip(column, rows, strict=True):
            _draw_map(axis, record, measure, channel, scale)
        bar = body.colorbar(
            scale,
            ax=list(column),
            location="bottom",
            fraction=0.05,
            pad=0.02,
            aspect=18,
            extend=_choose_extend(rows, measure, scale),
        )
        bar.ax.set_visible(bool(_collect_finite_values(rows, [measure]).size))
        bar.ax.tick_params(labelsize=8)
        bar.ax.locator_params(nbins=3)
        bar.outline.set_visible(False)
    for axis, (record, channel) in zip(panels[:, 0], rows, strict=True):
        axis.set_ylabel(_format_row_name(record, channel), fontsize=9.5)
    return figure


def _format_note(rows) -> str:
    """Returns the explanation of the maps."""
    record = rows[0][0]
    note = "Under each name: the median of the pixels' standard errors."
    if record.domain != "box":
        note += " In maps of the product white is the bound, 1/2."
    if record.pixels.size < np.prod(record["image_shape"]):
        note += " Blank pixels were not measured."
    if not all(np.isfinite(_get_values(record, "uncertainty_product")).all() for record, _ in rows):
        note += " Hatched pixels could not be estimated."
    return note


def _has_image(record: RelationRecord) -> bool:
    shape = record["image_shape"]
    return bool(shape) and len(shape) == 3 and record.pixels.size > 1


def _build_columns(rows) -> list[tuple[str, str, ScalarMappable]]:
    """Returns (title, measure, colour scale) of every column."""
    product = "uncertainty_product"
    is_box = rows[0][0].domain == "box"
    columns = [(name, _build_scale(rows, [name])) for name in ("sigma_x", "sigma_p")]
    if is_box:
        measures = [product, "uncertainty_bound"]
        columns += [(name, _build_scale(rows, measures)) for name in measures]
    else:
        columns.append((product, _build_half_scale(rows)))
    error = f"{product}_stderr"
    titled_columns = [(_format_title(rows, name), name, scale) for name, scale in columns]
    return [*titled_columns, (_ERROR_TITLE, error, _build_scale(rows, [error]))]


def _format_title(rows, measure: str) -> str:
    errors = _collect_finite_values(rows, [f"{measure}_stderr"])
    error_text = f"± {np.median(errors):.2g}" if errors.size else "not estimated"
    return f"{style.MEASURE_TITLES[measure]}\n{error_text}"


def _collect_finite_values(rows, measures: Sequence[str]) -> np.ndarray:
    arrays = [_get_values(record, measure) for record, _ in rows for measure in measures]
    values = np.concatenate(arrays)
    return values[np.isfinite(values)]


def _get_values(record: RelationRecord, measure: str) -> np.ndarray:
    """Returns the values, or with the suffix "_stderr" the errors, along all axes."""
    name = measure.removesuffix("_stderr")
    return record.all_values(name)[name != measure]


def _build_scale(rows, measures: Sequence[str]) -> ScalarMappable:
    values = _collect_finite_values(rows, measures)
    low, high = np.quantile(values, (0.005, 0.995)) if values.size else (0, 1)
    value_range = max(high - low, 1e-6 * abs(high), 1e-9)
    return ScalarMappable(Normalize(low, low + value_range), "viridis")


def _build_half_scale(rows) -> ScalarMappable:
    distances = np.abs(_collect_finite_values(rows, ["uncertainty_product"]) - 0.5)
    max_distance = max(float(np.quantile(distances, 0.98)) if distances.size else 1.0, 1e-5)
    return ScalarMappable(Normalize(0.5 - max_distance, 0.5 + max_distance), "RdBu_r")


def _choose_extend(rows, measure: str, scale: ScalarMappable) -> str:
    values = _collect_finite_values(rows, [measure])
    tolerance = 1e-9 + 1e-6 * abs(scale.norm.vmax)
    low = (values < scale.norm.vmin - tolerance).any()
    high = (values > scale.norm.vmax + tolerance).any()
    return {(0, 0): "neither", (1, 0): "min", (0, 1): "max"}.get((int(low), int(high)), "both")


def _draw_map(axis: Axes, record: RelationRecord, measure: str, channel: int, scale) -> None:
    values = _get_values(record, measure)
    pixels = np.array([name.startswith("pixel:") for name in record.names], bool)
    image = np.full(record["image_shape"], np.nan).ravel()
    is_blank = np.ones(image.size, bool)
    image[record.pixels], is_blank[record.pixels] = values[pixels], False
    image, is_blank = (
        array.reshape(record["image_shape"])[..., channel] for array in (image, is_blank)
    )
    if (np.isnan(image) & ~is_blank).any():
        # Visible through the transparent pixels of the images above.
        axis.patch.set(facecolor="#E4E4E4", edgecolor="#888888", hatch="////////", linewidth=0)
    white = np.dstack([np.ones((*is_blank.shape, 3)), is_blank])
    axis.imshow(white, interpolation="nearest")
    axis.imshow(image, cmap=scale.cmap, norm=scale.norm, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_color("#BBBBBB")


def _format_row_name(record: RelationRecord, channel: int) -> str:
    text = format_labels([record])
    text += "\n" if text else ""
    if record["image_shape"][2] > 1:
        text += f"channel {channel}\n"
    return text + format_estimator(record["estimator"])


def plot_histogram(records: Sequence[RelationRecord]) -> Figure | None:
    """Plots (product - bound) / standard error over the pixels of the last network.

    Returns:
      The figure, a panel per estimator; None for fewer than 5 axes.
    """
    final_records = [
        record for record in select_final_records(records) if compute_z_scores(record).size >= 5
    ]
    if not final_records:
        return None
    estimators = sorted({record["estimator"] for record in final_records})
    constant_records = [record for record in records if record["control"] == "constant"]
    note = ""
    if not final_records[0]["vanishes"]:
        note = (
            "On any sample the product is at least its bound: the absence of values "
            "far below 0 is not a finding."
        )
    elif constant_records:
        note = (
            "Close to ½ noise alone is skewed to the right: for a constant network "
            "the product is ½ and all deviations are noise."
        )
    figure, body = style.build_page(
        (4.4 * len(estimators) + 0.3, 3.1),
        "Is the distance from the bound noise?",
        style.format_subject(final_records, epochs=True),
        note=note,
    )
    panels = body.subplots(1, len(estimators), squeeze=False, sharey=True)[0]
    for axis, estimator in zip(panels, estimators, strict=True):
        network_records = [record for record in final_records if record["estimator"] == estimator]
        controls = [record for record in constant_records if record["estimator"] == estimator]
        _draw_histogram(axis, network_records, controls)
        axis.set_title(format_estimator(estimator), fontsize=10.5, loc="left")
    panels[0].set_ylabel(f"density over {final_records[0].unit}", fontsize=10)
    return figure


def compute_z_scores(record: RelationRecord) -> np.ndarray:
    """Returns (product - bound) / standard error of the pixels with estimates."""
    product, error = record.pixel_values("uncertainty_product")
    bound, bound_error = record.pixel_values("uncertainty_bound")
    with np.errstate(invalid="ignore", divide="ignore"):
        z_scores = (product - bound) / np.hypot(error, bound_error)
    return z_scores[np.isfinite(z_scores)]


def _draw_histogram(
    axis: Axes, records: Sequence[RelationRecord], constant_records: Sequence[RelationRecord]
) -> None:
    z_scores = np.concatenate([compute_z_scores(record) for record in records])
    low, high = min(-4.0, z_scores.min() - 0.5), max(4.0, z_scores.max() + 0.5)
    bins = np.linspace(low, high, 33)
    axis.hist(
        z_scores,
        bins,
        density=True,
        color=style.COLOURS[0],
        alpha=0.55,
        label=format_network(records[0]),
    )
    noise_scores = [compute_z_scores(record) for record in constant_records]
    if noise_scores and np.concatenate(noise_scores).size:
        axis.hist(
            np.clip(np.concatenate(noise_scores), low, high),
            bins,
            density=True,
            histtype="step",
            color=style.COLOURS[1],
            linewidth=1.4,
            label="constant network",
        )
    curve = np.linspace(low, high, 400)
    axis.plot(
        curve, stats.norm.pdf(curve), color="black", linewidth=1.2, label="normal, for pure noise"
    )
    axis.text(
        0.98,
        0.6,
        f"mean {z_scores.mean():+.2f}\ndeviation {z_scores.std():.2f}\n"
        f"beyond 3: {100 * np.mean(np.abs(z_scores) > 3):.1f} %\n(noise: 0.3 %)",
        transform=axis.transAxes,
        ha="right",
        va="top",
        fontsize=9,
        color=style.GREY,
        linespacing=1.4,
    )
    axis.set_xlabel("(product $-$ bound) / standard error", fontsize=10)
    axis.legend(frameon=False, fontsize=8.5, loc="upper right")
    style.style_axes(axis)


def plot_traces(records: Sequence[RelationRecord]) -> Figure | None:
    """Plots ln rho along every chain of the last network.

    Returns:
      The figure, a panel per label; None without chains.
    """
    chain_records = [record for record in records if "trace_log_density" in record.arrays]
    if not chain_records:
        return None
    final_records = select_final_records(chain_records)[:_MAX_PANELS]
    columns = min(2, len(final_records))
    num_rows = -(-len(final_records) // columns)
    figure, body = style.build_page(
        (4.6 * columns, 2.3 * num_rows),
        "Do the chains sample the same region?",
        style.format_subject(final_records, epochs=True),
        note="A colour per chain, black for their mean. Good chains "
        "cross one another all the time and have no trend.",
    )
    panels = body.subplots(num_rows, columns, squeeze=False, sharex=True)
    for axis in panels.flat[len(final_records) :]:
        axis.set_visible(False)
    for axis, record in zip(panels.flat, final_records, strict=False):
        _draw_trace(axis, record)
    for axis in panels[-1]:
        axis.set_xlabel("step after the burn-in", fontsize=10)
    for axis in panels[:, 0]:
        axis.set_ylabel(r"$\ln\,\rho$ + constant", fontsize=10)
    return figure


def _draw_trace(axis: Axes, record: RelationRecord) -> None:
    trace = np.asarray(record.arrays["trace_log_density"], float)
    length, chains = trace.shape
    steps = np.arange(1, length + 1) * record["n"] / (chains * length)
    for chain in range(chains):
        axis.plot(
            steps,
            trace[:, chain],
            linewidth=0.8,
            alpha=0.6,
            color=style.interpolate_colour(chain / max(chains - 1, 1)),
        )
    axis.plot(steps, trace.mean(1), color="black", linewidth=1.5)
    diagnostics = record["diagnostics"]
    r_hat = diagnostics.get("r_hat", np.nan)
    title = f"label {record['label']}: " if record["label"] is not None else ""
    title += f"R-hat {r_hat:.3f}, acceptance {diagnostics.get('acceptance', np.nan):.2f}"
    is_bad = not r_hat < MAX_R_HAT
    axis.set_title(
        title + (": CHAINS DISAGREE" if is_bad else ""),
        fontsize=9.5,
        loc="left",
        color=style.FLAGGED if is_bad else "black",
    )
    style.style_axes(axis)
