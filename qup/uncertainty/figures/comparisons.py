"""Figures of checks: two estimates of one number against each other."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from qup.uncertainty.figures import style
from qup.uncertainty.figures.style import Series
from qup.uncertainty.records import (
    Z_THRESHOLD,
    MeanEstimate,
    RelationRecord,
    format_estimator,
    format_labels,
    format_network,
    select_final_records,
)

_PRODUCT = "uncertainty_product"
# Larger ratios to the allowed difference are drawn at this one.
_MAX_RATIO = 2.0
_CHECK_TITLES = {
    "covariance": "Cov(x, s) = $-$½",
    "momentum": "mean momentum = 0",
    "forms": r"two forms of $\sigma_p$",
    "faces": "B two ways",
    "chains": "R-hat of chains",
    "estimators": "two estimators",
}


def _draw_faces(axis: Axes, records: Sequence[RelationRecord], series: Series) -> None:
    """Draws B by the faces of the box against B by covariance."""
    for record in records:
        faces_record = record["faces"]
        by_covariance = [record.axis_value("boundary_term", name) for name in faces_record["axes"]]
        by_faces = np.array([faces_record["value"], faces_record["stderr"]], float)
        _draw_against(
            axis,
            _stack_estimates(by_covariance),
            by_faces,
            series.build_marker(record),
            _find_allowed(record, "faces"),
        )
    axis.set_xlabel("B by covariance, 1 + 2 Cov(x, s)", fontsize=9.5)
    axis.set_ylabel("B by the faces", fontsize=9.5)
    _draw_diagonal(axis)


def _pair_estimators(
    records: Sequence[RelationRecord],
) -> list[tuple[RelationRecord, RelationRecord]]:
    """Returns (importance, mcmc) of every setting with both estimators."""
    names = ("label", "domain_text", "epochs", "control", "temperature", "centre", "model")

    def build_key(record: RelationRecord) -> tuple:
        return tuple(record[name] for name in names)

    importance_records = {
        build_key(record): record for record in records if record["estimator"] == "importance"
    }
    return [
        (importance_records[build_key(record)], record)
        for record in records
        if record["estimator"] == "mcmc" and build_key(record) in importance_records
    ]


def _draw_estimators(
    axis: Axes, record_pairs: Sequence[tuple[RelationRecord, RelationRecord]], series: Series
) -> None:
    """Draws the product by MCMC against that by importance sampling."""
    for first, second in record_pairs:
        names = [name for name in first.names if name in second.names]
        products = [
            _stack_estimates([record.axis_value(_PRODUCT, name) for name in names])
            for record in (first, second)
        ]
        _draw_against(
            axis, *products, series.build_marker(first), _find_allowed(second, "estimators")
        )
    estimator_names = (format_estimator(record["estimator"]) for record in record_pairs[0])
    axis.set_xlabel(f"product by {next(estimator_names)}", fontsize=9.5)
    axis.set_ylabel(f"product by {next(estimator_names)}", fontsize=9.5)
    _draw_diagonal(axis)


def _find_allowed(record: RelationRecord, name: str) -> float:
    """Returns the allowed number of standard errors of a check."""
    allowed_values = [check["allowed"] for check in record["checks"] if check["name"] == name]
    return allowed_values[0] if allowed_values else Z_THRESHOLD


def _draw_rings(axis: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Draws rings around points."""
    axis.plot(
        x,
        y,
        "o",
        markersize=11,
        markerfacecolor="none",
        zorder=5,
        markeredgecolor=style.FLAGGED,
        markeredgewidth=1.6,
    )


def _stack_estimates(estimates: Sequence[MeanEstimate]) -> np.ndarray:
    """Returns values and errors: [2, n]."""
    return np.array([[estimate.value for estimate in estimates], [p.stderr for p in estimates]])


def _draw_against(
    axis: Axes, first: np.ndarray, second: np.ndarray, marker: dict, max_z_score: float
) -> None:
    """Draws [values, errors], and rings around those too far from y = x."""
    x, y = first[0], second[0]
    axis.errorbar(
        x, y, second[1], first[1], linestyle="", markersize=4, elinewidth=0.8, alpha=0.75, **marker
    )
    error = np.maximum(np.hypot(first[1], second[1]), 1e-6)
    is_far = np.abs(x - y) > max_z_score * error
    _draw_rings(axis, x[is_far], y[is_far])


def _draw_diagonal(axis: Axes) -> None:
    """Gives both axes the same limits and draws the diagonal."""
    limits = np.array([axis.get_xlim(), axis.get_ylim()])
    low, high = limits.min(), limits.max()
    axis.plot([low, high], [low, high], color=style.GREY, lw=0.9, zorder=0)
    axis.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(MaxNLocator(4))


def plot_checks(records: Sequence[RelationRecord]) -> Figure | None:
    """Plots the checks of one packet in one kind of domain, with all widths of a window.

    Returns:
      The figure; None without checks.
    """
    panels = [
        (draw_panel, panel_records)
        for draw_panel, panel_records in (
            (_draw_faces, [record for record in records if record["faces"]]),
            (_draw_covariance, _select_worst(records)),
            (_draw_estimators, _pair_estimators(records)),
            (_draw_widths, _select_windows(records)),
            (_draw_check_ratios, [record for record in records if record["checks"]]),
        )
        if panel_records
    ]
    if not panels:
        return None
    columns = min(2, len(panels))
    num_rows = -(-len(panels) // columns)
    series = Series(records)
    figure, body = style.build_page(
        (4.7 * columns, 3.6 * num_rows),
        "Two estimates of one number",
        style.format_subject(records),
        handles=series.build_handles(),
        note="Bars are one standard error. Orange rings and diamonds: larger differences "
        "than chance allows.",
    )
    axes = body.subplots(num_rows, columns, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (draw_panel, panel_records) in zip(axes.flat, panels, strict=False):
        draw_panel(axis, panel_records, series)
        style.style_axes(axis, "both")
    return figure


def _select_worst(records: Sequence[RelationRecord]) -> list[RelationRecord]:
    """Returns the record with the covariance furthest from -1/2, if any."""
    candidates = [record for record in select_final_records(records) if record["vanishes"]]
    candidates = [
        record for record in candidates if np.isfinite(record.pixel_values("covariance")[0]).any()
    ]

    def max_z_score(record: RelationRecord) -> float:
        value, error = record.pixel_values("covariance")
        return float(np.nanmax(np.abs(value + 0.5) / np.maximum(error, 1e-6)))

    return [max(candidates, key=max_z_score)] if candidates else []


def _draw_covariance(axis: Axes, records: Sequence[RelationRecord], series: Series) -> None:
    (record,) = records
    value, error = record.pixel_values("covariance")
    positions = record.pixels if record.pixels.size else np.arange(len(value))
    marker = {**series.build_marker(record), "linestyle": "", "markersize": 2.5}
    pale_colour = to_rgba(marker["color"], 0.3)
    axis.errorbar(positions, value, error, elinewidth=0.7, ecolor=pale_colour, **marker)
    axis.axhline(-0.5, color="black", linewidth=1.0, zorder=4)
    is_far = np.abs(value + 0.5) > _find_allowed(record, "covariance") * error
    _draw_rings(axis, positions[is_far], value[is_far])
    title = [format_labels([record]), format_estimator(record["estimator"])]
    title = ", ".join(phrase for phrase in title if phrase)
    axis.set_title(f"Furthest from $-$½: {title}", fontsize=9.5, loc="left")
    axis.set_xlabel(record.unit.removesuffix("s"), fontsize=9.5)
    axis.set_ylabel("Cov(x, s)", fontsize=9.5)


def _select_windows(records: Sequence[RelationRecord]) -> list[RelationRecord]:
    """Returns the records of the last network if they have several widths."""
    window_records = [
        record for record in select_final_records(records) if np.isfinite(record.width)
    ]
    return window_records if len({record.width for record in window_records}) > 1 else []


def _draw_widths(axis: Axes, records: Sequence[RelationRecord], series: Series) -> None:
    widths = sorted({record.width for record in records})
    for record in records:
        x = style.shift_position(record.width, widths, series.compute_offset(record))
        product = record.mean("uncertainty_product")
        style.draw_point(axis, x, product, **series.build_marker(record))
    style.draw_reference(axis, records, "uncertainty_product")
    style.set_ticks(axis, widths)
    network_name = format_network(records[0])
    axis.set_title(f"Window by window: {network_name}", fontsize=9.5, loc="left")
    axis.set_xlabel("width s of the window", fontsize=9.5)
    axis.set_ylabel(f"mean product over {records[0].unit}", fontsize=9.5)


def _draw_check_ratios(axis: Axes, records: Sequence[RelationRecord], series: Series) -> None:
    """Draws the largest difference of every check over the allowed one."""
    all_checks = [check for record in records for check in record["checks"]]
    names = list(dict.fromkeys(check["name"] for check in all_checks))
    for index, name in enumerate(names):
        named_checks = [check for check in all_checks if check["name"] == name]
        is_failed = np.array([not check["agrees"] for check in named_checks])
        ratios = np.array([_compute_ratio(check) for check in named_checks])
        ratios = np.clip(np.nan_to_num(ratios, nan=_MAX_RATIO), 0, _MAX_RATIO)
        positions = index + np.linspace(-0.25, 0.25, len(named_checks)) * (len(named_checks) > 1)
        axis.plot(
            ratios[~is_failed], positions[~is_failed], "o", color=style.GREY, ms=3.5, alpha=0.7
        )
        axis.plot(ratios[is_failed], positions[is_failed], "D", color=style.FLAGGED, ms=6)
    axis.axvline(1.0, color="black", linewidth=1.0)
    axis.set_yticks(range(len(names)), [_CHECK_TITLES.get(name, name) for name in names])
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlim(0, 1.05 * _MAX_RATIO)
    axis.set_xticks([0, 0.5, 1, 1.5, _MAX_RATIO], ["0", "½", "1", "1½", "2 or more"])
    num_failed = sum(not check["agrees"] for check in all_checks)
    title = f"All {len(all_checks)} checks agree"
    if num_failed:
        title = f"{num_failed} of {len(all_checks)} checks DISAGREE"
    axis.set_title(title, fontsize=9.5, loc="left", color=style.FLAGGED if num_failed else "black")
    axis.set_xlabel("furthest difference / allowed difference", fontsize=9.5)


def _compute_ratio(check: dict) -> float:
    """Returns a difference over the allowed one; for R-hat the difference from 1."""
    start = 1.0 if check["name"] == "chains" else 0.0
    return (check["furthest"] - start) / (check["allowed"] - start)
