"""A measured uncertainty relation as rows: means and medians over pixels.

Pixels share their samples, so the error of their mean is a jackknife of that
very mean. A median has none: it is the median of noisy numbers, and near
the bound, where their noise is lopsided, not the number without the noise.

Where psi does not vanish at the boundary the bound is |Cov(x, s)|, and noise
alone makes it larger than 0: "uncertainty_bound_resolved" is the percentage
of pixels at which it is more than that.

Between directions "matrix_least_eigenvalue" is that of Sigma - C P_c^-1 C^T,
0 where a combination of them is at its bound; and, where psi does not vanish
at the boundary, "matrix_least_eigenvalue_without_b" that of Sigma - P^-1 / 4,
less than 0 where a combination breaks the bound of 1/2.

```python
rows = of_relation(subject.such(packet="loss", label=3), found)
```
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from qup.evaluation import Accuracy
from qup.measurements import Row
from qup.measures.uncertainty import (
    Estimate,
    Relation,
    TooFewError,
    matrix,
    sums,
)
from qup.measures.uncertainty.relation import statistics
from qup.subjects import Subject

# Value of the parameter "evaluation" of these rows.
EVALUATION = "uncertainty"
MEASURES = (
    "sigma_x",
    "sigma_p",
    "uncertainty_product",
    "uncertainty_bound",
    "boundary_term",
    "covariance",
)
RESOLVED = "uncertainty_bound_resolved"
_NOTHING = Estimate(np.array(np.nan))
# Standard errors from which on a covariance is told from 0.
_BEYOND = 2.0


def of_relation(
    subject: Subject,
    found: Relation,
    *,
    named: Sequence[str] = (),
    artifact: str = "",
) -> list[Row]:
    """Returns the rows of one relation.

    Args:
      subject: The network; its parameters tell packet, domain, label, ...
      found: By importance sampling or MCMC.
      named: Names of axes that have rows of their own.
      artifact: Path of the .npz of all axes.

    Returns:
      Of each of `MEASURES` the mean and the median over the pixels
      ({"over":"pixels","statistic":"mean"}) and the value along each of
      `named` ({"over":"axis","axis":"pca:0"}); of two directions or more the
      eigenvalues of the matrix form ({"over":"directions"});
      effective_sample_size and, of chains, the worst of all axes: r_hat and
      least_effective_sample_size. A value that could not be estimated is
      NaN, an error that could not be, None.
    """
    subject = subject.such(evaluation=EVALUATION, estimator=found.estimator)
    rows = _summaries(subject, found) if len(found.axes.pixels) else []
    rows += _along(subject, found, named) + _between(subject, found)
    sizes = {"effective_sample_size": found.effective_sample_size}
    worst = ("r_hat", "least_effective_sample_size")
    sizes |= {k: v for k, v in found.diagnostics.items() if k in worst}
    rows += [
        subject.row(measure, Accuracy(float(value), None, found.n))
        for measure, value in sizes.items()
    ]
    return [dataclasses.replace(row, artifact=artifact) for row in rows]


def of_refusal(subject: Subject, estimator: str, error: TooFewError) -> Row:
    """Returns the row of an estimate that was refused: its effective size.

    Args:
      subject: See `of_relation`.
      estimator: "importance" or "mcmc".
      error: Why.

    Returns:
      "effective_sample_size", with {"refused": True}.
    """
    told = subject.such(
        evaluation=EVALUATION, estimator=estimator, refused=True
    )
    size = Accuracy(error.size, None, error.count)
    return told.row("effective_sample_size", size)


def _measures(found: Relation) -> tuple[str, ...]:
    """Returns what is told; 1/2 / |corr(x, s)| where it has its meaning."""
    more = ("product_by_correlation",) if found.vanishes else ()
    return MEASURES + more


def _summaries(subject: Subject, found: Relation) -> list[Row]:
    count, measures = len(found.axes.pixels), _measures(found)

    def over_pixels(groups: sums.Sums) -> dict[str, np.ndarray]:
        told = statistics(groups, found.vanishes)
        return {name: told[name][..., :count].mean(-1) for name in measures}

    means = sums.jackknife(found.groups, over_pixels, averaged=count)
    rows = []
    for measure in measures:
        mean = subject.such(over="pixels", statistic="mean")
        each = found[measure].value[:count]
        # A mean of pixels that have no value has none.
        whole = means[measure] if np.isfinite(each).all() else _NOTHING
        rows.append(mean.row(measure, _accuracy(whole, found.n)))
        middle = Estimate(np.median(each))
        median = subject.such(over="pixels", statistic="median")
        rows.append(median.row(measure, _accuracy(middle, found.n)))
    if not found.vanishes:
        told = subject.such(over="pixels")
        share = Accuracy(_resolved(found["covariance"][:count]), None, found.n)
        rows.append(told.row(RESOLVED, share))
    return rows


def _resolved(covariance: Estimate) -> float:
    """Returns at how many percent of the axes |Cov(x, s)| is not noise."""
    value, error = np.abs(covariance.value), covariance.stderr
    return float(100 * np.mean(value > _BEYOND * error))


def _along(
    subject: Subject, found: Relation, named: Iterable[str]
) -> list[Row]:
    rows = []
    for name in named:
        place = found.axes.names.index(name)
        told = subject.such(over="axis", axis=name)
        rows += [
            told.row(measure, _accuracy(found[measure][place], found.n))
            for measure in _measures(found)
        ]
    return rows


def _between(subject: Subject, found: Relation) -> list[Row]:
    """Returns the rows of the matrix form, where there is one."""
    if len(found.axes.directions) < 2:
        return []
    form, told = matrix.form(found), subject.such(over="directions")
    chosen = {"matrix_least_eigenvalue": form.least}
    if not found.vanishes:
        # Elsewhere noise alone makes it negative.
        chosen["matrix_least_eigenvalue_without_b"] = form.least_vanishing
    return [
        told.row(measure, _accuracy(of, found.n))
        for measure, of in chosen.items()
    ]


def _accuracy(estimate: Estimate, n: int) -> Accuracy:
    error = np.nan if estimate.stderr is None else float(estimate.stderr)
    known = np.isfinite(error)
    return Accuracy(float(estimate.value), error if known else None, n)
