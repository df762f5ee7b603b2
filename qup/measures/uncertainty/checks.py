"""Checks that can fail, of a measured relation.

That sigma_x sigma_p >= |Cov(x, s)| holds on any weighted sample by itself
(Cauchy and Schwarz), so it tests nothing. These do:

| name | what must be equal |
| --- | --- |
| covariance | Cov(x, s) and -1/2, where psi vanishes at the boundary |
| momentum | E[s] and 0, there |
| forms | sigma_p with and without its cross term, in a Gaussian window |
| faces | B by covariance and B by the faces, on a box |
| chains | the chains' variances: R-hat below 1.01 |
| estimators | what two estimators found |
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats

from qup import errors
from qup.measures.uncertainty import sums
from qup.measures.uncertainty.relation import Relation, statistics
from qup.measures.uncertainty.sums import Estimate

# Two-sided chance of a normal number beyond 3 standard errors.
_CHANCE = 0.0027
_R_HAT = 1.01
_MANY = 20
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes:
      name: Of the table above.
      agrees: What came of it.
      furthest: Largest difference in standard errors; R-hat for "chains".
      allowed: What it may be.
      n: Number of differences.
      words: A sentence.
    """

    name: str
    agrees: bool
    furthest: float
    allowed: float
    n: int
    words: str


def limit(count: int, freedom: int) -> float:
    """Returns how far the furthest of `count` may be, in standard errors.

    One is allowed 3 of a normal distribution; more of them, and fewer
    degrees of freedom, so much that one in 370 runs goes beyond it as well
    (Sidak 1967, Student 1908).
    """
    each = 1.0 - (1.0 - _CHANCE) ** (1.0 / count)
    return float(stats.t.isf(each / 2, freedom))


def compared(
    name: str, difference: Estimate, freedom: int, words: str
) -> Check:
    """Compares differences with 0.

    Of `_MANY` differences or more an error is taken to be at least the
    median one: the smallest of many errors is small by chance, and where it
    is, the value tends to be far off as well.

    Args:
      name: Of the check.
      difference: Arrays [count].
      freedom: Degrees of freedom of the errors.
      words: What was compared, as the subject of a sentence.
    """
    value, error = (np.ravel(part) for part in
                    (difference.value, difference.stderr))  # fmt: skip
    known = np.isfinite(value) & np.isfinite(error)
    if known.sum() >= _MANY:
        error = np.maximum(error, np.median(error[known]))
    # What has no error at all has to agree to rounding.
    far = np.abs(value) / np.maximum(error, _ROUNDING)
    count = int(known.sum())
    if not count:
        return Check(name, False, np.nan, np.nan, 0,
                     f"{words}: could not be estimated.")  # fmt: skip
    furthest, allowed = float(far[known].max()), limit(count, freedom)
    agrees = furthest <= allowed and count == len(value)
    verdict = "agree" if agrees else "DISAGREE"
    among = "" if count == 1 else f"the furthest of {count} is "
    told = (
        f"{words} {verdict}: {among}{furthest:.1f} standard errors apart "
        f"({allowed:.1f} allowed)."
    )
    if count < len(value):
        told += f" {len(value) - count} could not be estimated."
    return Check(name, agrees, furthest, allowed, count, told)


def of_relation(found: Relation, faces: Estimate | None = None,
                names: Sequence[str] = ()) -> list[Check]:  # fmt: skip
    """Returns every check that one relation allows.

    Args:
      found: By importance sampling or MCMC.
      faces: B by the faces, see `faces.by_conditionals`.
      names: The axes that `faces` is of.
    """
    told = _vanishing(found) if found.vanishes else []
    if faces is not None:
        told.append(_faces(found, faces, names))
    if "r_hat" in found.diagnostics:
        told.append(_chains(found))
    return told


def _vanishing(found: Relation) -> list[Check]:
    def differences(groups: sums.Sums) -> dict[str, np.ndarray]:
        told = statistics(groups, vanishes=True)
        return {
            "covariance": told["covariance"] + 0.5,
            "momentum": told["mean_p"],
            "forms": told["sigma_p_direct"] - told["sigma_p"],
        }

    words = {
        "covariance": "Cov(x, s) and -1/2",
        "momentum": "The mean momentum and 0",
        "forms": "sigma_p with and without its cross term",
    }
    estimates = sums.jackknife(found.groups, differences)
    if found.domain == "sine":
        # At a simple zero of psi the form with a cross term has no error.
        del estimates["forms"]
    return [
        compared(name, estimate, found.freedom, words[name])
        for name, estimate in estimates.items()
    ]


def _faces(found: Relation, faces: Estimate, names: Sequence[str]) -> Check:
    places = [found.axes.names.index(name) for name in names]
    own = found["boundary_term"][places]
    error = np.hypot(own.stderr, faces.stderr)
    difference = Estimate(own.value - faces.value, error)
    return compared(
        "faces", difference, found.freedom, "B by covariance and by the faces"
    )


def _chains(found: Relation) -> Check:
    r_hat = found.diagnostics["r_hat"]
    agrees = r_hat < _R_HAT
    words = f"The chains {'agree' if agrees else 'DISAGREE'}: the largest "
    worst = found.axes.names[int(np.argmax(found.by_axis["r_hat"]))]
    words += f"R-hat is {r_hat:.4f}, along {worst} ({_R_HAT} allowed)."
    if not agrees:
        words += " Take more steps."
    return Check("chains", agrees, r_hat, _R_HAT, len(found.axes), words)


def of_two(one: Relation, other: Relation, measures: Sequence[str] = (
    "sigma_x", "sigma_p", "uncertainty_product", "covariance",
)) -> list[Check]:  # fmt: skip
    """Compares what two estimators found along the same axes.

    Raises:
      InputError: The axes or the domains differ.
    """
    if one.axes.names != other.axes.names or one.domain != other.domain:
        raise errors.InputError(
            "Only relations on one domain along the same axes can be compared."
        )
    told = []
    for measure in measures:
        a, b = one[measure], other[measure]
        difference = Estimate(a.value - b.value, np.hypot(a.stderr, b.stderr))
        words = f"{measure} by {one.estimator} and by {other.estimator}"
        freedom = min(one.freedom, other.freedom)
        told.append(compared("estimators", difference, freedom, words))
    return told
