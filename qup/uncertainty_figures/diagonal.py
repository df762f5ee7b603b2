"""Panels of one number against itself, measured in another way."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from qup import uncertainty_measured as measuring
from qup import uncertainty_networks as networks
from qup.uncertainty_figures import look
from qup.uncertainty_figures.series import Series
from qup.uncertainty_measured import RelationRecord

_PRODUCT = "uncertainty_product"


def draw_faces(axis: Axes, records: Sequence[RelationRecord], series: Series) -> None:
    """Draws B by the faces of the box against B by covariance."""
    for record in records:
        faces_record = record["faces"]
        by_covariance = [record.axis_value("boundary_term", name) for name in faces_record["axes"]]
        by_faces = np.array([faces_record["value"], faces_record["stderr"]], float)
        _draw_against(
            axis,
            _stack_estimates(by_covariance),
            by_faces,
            series.marker_style(record),
            find_allowed(record, "faces"),
        )
    axis.set_xlabel("B by covariance, 1 + 2 Cov(x, s)", fontsize=9.5)
    axis.set_ylabel("B by the faces", fontsize=9.5)
    _draw_diagonal(axis)


def pair_estimators(
    records: Sequence[RelationRecord],
) -> list[tuple[RelationRecord, RelationRecord]]:
    """Returns (importance, mcmc) of everything that was measured by both."""
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


def draw_estimators(
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
            axis, *products, series.marker_style(first), find_allowed(second, "estimators")
        )
    estimator_names = (networks.format_estimator(record["estimator"]) for record in record_pairs[0])
    axis.set_xlabel(f"product by {next(estimator_names)}", fontsize=9.5)
    axis.set_ylabel(f"product by {next(estimator_names)}", fontsize=9.5)
    _draw_diagonal(axis)


def find_allowed(record: RelationRecord, name: str) -> float:
    """Returns how many standard errors a check of a record allows."""
    allowed_values = [check["allowed"] for check in record["checks"] if check["name"] == name]
    return allowed_values[0] if allowed_values else measuring.Z_THRESHOLD


def draw_rings(axis: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Draws a ring around points."""
    axis.plot(
        x,
        y,
        "o",
        markersize=11,
        markerfacecolor="none",
        zorder=5,
        markeredgecolor=look.FLAGGED,
        markeredgewidth=1.6,
    )


def _stack_estimates(estimates: Sequence[measuring.MeanEstimate]) -> np.ndarray:
    """Returns values and errors: [2, n]."""
    return np.array([[estimate.value for estimate in estimates], [p.stderr for p in estimates]])


def _draw_against(
    axis: Axes, first: np.ndarray, second: np.ndarray, style: dict, max_z_score: float
) -> None:
    """Draws [values, errors], and rings around those too far from y = x."""
    x, y = first[0], second[0]
    axis.errorbar(
        x, y, second[1], first[1], linestyle="", markersize=4, elinewidth=0.8, alpha=0.75, **style
    )
    error = np.maximum(np.hypot(first[1], second[1]), 1e-6)
    is_far = np.abs(x - y) > max_z_score * error
    draw_rings(axis, x[is_far], y[is_far])


def _draw_diagonal(axis: Axes) -> None:
    """Makes both axes alike and draws the diagonal."""
    limits = np.array([axis.get_xlim(), axis.get_ylim()])
    low, high = limits.min(), limits.max()
    axis.plot([low, high], [low, high], color=look.GREY, lw=0.9, zorder=0)
    axis.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(MaxNLocator(4))
