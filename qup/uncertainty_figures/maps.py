"""Pixel by pixel: sigma_x, sigma_p, their product and its error."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from qup import uncertainty_networks as networks
from qup.uncertainty_figures import look
from qup.uncertainty_measured import Measured

_MOST_ROWS = 12
_ERROR = "standard error\nof the product"


def draw(found: Sequence[Measured]) -> Figure | None:
    """Draws a row of maps for each label and channel of one network.

    Args:
      found: Of one packet and domain. Of several estimators of one label
        the more exact is shown.

    Returns:
      The figure; None without an image's shape, or pixels to fill it.
    """
    chosen = networks.exact(
        [of for of in networks.main(found) if _pictured(of)]
    )
    rows = [(of, c) for of in chosen for c in range(of["image_shape"][2])]
    if not rows:
        return None
    hidden, rows = rows[_MOST_ROWS:], rows[:_MOST_ROWS]
    columns = _columns(rows)
    note = _note(rows)
    if hidden:
        note += f" {len(hidden)} further rows are not shown."
    figure, body = look.page(
        (2.15 * len(columns) + 0.5, 1.95 * len(rows) + 0.55),
        "Widths and their product, pixel by pixel",
        look.subject([of for of, _ in rows], epochs=True),
        note=note,
    )
    panels = body.subplots(len(rows), len(columns), squeeze=False)
    for place, (title, measure, scale) in enumerate(columns):
        column = panels[:, place]
        column[0].set_title(title, fontsize=10.5)
        for axis, (of, channel) in zip(column, rows, strict=True):
            _map(axis, of, measure, channel, scale)
        bar = body.colorbar(
            scale, ax=list(column), location="bottom", fraction=0.05,
            pad=0.02, aspect=18, extend=_extend(rows, measure, scale),
        )  # fmt: skip
        bar.ax.set_visible(bool(_values(rows, [measure]).size))
        bar.ax.tick_params(labelsize=8)
        bar.ax.locator_params(nbins=3)
        bar.outline.set_visible(False)
    for axis, (of, channel) in zip(panels[:, 0], rows, strict=True):
        axis.set_ylabel(_row_name(of, channel), fontsize=9.5)
    return figure


def _note(rows) -> str:
    """Says what has to be known of these maps."""
    of = rows[0][0]
    note = "Under each name: the median of the pixels' standard errors."
    if of.domain != "box":
        note += " In the product's maps white is the bound, 1/2."
    if of.pixels.size < np.prod(of["image_shape"]):
        note += " Pixels left blank were not measured."
    if not all(
        np.isfinite(_of(o, "uncertainty_product")).all() for o, _ in rows
    ):
        note += " Hatched pixels could not be estimated."
    return note


def _pictured(of: Measured) -> bool:
    shape = of["image_shape"]
    return bool(shape) and len(shape) == 3 and of.pixels.size > 1


def _columns(rows) -> list[tuple[str, str, ScalarMappable]]:
    """Returns (title, measure, its colours) of every column."""
    product = "uncertainty_product"
    box = rows[0][0].domain == "box"
    columns = [
        (name, _colours(rows, [name])) for name in ("sigma_x", "sigma_p")
    ]
    if box:
        both = [product, "uncertainty_bound"]
        columns += [(name, _colours(rows, both)) for name in both]
    else:
        columns.append((product, _around_half(rows)))
    error = f"{product}_stderr"
    titled = [(_title(rows, name), name, colours) for name, colours in columns]
    return [*titled, (_ERROR, error, _colours(rows, [error]))]


def _title(rows, measure: str) -> str:
    errors = _values(rows, [f"{measure}_stderr"])
    known = f"± {np.median(errors):.2g}" if errors.size else "not estimated"
    return f"{look.NAMES[measure]}\n{known}"


def _values(rows, measures: Sequence[str]) -> np.ndarray:
    found = [_of(of, measure) for of, _ in rows for measure in measures]
    values = np.concatenate(found)
    return values[np.isfinite(values)]


def _of(of: Measured, measure: str) -> np.ndarray:
    """Returns the values along all axes: of a measure, or of its error."""
    name = measure.removesuffix("_stderr")
    return of.every(name)[name != measure]


def _colours(rows, measures: Sequence[str]) -> ScalarMappable:
    values = _values(rows, measures)
    low, high = np.quantile(values, (0.005, 0.995)) if values.size else (0, 1)
    spread = max(high - low, 1e-6 * abs(high), 1e-9)
    return ScalarMappable(Normalize(low, low + spread), "viridis")


def _around_half(rows) -> ScalarMappable:
    away = np.abs(_values(rows, ["uncertainty_product"]) - 0.5)
    limit = max(float(np.quantile(away, 0.98)) if away.size else 1.0, 1e-5)
    return ScalarMappable(Normalize(0.5 - limit, 0.5 + limit), "RdBu_r")


def _extend(rows, measure: str, scale: ScalarMappable) -> str:
    values = _values(rows, [measure])
    slack = 1e-9 + 1e-6 * abs(scale.norm.vmax)
    low = (values < scale.norm.vmin - slack).any()
    high = (values > scale.norm.vmax + slack).any()
    return {(0, 0): "neither", (1, 0): "min", (0, 1): "max"}.get(
        (int(low), int(high)), "both"
    )


def _map(axis: Axes, of: Measured, measure: str, channel: int, scale) -> None:
    values = _of(of, measure)
    pixels = np.array([n.startswith("pixel:") for n in of.names], bool)
    image = np.full(of["image_shape"], np.nan).ravel()
    blank = np.ones(image.size, bool)
    image[of.pixels], blank[of.pixels] = values[pixels], False
    image, blank = (
        part.reshape(of["image_shape"])[..., channel] for part in (image, blank)
    )
    if (np.isnan(image) & ~blank).any():
        # What is transparent lets it be seen.
        axis.patch.set(
            facecolor="#E4E4E4", edgecolor="#888888", hatch="////////",
            linewidth=0,
        )  # fmt: skip
    white = np.dstack([np.ones((*blank.shape, 3)), blank])
    axis.imshow(white, interpolation="nearest")
    axis.imshow(
        image, cmap=scale.cmap, norm=scale.norm, interpolation="nearest"
    )
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_color("#BBBBBB")


def _row_name(of: Measured, channel: int) -> str:
    words = networks.labels([of])
    words += "\n" if words else ""
    if of["image_shape"][2] > 1:
        words += f"channel {channel}\n"
    return words + networks.estimator(of["estimator"])
