"""Pixel by pixel: sigma_x, sigma_p, their product and its error."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from qup import uncertainty_networks as networks
from qup.uncertainty_figures import look
from qup.uncertainty_measured import RelationRecord

_MAX_ROWS = 12
_ERROR_TITLE = "standard error\nof the product"


def plot_maps(records: Sequence[RelationRecord]) -> Figure | None:
    """Draws a row of maps for each label and channel of one network.

    Args:
      records: Of one packet and domain. Of several estimators of one label
        the more exact is shown.

    Returns:
      The figure; None without an image's shape, or pixels to fill it.
    """
    exact_records = networks.select_most_exact(
        [record for record in networks.select_final_records(records) if _has_image(record)]
    )
    rows = [(record, c) for record in exact_records for c in range(record["image_shape"][2])]
    if not rows:
        return None
    hidden, rows = rows[_MAX_ROWS:], rows[:_MAX_ROWS]
    columns = _build_columns(rows)
    note = _format_note(rows)
    if hidden:
        note += f" {len(hidden)} further rows are not shown."
    figure, body = look.build_page(
        (2.15 * len(columns) + 0.5, 1.95 * len(rows) + 0.55),
        "Widths and their product, pixel by pixel",
        look.format_subject([record for record, _ in rows], epochs=True),
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
        bar.ax.set_visible(bool(_finite_values(rows, [measure]).size))
        bar.ax.tick_params(labelsize=8)
        bar.ax.locator_params(nbins=3)
        bar.outline.set_visible(False)
    for axis, (record, channel) in zip(panels[:, 0], rows, strict=True):
        axis.set_ylabel(_format_row_name(record, channel), fontsize=9.5)
    return figure


def _format_note(rows) -> str:
    """Says what has to be known of these maps."""
    record = rows[0][0]
    note = "Under each name: the median of the pixels' standard errors."
    if record.domain != "box":
        note += " In the product's maps white is the bound, 1/2."
    if record.pixels.size < np.prod(record["image_shape"]):
        note += " Pixels left blank were not measured."
    if not all(np.isfinite(_get_values(record, "uncertainty_product")).all() for record, _ in rows):
        note += " Hatched pixels could not be estimated."
    return note


def _has_image(record: RelationRecord) -> bool:
    shape = record["image_shape"]
    return bool(shape) and len(shape) == 3 and record.pixels.size > 1


def _build_columns(rows) -> list[tuple[str, str, ScalarMappable]]:
    """Returns (title, measure, its colours) of every column."""
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
    errors = _finite_values(rows, [f"{measure}_stderr"])
    error_text = f"± {np.median(errors):.2g}" if errors.size else "not estimated"
    return f"{look.MEASURE_TITLES[measure]}\n{error_text}"


def _finite_values(rows, measures: Sequence[str]) -> np.ndarray:
    arrays = [_get_values(record, measure) for record, _ in rows for measure in measures]
    values = np.concatenate(arrays)
    return values[np.isfinite(values)]


def _get_values(record: RelationRecord, measure: str) -> np.ndarray:
    """Returns the values along all axes: of a measure, or of its error."""
    name = measure.removesuffix("_stderr")
    return record.all_values(name)[name != measure]


def _build_scale(rows, measures: Sequence[str]) -> ScalarMappable:
    values = _finite_values(rows, measures)
    low, high = np.quantile(values, (0.005, 0.995)) if values.size else (0, 1)
    value_range = max(high - low, 1e-6 * abs(high), 1e-9)
    return ScalarMappable(Normalize(low, low + value_range), "viridis")


def _build_half_scale(rows) -> ScalarMappable:
    distances = np.abs(_finite_values(rows, ["uncertainty_product"]) - 0.5)
    max_distance = max(float(np.quantile(distances, 0.98)) if distances.size else 1.0, 1e-5)
    return ScalarMappable(Normalize(0.5 - max_distance, 0.5 + max_distance), "RdBu_r")


def _choose_extend(rows, measure: str, scale: ScalarMappable) -> str:
    values = _finite_values(rows, [measure])
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
        # What is transparent lets it be seen.
        axis.patch.set(facecolor="#E4E4E4", edgecolor="#888888", hatch="////////", linewidth=0)
    white = np.dstack([np.ones((*is_blank.shape, 3)), is_blank])
    axis.imshow(white, interpolation="nearest")
    axis.imshow(image, cmap=scale.cmap, norm=scale.norm, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_color("#BBBBBB")


def _format_row_name(record: RelationRecord, channel: int) -> str:
    text = networks.format_labels([record])
    text += "\n" if text else ""
    if record["image_shape"][2] > 1:
        text += f"channel {channel}\n"
    return text + networks.format_estimator(record["estimator"])
