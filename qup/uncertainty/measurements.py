"""A measured uncertainty relation as rows: means and medians over pixels.

Pixels share their samples, so the error of their mean is a jackknife of the mean. A median has no
error: near the bound, where noise is asymmetric, the median of noisy numbers is biased.

Where psi does not vanish at the boundary the bound is |Cov(x, s)|, which noise alone makes larger
than 0: "uncertainty_bound_resolved" is the percentage of pixels with |Cov(x, s)| above its noise.

Between directions "matrix_least_eigenvalue" is that of Sigma - C P_c^-1 C^T, 0 where a combination
of directions is at its bound; and, where psi does not vanish at the boundary,
"matrix_least_eigenvalue_without_b" that of Sigma - P^-1 / 4, negative where a combination violates
the bound of 1/2.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from qup.core.measurements import UNCERTAINTY_EVALUATION, Measurement, ModelInfo, Row
from qup.uncertainty import matrix
from qup.uncertainty.mixing import TooFewError
from qup.uncertainty.relation import Estimate, Relation, Sums, compute_measures, jackknife

ROW_MEASURES = (
    "sigma_x",
    "sigma_p",
    "uncertainty_product",
    "uncertainty_bound",
    "boundary_term",
    "covariance",
)
BOUND_RESOLVED = "uncertainty_bound_resolved"
_UNKNOWN_ESTIMATE = Estimate(np.array(np.nan))
# A covariance of more standard errors than this is above its noise.
_Z_THRESHOLD = 2.0


def build_relation_rows(
    model_info: ModelInfo, relation: Relation, *, named_axes: Sequence[str] = (), artifact: str = ""
) -> list[Row]:
    """Returns the rows of one relation.

    Args:
      model_info: The network, with the parameters packet, domain, label, ...
      relation: By importance sampling or MCMC.
      named_axes: Names of axes with their own rows.
      artifact: Path of the .npz of all axes.

    Returns:
      For each of `ROW_MEASURES` the mean and the median over the pixels
      ({"over":"pixels","statistic":"mean"}) and the value along each of `named_axes`
      ({"over":"axis","axis":"pca:0"}); for two directions or more the eigenvalues of the matrix
      form ({"over":"directions"}); effective_sample_size and, of chains, the worst r_hat and
      least_effective_sample_size of all axes. Unknown values are NaN, unknown errors None.
    """
    model_info = model_info.with_parameters(
        evaluation=UNCERTAINTY_EVALUATION, estimator=relation.estimator
    )
    rows = _build_pixel_rows(model_info, relation) if len(relation.axes.pixels) else []
    rows += _build_axis_rows(model_info, relation, named_axes) + _build_matrix_rows(
        model_info, relation
    )
    sizes = {"effective_sample_size": relation.effective_sample_size}
    worst_measures = ("r_hat", "least_effective_sample_size")
    sizes |= {name: value for name, value in relation.diagnostics.items() if name in worst_measures}
    rows += [
        model_info.build_row(measure, Measurement(float(value), None, relation.n))
        for measure, value in sizes.items()
    ]
    return [dataclasses.replace(row, artifact=artifact) for row in rows]


def build_refusal_row(model_info: ModelInfo, estimator: str, error: TooFewError) -> Row:
    """Returns the row "effective_sample_size" of a refused estimate, with {"refused": True}."""
    refused_info = model_info.with_parameters(
        evaluation=UNCERTAINTY_EVALUATION, estimator=estimator, refused=True
    )
    size = Measurement(error.size, None, error.count)
    return refused_info.build_row("effective_sample_size", size)


def _list_measures(relation: Relation) -> tuple[str, ...]:
    """Returns the measures with rows; 1/2 / |corr(x, s)| only where it equals the product."""
    extra = ("product_by_correlation",) if relation.vanishes else ()
    return ROW_MEASURES + extra


def _build_pixel_rows(model_info: ModelInfo, relation: Relation) -> list[Row]:
    count, measures = len(relation.axes.pixels), _list_measures(relation)

    def over_pixels(groups: Sums) -> dict[str, np.ndarray]:
        values = compute_measures(groups, relation.vanishes)
        return {name: values[name][..., :count].mean(-1) for name in measures}

    means = jackknife(relation.groups, over_pixels, num_averaged=count)
    rows = []
    for measure in measures:
        mean_info = model_info.with_parameters(over="pixels", statistic="mean")
        pixel_values = relation[measure].value[:count]
        # A mean over pixels without values has none.
        mean_estimate = means[measure] if np.isfinite(pixel_values).all() else _UNKNOWN_ESTIMATE
        rows.append(mean_info.build_row(measure, _to_measurement(mean_estimate, relation.n)))
        median_estimate = Estimate(np.median(pixel_values))
        median_info = model_info.with_parameters(over="pixels", statistic="median")
        rows.append(median_info.build_row(measure, _to_measurement(median_estimate, relation.n)))
    if not relation.vanishes:
        pixel_info = model_info.with_parameters(over="pixels")
        share = Measurement(
            _compute_resolved_percent(relation["covariance"][:count]), None, relation.n
        )
        rows.append(pixel_info.build_row(BOUND_RESOLVED, share))
    return rows


def _compute_resolved_percent(covariance: Estimate) -> float:
    """Returns the percentage of axes with |Cov(x, s)| above its noise."""
    value, error = np.abs(covariance.value), covariance.stderr
    return float(100 * np.mean(value > _Z_THRESHOLD * error))


def _build_axis_rows(
    model_info: ModelInfo, relation: Relation, named_axes: Iterable[str]
) -> list[Row]:
    rows = []
    for name in named_axes:
        index = relation.axes.names.index(name)
        axis_info = model_info.with_parameters(over="axis", axis=name)
        rows += [
            axis_info.build_row(measure, _to_measurement(relation[measure][index], relation.n))
            for measure in _list_measures(relation)
        ]
    return rows


def _build_matrix_rows(model_info: ModelInfo, relation: Relation) -> list[Row]:
    if len(relation.axes.directions) < 2:
        return []
    form = matrix.compute_matrix_form(relation)
    direction_info = model_info.with_parameters(over="directions")
    eigenvalues = {"matrix_least_eigenvalue": form.least}
    if not relation.vanishes:
        # Elsewhere noise alone makes it negative.
        eigenvalues["matrix_least_eigenvalue_without_b"] = form.least_vanishing
    return [
        direction_info.build_row(measure, _to_measurement(estimate, relation.n))
        for measure, estimate in eigenvalues.items()
    ]


def _to_measurement(estimate: Estimate, n: int) -> Measurement:
    error = np.nan if estimate.stderr is None else float(estimate.stderr)
    is_known = np.isfinite(error)
    return Measurement(float(estimate.value), error if is_known else None, n)
