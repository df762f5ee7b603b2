"""The corrected uncertainty relation, from sums (Eqs. 14 and 19).

On a domain with the boundary term B_u (zero where the packet vanishes at the boundary), with
s = grad ln psi and rho = psi^2,

    sigma_x sigma_p >= 1/2 |1 - B| = |Cov_rho(x_u, s_u)|,
    sigma_p^2 = <p^2> - m^2,  m = E[s_u],
    <p^2> = E[s_u^2] = E[(u.grad ln l)^2] - E[(u.grad)^2 w / w].

The last form has no cross term, and a finite error where psi vanishes. `docs/uncertainty.md` has
the proofs.

Estimators sum weighted columns over samples, in groups, so memory does not depend on the number
of samples. A jackknife over the groups gives the errors.

| name | sum of weight times | shape |
| --- | --- | --- |
| weight, weight_squared | 1, weight | [] |
| y, yy | x_u - reference, its square | [axes] |
| s, ss, ys | s_u = u.grad ln psi, its square, y s_u | [axes] |
| ll | (u.grad ln l)^2 | [axes] |
| h | (u.grad)^2 w / w | [axes] |
| matrix_yy, matrix_ss, matrix_ys | outer products along directions | [k, k] |
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qup.core import errors
from qup.uncertainty.axes import Axes

# In the order of tables.
MEASURES = (
    "sigma_x",
    "sigma_p",
    "uncertainty_product",
    "uncertainty_bound",
    "boundary_term",
    "covariance",
    "mean_x",
    "mean_p",
    "sigma_p_raw",
    "sigma_p_direct",
    "product_by_correlation",
    "fisher_information",
)

Sums = Mapping[str, np.ndarray]


def compute_columns(
    displacement: tf.Tensor,
    packet_gradient: tf.Tensor,
    window_gradient: tf.Tensor,
    curvature: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """Returns the columns to sum along axes: float64 [n, axes] for each name.

    Args:
      displacement: x_u - reference, [n, axes].
      packet_gradient: u.grad ln l.
      window_gradient: u.grad ln w.
      curvature: (u.grad)^2 w / w.
    """
    y, sl, t, h = (
        tf.cast(column, tf.float64)
        for column in (displacement, packet_gradient, window_gradient, curvature)
    )
    s = sl + t
    return {"y": y, "yy": y * y, "s": s, "ss": s * s, "ys": y * s, "ll": sl * sl, "h": h}


def sum_batch(
    weights: tf.Tensor, columns: Mapping[str, tf.Tensor], num_directions: int
) -> dict[str, tf.Tensor]:
    """Returns the sums of one batch.

    Args:
      weights: float64 [n].
      columns: See `compute_columns`.
      num_directions: The last that many axes enter the matrices.
    """
    sums = {
        name: tf.linalg.matvec(column, weights, transpose_a=True)
        for name, column in columns.items()
    }
    sums["weight"] = tf.reduce_sum(weights)
    sums["weight_squared"] = tf.reduce_sum(weights**2)
    if num_directions:
        y, s = (columns[name][:, -num_directions:] for name in "ys")
        weighted_y, weighted_s = weights[:, None] * y, weights[:, None] * s
        sums["matrix_yy"] = tf.matmul(weighted_y, y, transpose_a=True)
        sums["matrix_ys"] = tf.matmul(weighted_y, s, transpose_a=True)
        sums["matrix_ss"] = tf.matmul(weighted_s, s, transpose_a=True)
    return sums


def compute_chain_increments(
    columns: Mapping[str, tf.Tensor], num_directions: int
) -> dict[str, tf.Tensor]:
    """Returns the increments of each chain's sums by one step, of weight 1.

    Args:
      columns: See `compute_columns`; the first axis is the chain.
      num_directions: See `sum_batch`.
    """
    ones = tf.ones_like(columns["y"][:, 0])
    increments = {**columns, "weight": ones, "weight_squared": ones}
    if num_directions:
        y, s = (columns[name][:, -num_directions:] for name in "ys")
        for name, first, second in (("yy", y, y), ("ys", y, s), ("ss", s, s)):
            increments[f"matrix_{name}"] = first[:, :, None] * second[:, None]
    return increments


class GroupSums:
    """Accumulates the sums of groups of samples; the first axis of `arrays` is the group."""

    def __init__(self, count: int):
        self._count = count
        self.arrays: dict[str, np.ndarray] = {}

    def add(self, group: int, sums: Mapping[str, np.ndarray]) -> None:
        """Adds the sums of one batch to a group."""
        for name, value in sums.items():
            value = np.asarray(value)
            if name not in self.arrays:
                self.arrays[name] = np.zeros((self._count, *value.shape))
            self.arrays[name][group] += value


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with its standard error, along every axis.

    Attributes:
      value: float64; NaN where it could not be estimated.
      stderr: Of the same shape; None without samples, as by quadrature.
    """

    value: np.ndarray
    stderr: np.ndarray | None = None

    def __getitem__(self, index) -> "Estimate":
        error = None if self.stderr is None else self.stderr[index]
        return Estimate(self.value[index], error)


def sum_groups(groups: Sums) -> dict[str, np.ndarray]:
    """Returns the sums of all groups together."""
    return {name: sums.sum(0) for name, sums in groups.items()}


def jackknife(
    groups: Sums, statistics: Callable[[Sums], dict[str, np.ndarray]], num_averaged: int = 1
) -> dict[str, Estimate]:
    """Estimates ratios of sums, their errors and their bias of first order.

    Every group is left out once (Quenouille 1956; Tukey 1958). Where a value is nearly
    stationary, as a product near 1/2 is, the first order says little about its error: twice the
    square of the bias, the variance of a term of second order in one normal number, is added.

    Args:
      groups: Arrays whose first axis is the group, two groups or more.
      statistics: Sums -> named arrays; leading axes pass through.
      num_averaged: Number of axes that each value is a mean of; their terms of second order
        are independent.

    Returns:
      For each name: value - bias, and the standard error.
    """
    values, without = leave_one_out(groups, statistics)
    return {
        name: jackknife_estimate(value, without[name], num_averaged)
        for name, value in values.items()
    }


def leave_one_out(
    groups: Sums, statistics: Callable[[Sums], dict[str, np.ndarray]]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns statistics of all groups, and those without each group."""
    totals = sum_groups(groups)
    without = {name: totals[name] - groups[name] for name in totals}
    return statistics(totals), statistics(without)


def jackknife_estimate(value: np.ndarray, without: np.ndarray, num_averaged: int = 1) -> Estimate:
    """Returns the jackknife estimate.

    Args:
      value: Of all groups.
      without: Without each group: [groups, ...].
      num_averaged: See `jackknife`.
    """
    count, mean = len(without), without.mean(0)
    variance = ((without - mean) ** 2).mean(0) * (count - 1)
    bias = (count - 1) * (mean - value)
    return Estimate(value - bias, np.sqrt(variance + 2 * bias**2 / num_averaged))


def compute_effective_size(groups: Sums) -> float:
    """Returns the effective sample size (sum v)^2 / sum v^2 (Kish 1965)."""
    totals = sum_groups(groups)
    if totals["weight_squared"] <= 0:
        return 0.0
    return float(totals["weight"] ** 2 / totals["weight_squared"])


class SampleSubset(NamedTuple):
    """A few samples of an estimator.

    Attributes:
      points: [m, size].
      weights: float64 [m], psi^2 over the density of the samples.
      groups: int [m], the jackknife group of each sample.
    """

    points: np.ndarray
    weights: np.ndarray
    groups: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Relation:
    """The estimates of both sides of the relation, along every axis.

    Attributes:
      axes: The axes.
      estimates: For each name of `MEASURES`, arrays [axes].
      estimator: "quadrature", "importance" or "mcmc".
      domain: Name of the domain.
      vanishes: Whether psi is 0 at the boundary, so that B is 0.
      n: Number of samples or nodes.
      gradient_calls: Gradients of the packet, burn-in included.
      effective_sample_size: For "mcmc" the median over the axes; None for "quadrature".
      groups: Sums whose first axis is the group.
      retained_samples: A few of the samples, for the faces; None for "quadrature".
      by_axis: Arrays [axes]: "effective_sample_size", the number of independent samples with
        the same error of the mean, and of "mcmc" "r_hat".
      diagnostics: Further numbers of the estimator.
      traces: Arrays [chunks, chains] of Markov chains.
    """

    axes: Axes
    estimates: Mapping[str, Estimate]
    estimator: str
    domain: str
    vanishes: bool
    n: int
    gradient_calls: int
    effective_sample_size: float | None
    groups: Sums
    retained_samples: SampleSubset | None = None
    by_axis: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    diagnostics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    traces: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __getitem__(self, measure: str) -> Estimate:
        return self.estimates[measure]

    @property
    def degrees_of_freedom(self) -> int:
        """Degrees of freedom of an error: the number of groups minus 1."""
        return len(self.groups["weight"]) - 1


def compute_measures(sums: Sums, vanishes: bool) -> dict[str, np.ndarray]:
    """Returns the measures of `MEASURES`; mean_x is relative to the reference.

    Args:
      sums: Sums, with any leading axes.
      vanishes: Whether psi is 0 at the boundary: then B = 0, m = 0 and the bound is 1/2,
        exactly.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return _compute_measures(sums, vanishes)


def _compute_measures(sums: Sums, vanishes: bool) -> dict[str, np.ndarray]:
    weight = sums["weight"][..., None]
    y, yy, s, ss, ys, ll, h = (
        sums[name] / weight for name in ("y", "yy", "s", "ss", "ys", "ll", "h")
    )
    variance_x = np.maximum(yy - y**2, 0.0)
    covariance = ys - y * s
    # <p^2> = E[(u.grad ln l)^2] - E[(u.grad)^2 w / w]
    raw_variance_p = ll - h
    variance_p = raw_variance_p if vanishes else raw_variance_p - s**2
    sigma_x, sigma_p = np.sqrt(variance_x), _safe_sqrt(variance_p)
    centred = np.maximum(ss - s**2, 0.0)
    return {
        "sigma_x": sigma_x,
        "sigma_p": sigma_p,
        "uncertainty_product": sigma_x * sigma_p,
        # 1/2 |1 - B|, and 1 - B = -2 Cov(x, s)
        "uncertainty_bound": np.full_like(covariance, 0.5) if vanishes else np.abs(covariance),
        "boundary_term": 1.0 + 2.0 * covariance,
        "covariance": covariance,
        "mean_x": y,
        "mean_p": s,
        "sigma_p_raw": _safe_sqrt(raw_variance_p),
        "sigma_p_direct": np.sqrt(centred),
        # 1/2 / |corr(x, s)|: the identity Cov = -1/2 removes most noise
        "product_by_correlation": 0.5 * np.sqrt(variance_x * centred) / np.abs(covariance),
        "fisher_information": 4.0 * raw_variance_p,
    }


def _safe_sqrt(square: np.ndarray) -> np.ndarray:
    """Returns the root; 0 for negative rounding errors, NaN for other negative numbers."""
    tolerance = -1e-12 * np.max(np.abs(square), initial=1.0)
    return np.sqrt(np.where(square >= tolerance, np.maximum(square, 0.0), np.nan))


def estimate_measures(groups: Sums, vanishes: bool, reference: np.ndarray) -> dict[str, Estimate]:
    """Returns the estimates of all groups, with errors where there are two groups or more.

    Args:
      groups: Sums whose first axis is the group.
      vanishes: See `compute_measures`.
      reference: [axes], the origin of y.
    """
    if len(groups["weight"]) > 1:
        estimates = jackknife(groups, lambda group_sums: compute_measures(group_sums, vanishes))
    else:
        values = compute_measures(sum_groups(groups), vanishes)
        estimates = {name: Estimate(value) for name, value in values.items()}
    mean_x = estimates["mean_x"]
    estimates["mean_x"] = Estimate(mean_x.value + reference, mean_x.stderr)
    if not vanishes:
        # 1/2 / |corr(x, s)| equals the product only where Cov(x, s) = -1/2.
        unknown = np.full_like(mean_x.value, np.nan)
        estimates["product_by_correlation"] = Estimate(unknown, unknown)
    return estimates


def compute_differences(first: Relation, second: Relation) -> dict[str, Estimate]:
    """Returns `second` minus `first` along every axis, for each name of `MEASURES`.

    Importance sampling with one seed draws the same points for every network. Noise that both
    share cancels: the jackknife leaves a group out of both and gives the error of the difference.

    Args:
      first: By importance sampling.
      second: By importance sampling with the same seed, numbers of samples and groups, in the
        same domain along the same axes.

    Raises:
      InputError: They are not of the same samples.
    """
    _check_same_samples(first, second)
    first_values, second_values = (
        _leave_one_out_measures(relation, lambda values: values) for relation in (first, second)
    )
    return {
        name: jackknife_difference(first_values[name], second_values[name]) for name in MEASURES
    }


def leave_one_out_means(relation: Relation) -> dict[str, np.ndarray]:
    """Returns means over the pixels, or over directions without pixels.

    Returns:
      For each name of `MEASURES` [1 + groups]: of all groups, and without each group; empty for
      a single group.
    """
    if len(relation.groups["weight"]) < 2:
        return {}
    count = len(relation.axes.pixels) or len(relation.axes)
    return _leave_one_out_measures(relation, lambda values: values[..., :count].mean(-1))


def jackknife_difference(first: np.ndarray, second: np.ndarray, num_averaged: int = 1) -> Estimate:
    """Returns `second` minus `first`.

    Args:
      first: A value of all groups, and without each: [1 + groups, ...].
      second: The same of the same samples.
      num_averaged: See `jackknife`.
    """
    differences = second - first
    return jackknife_estimate(differences[0], differences[1:], num_averaged)


def _leave_one_out_measures(
    relation: Relation, reduce_axes: Callable[[np.ndarray], np.ndarray]
) -> dict[str, np.ndarray]:
    def reduce_measures(groups: Sums) -> dict[str, np.ndarray]:
        values = compute_measures(groups, relation.vanishes)
        return {name: reduce_axes(values[name]) for name in MEASURES}

    totals, without = leave_one_out(relation.groups, reduce_measures)
    return {name: np.concatenate([value[None], without[name]]) for name, value in totals.items()}


def _check_same_samples(first: Relation, second: Relation) -> None:
    is_comparable = (
        first.estimator == second.estimator == "importance"
        and first.domain == second.domain
        and first.axes.names == second.axes.names
        and len(first.groups["weight"]) == len(second.groups["weight"])
        and np.array_equal(first.retained_samples.points, second.retained_samples.points)
    )
    if not is_comparable:
        descriptions = [
            f"{relation.estimator} of {relation.n} points" for relation in (first, second)
        ]
        raise errors.InputError(
            "Differences need two relations by importance sampling on the same points; got "
            f"{descriptions[0]} and {descriptions[1]}, or other points. Give both the same domain, "
            "axes, seed, num_samples and num_groups."
        )
