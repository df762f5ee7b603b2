"""The corrected uncertainty relation, from sums (Eqs. 14 and 19).

On a domain with the boundary term B_u (zero where the packet vanishes at
the boundary), with s = grad ln psi and rho = psi^2,

    sigma_x sigma_p >= 1/2 |1 - B| = |Cov_rho(x_u, s_u)|,
    sigma_p^2 = <p^2> - m^2,  m = E[s_u],
    <p^2> = E[s_u^2] = E[(u.grad ln l)^2] - E[(u.grad)^2 w / w].

The last form has no cross term, and a finite error where psi vanishes.
`docs/uncertainty.md` has the proofs.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from qup.measures.uncertainty import sums as sums_of
from qup.measures.uncertainty.axes import Axes
from qup.measures.uncertainty.sums import Estimate, Sums

# In the order in which they are told.
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


class SampleSubset(NamedTuple):
    """A few samples of an estimator.

    Attributes:
      points: [m, size].
      weights: float64 [m], of psi^2 over the density they were drawn from.
      groups: int [m], which group of the jackknife each belongs to.
    """

    points: np.ndarray
    weights: np.ndarray
    groups: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Relation:
    """What an estimator found, along every axis.

    Attributes:
      axes: The axes.
      estimates: Of each name of `MEASURES`, arrays [axes].
      estimator: "quadrature", "importance" or "mcmc".
      domain: Name of the domain.
      vanishes: Whether psi is 0 at the boundary, so that B is.
      n: Samples, or nodes.
      gradient_calls: Of the packet, burn-in included.
      effective_sample_size: Of the samples; the median of the axes' for
        "mcmc"; None for "quadrature".
      groups: The sums behind it.
      retained_samples: A few of the samples, for the faces; None for "quadrature".
      by_axis: Arrays [axes]: "effective_sample_size", how many independent
        samples the mean along an axis is worth, and of "mcmc" "r_hat".
      diagnostics: Further numbers of the estimator.
      traces: Arrays [stretches, chains] of a walk.
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
        """Degrees of freedom of an error bar: groups less one."""
        return len(self.groups["weight"]) - 1


def compute_measures(sums: Sums, vanishes: bool) -> dict[str, np.ndarray]:
    """Returns the measures of `MEASURES` but mean_x's origin.

    Args:
      sums: Sums, with any leading axes.
      vanishes: Whether psi is 0 at the boundary: then B = 0, m = 0 and the
        bound is 1/2, exactly.
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
        # 1/2 / |corr(x, s)|: the identity Cov = -1/2 takes most noise away
        "product_by_correlation": 0.5 * np.sqrt(variance_x * centred) / np.abs(covariance),
        "fisher_information": 4.0 * raw_variance_p,
    }


def _safe_sqrt(square: np.ndarray) -> np.ndarray:
    """Returns the root; 0 for the dust of rounding, NaN for what is none."""
    tolerance = -1e-12 * np.max(np.abs(square), initial=1.0)
    return np.sqrt(np.where(square >= tolerance, np.maximum(square, 0.0), np.nan))


def estimate_measures(groups: Sums, vanishes: bool, reference: np.ndarray) -> dict[str, Estimate]:
    """Returns the estimates of all groups, with errors where there are two.

    Args:
      groups: Sums whose first axis is the group.
      vanishes: See `compute_measures`.
      reference: [axes], the point from which y is counted.
    """
    if len(groups["weight"]) > 1:
        estimates = sums_of.jackknife(
            groups, lambda group_sums: compute_measures(group_sums, vanishes)
        )
    else:
        values = compute_measures(sums_of.sum_groups(groups), vanishes)
        estimates = {name: Estimate(value) for name, value in values.items()}
    mean_x = estimates["mean_x"]
    estimates["mean_x"] = Estimate(mean_x.value + reference, mean_x.stderr)
    if not vanishes:
        # Outside of a vanishing domain corr(x, s) has no such meaning.
        unknown = np.full_like(mean_x.value, np.nan)
        estimates["product_by_correlation"] = Estimate(unknown, unknown)
    return estimates
