"""Checks of a measured relation that can fail.

sigma_x sigma_p >= |Cov(x, s)| holds on any weighted sample (Cauchy and Schwarz), so it tests
nothing. These do:

| name | what must be equal |
| --- | --- |
| covariance | Cov(x, s) and -1/2, where psi vanishes at the boundary |
| momentum | E[s] and 0, where psi vanishes at the boundary |
| forms | sigma_p with and without its cross term, in a Gaussian window |
| faces | B by covariance and B by the faces, on a box |
| chains | the variances of the chains: R-hat below 1.01 |
| estimators | the results of two estimators |
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from qup.core import errors, extras
from qup.uncertainty.relation import Estimate, Relation, Sums, compute_measures, jackknife

with extras.explain_missing("qup.uncertainty"):
    from scipy import stats

# Two-sided probability of a normal number beyond 3 standard errors.
FALSE_ALARM_RATE = 0.0027
MAX_R_HAT = 1.01
_MIN_COUNT_FOR_MEDIAN = 20
_ATOL = 1e-6


@dataclasses.dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes:
      name: See the table above.
      agrees: Whether it passed.
      furthest: Largest difference in standard errors; R-hat for "chains".
      allowed: Largest value that passes.
      n: Number of differences.
      message: The result as a sentence.
    """

    name: str
    agrees: bool
    furthest: float
    allowed: float
    n: int
    message: str


def compute_z_quantile(count: int, degrees_of_freedom: int) -> float:
    """Returns the largest allowed one of `count` differences, in standard errors.

    For one difference and a normal distribution it is 3. For more differences and fewer degrees
    of freedom the false alarm rate stays one in 370 (Sidak 1967, Student 1908).
    """
    tail_probability = 1.0 - (1.0 - FALSE_ALARM_RATE) ** (1.0 / count)
    return float(stats.t.isf(tail_probability / 2, degrees_of_freedom))


def compare_with_zero(
    name: str, difference: Estimate, degrees_of_freedom: int, subject: str
) -> Check:
    """Compares differences with 0.

    Of many differences every error counts as at least the median error: the smallest of many
    errors is small by chance, and values with such errors tend to be far off.

    Args:
      name: Of the check.
      difference: Arrays [count].
      degrees_of_freedom: Of the errors.
      subject: The compared quantities, as the subject of a sentence.
    """
    value, error = (np.ravel(array) for array in (difference.value, difference.stderr))
    is_known = np.isfinite(value) & np.isfinite(error)
    if is_known.sum() >= _MIN_COUNT_FOR_MEDIAN:
        error = np.maximum(error, np.median(error[is_known]))
    # Values without any error have to agree to rounding.
    z_scores = np.abs(value) / np.maximum(error, _ATOL)
    count = int(is_known.sum())
    if not count:
        return Check(name, False, np.nan, np.nan, 0, f"{subject}: could not be estimated.")
    furthest, allowed = (
        float(z_scores[is_known].max()),
        compute_z_quantile(count, degrees_of_freedom),
    )
    agrees = furthest <= allowed and count == len(value)
    verdict = "agree" if agrees else "DISAGREE"
    message = (
        f"{subject} {verdict}: they differ by at most {furthest:.1f} standard errors "
        f"({allowed:.1f} allowed, {count} compared)."
    )
    if count < len(value):
        message += f" {len(value) - count} could not be estimated."
    return Check(name, agrees, furthest, allowed, count, message)


def check_relation(
    relation: Relation, faces: Estimate | None = None, names: Sequence[str] = ()
) -> list[Check]:
    """Returns all checks of one relation.

    Args:
      relation: By importance sampling or MCMC.
      faces: See `boundary.estimate_by_conditionals`.
      names: Names of the axes of `faces`.
    """
    checks = _check_vanishing(relation) if relation.vanishes else []
    if faces is not None:
        checks.append(_check_faces(relation, faces, names))
    if "r_hat" in relation.diagnostics:
        checks.append(_check_chains(relation))
    return checks


def _check_vanishing(relation: Relation) -> list[Check]:
    def differences(groups: Sums) -> dict[str, np.ndarray]:
        measures = compute_measures(groups, vanishes=True)
        return {
            "covariance": measures["covariance"] + 0.5,
            "momentum": measures["mean_p"],
            "forms": measures["sigma_p_direct"] - measures["sigma_p"],
        }

    subjects = {
        "covariance": "Cov(x, s) and -1/2",
        "momentum": "The mean momentum and 0",
        "forms": "sigma_p with and without its cross term",
    }
    estimates = jackknife(relation.groups, differences)
    if relation.domain == "sine":
        # At a simple zero of psi the form with a cross term has no finite error.
        del estimates["forms"]
    return [
        compare_with_zero(name, estimate, relation.degrees_of_freedom, subjects[name])
        for name, estimate in estimates.items()
    ]


def _check_faces(relation: Relation, faces: Estimate, names: Sequence[str]) -> Check:
    indices = [relation.axes.names.index(name) for name in names]
    boundary_term = relation["boundary_term"][indices]
    error = np.hypot(boundary_term.stderr, faces.stderr)
    difference = Estimate(boundary_term.value - faces.value, error)
    return compare_with_zero(
        "faces", difference, relation.degrees_of_freedom, "B by covariance and by the faces"
    )


def _check_chains(relation: Relation) -> Check:
    r_hat = relation.diagnostics["r_hat"]
    agrees = r_hat < MAX_R_HAT
    worst = relation.axes.names[int(np.argmax(relation.by_axis["r_hat"]))]
    message = (
        f"The chains {'agree' if agrees else 'DISAGREE'}: the largest R-hat is {r_hat:.4f}, along "
        f"{worst} ({MAX_R_HAT} allowed)."
    )
    if not agrees:
        message += " Use more steps."
    return Check("chains", agrees, r_hat, MAX_R_HAT, len(relation.axes), message)


def check_agreement(
    first: Relation,
    second: Relation,
    measures: Sequence[str] = ("sigma_x", "sigma_p", "uncertainty_product", "covariance"),
) -> list[Check]:
    """Compares two estimators along the same axes.

    Raises:
      InputError: The axes or the domains differ.
    """
    if first.axes.names != second.axes.names or first.domain != second.domain:
        raise errors.InputError(
            "Only relations on one domain along the same axes can be compared; got "
            f"{len(first.axes)} axes on {first.domain!r} and {len(second.axes)} on "
            f"{second.domain!r}."
        )
    checks = []
    for measure in measures:
        first_estimate, second_estimate = first[measure], second[measure]
        difference = Estimate(
            first_estimate.value - second_estimate.value,
            np.hypot(first_estimate.stderr, second_estimate.stderr),
        )
        subject = f"{measure} by {first.estimator} and by {second.estimator}"
        degrees_of_freedom = min(first.degrees_of_freedom, second.degrees_of_freedom)
        checks.append(compare_with_zero("estimators", difference, degrees_of_freedom, subject))
    return checks
