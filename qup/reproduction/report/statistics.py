"""Means over seeds with 95 % intervals, paired differences, and rank correlations.

The spread over seeds contains the randomness of training and of the attack. The interval is at
least that of the test images, because a few seeds may agree by chance, or have no spread at 0 %.
A single seed has only the interval of its images.

```python
average_over_seeds(rows)  # IntervalEstimate(value=97.1, low=96.9, high=97.3, num_seeds=5, ...)
correlate_ranks(sigma_p, robust_accuracy, covariates={"gradient": norms}).p_value
```
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from qup.core import errors
from qup.core.measurements import Row, compute_wilson_interval

CONFIDENCE_LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class IntervalEstimate:
    """A number with its interval.

    Attributes:
      value: The mean over seeds.
      low: Lower end of the 95 % interval; NaN where there is none.
      high: Upper end.
      num_seeds: Number of seeds.
      n: Number of images of each seed, the least.
      rows: The measurements.
    """

    value: float
    low: float
    high: float
    num_seeds: int
    n: int
    rows: tuple[Row, ...] = ()

    @property
    def point(self) -> tuple[float, float, float]:
        """The value and the ends of its interval, for figures."""
        return self.value, self.low, self.high

    @property
    def half_width(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    @property
    def sign(self) -> int:
        """1 or -1 where the interval excludes 0, else 0."""
        if self.low > 0:
            return 1
        return -1 if self.high < 0 else 0

    @property
    def seed_std(self) -> float:
        """Standard deviation over the seeds; NaN for one."""
        values = [row.value for row in self.rows]
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def average_over_seeds(rows: Sequence[Row]) -> IntervalEstimate | None:
    """Returns the mean of rows that differ only in their seed; None without rows.

    The interval is Student's over the seeds, and no narrower than that of the measurements: for
    percentages with a binomial error Wilson's interval of all images, else two-sided normal, or
    none without standard errors. A single seed has the latter alone. Percentages stay between 0
    and 100.

    Raises:
      ValueError: Two rows have the same seed.
    """
    rows = sorted(rows, key=lambda row: row.seed)
    if not rows:
        return None
    if len({row.seed for row in rows}) < len(rows):
        descriptions = [f"{r.measure} {dict(r.parameters)}" for r in rows]
        raise ValueError(f"Expected one row per seed; received {descriptions}.")
    values, count = [row.value for row in rows], min(row.n for row in rows)
    low, high = _measurement_interval(rows)
    if len(rows) > 1:
        seed_interval = _student_interval(values)
        if all(_is_percentage(row) for row in rows):
            seed_interval = max(seed_interval[0], 0.0), min(seed_interval[1], 100.0)
        # fmin and fmax ignore NaN, the interval of rows without standard error.
        low, high = np.fmin(low, seed_interval[0]), np.fmax(high, seed_interval[1])
    low, high = float(low), float(high)
    return IntervalEstimate(float(np.mean(values)), low, high, len(rows), count, tuple(rows))


def compute_change(before: Sequence[Row], after: Sequence[Row]) -> IntervalEstimate | None:
    """Returns the mean difference after - before, paired by seed; None without a common seed.

    For a single seed, the errors of both rows count as independent, which is an upper limit for
    the same test images: the square-and-add interval of Newcombe 1998, method 10.
    """
    first = {row.seed: row for row in before}
    last = {row.seed: row for row in after}
    seeds = sorted(first.keys() & last.keys())
    if not seeds:
        return None
    pairs = [(first[seed], last[seed]) for seed in seeds]
    values = [b.value - a.value for a, b in pairs]
    if len(pairs) > 1:
        low, high = _student_interval(values)
    else:
        low, high = _newcombe_interval(*pairs[0])
    rows = tuple(row for pair in pairs for row in pair)
    count = min(row.n for row in rows)
    return IntervalEstimate(float(np.mean(values)), low, high, len(seeds), count, rows)


def _newcombe_interval(before: Row, after: Row) -> tuple[float, float]:
    (first_low, first_high), (last_low, last_high) = (
        _measurement_interval([row]) for row in (before, after)
    )
    down = math.hypot(after.value - last_low, first_high - before.value)
    up = math.hypot(last_high - after.value, before.value - first_low)
    difference = after.value - before.value
    return difference - down, difference + up


def _student_interval(values: Sequence[float]) -> tuple[float, float]:
    mean, count = float(np.mean(values)), len(values)
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    half_width = stats.t.ppf((1 + CONFIDENCE_LEVEL) / 2, count - 1) * error
    return mean - half_width, mean + half_width


def _is_percentage(row: Row) -> bool:
    """Whether a row is a percentage of its images, by its standard error."""
    share = row.value / 100
    if not 0 <= share <= 1 or row.stderr is None:
        return False
    binomial = math.sqrt(share * (1 - share) / row.n) * 100
    return math.isclose(binomial, row.stderr, rel_tol=1e-6, abs_tol=1e-9)


def _measurement_interval(rows: Sequence[Row]) -> tuple[float, float]:
    """Returns the interval of a mean from the errors of its rows; NaN without."""
    mean = float(np.mean([row.value for row in rows]))
    if all(_is_percentage(row) for row in rows):
        count = sum(row.n for row in rows)
        num_correct = round(sum(row.value / 100 * row.n for row in rows))
        return compute_wilson_interval(num_correct, count)
    stderrs = [row.stderr for row in rows]
    if None in stderrs or not np.isfinite(stderrs).all():
        return math.nan, math.nan
    half_width = stats.norm.ppf((1 + CONFIDENCE_LEVEL) / 2) * math.hypot(*stderrs) / len(rows)
    return mean - half_width, mean + half_width


# The least number of networks for a correlation.
MIN_NETWORKS = 4
# The least number of networks, minus covariates, for Fisher's interval.
MIN_INTERVAL_NETWORKS = 10
# All orders of up to 7 networks (5,040) are less than these, and are enumerated.
_NUM_PERMUTATIONS = 9999
# Correlations that differ by less are equal but for rounding.
_CORRELATION_ATOL = 1e-12


class RankCorrelation(NamedTuple):
    """A rank correlation.

    Attributes:
      value: From -1 to 1.
      interval: (low, high) of 95 % confidence, by Fisher's transform; None for too few networks,
        or identical ranks.
      p_value: Share of the permutations with a correlation at least as far from 0, two-sided.
      n: Number of networks.
      covariates: Names of the covariates of a partial correlation.
    """

    value: float
    interval: tuple[float, float] | None
    p_value: float
    n: int
    covariates: tuple[str, ...] = ()


def correlate_ranks(
    first: Sequence[float],
    second: Sequence[float],
    *,
    covariates: Mapping[str, Sequence[float]] | None = None,
    seed: int = 0,
) -> RankCorrelation:
    """Returns Spearman's rank correlation of two columns, partial with covariates.

    A partial correlation is that of the residuals of both columns' ranks after a linear fit on
    the ranks of the covariates; `scipy.stats.spearmanr` has no such option, and without
    covariates gives the same value. Ties have the mean of their ranks. The p-value permutes the
    residuals of `second` (Freedman and Lane), exactly up to n = 7 without covariates. The
    interval takes sqrt(1.06 / (n - k - 3)) as the standard error of artanh rho with k covariates.

    Args:
      first: Finite numbers [n], one per network.
      second: The same.
      covariates: Columns by name.
      seed: Of the permutations from n = 8.

    Raises:
      InputError: Fewer than 4 + k networks, columns of different lengths, or a constant column.

    References: Spearman 1904; Freedman and Lane 1983, doi:10.2307/1391660; Fieller, Hartley and
    Pearson 1957, doi:10.1093/biomet/44.3-4.470.
    """
    covariates = dict(covariates or {})
    columns = _validate_columns({"first": first, "second": second, **covariates}, len(covariates))
    ranks = [stats.rankdata(column) for column in columns]
    n, k = len(ranks[0]), len(covariates)
    # An orthonormal basis of the covariates and the mean.
    basis, _ = np.linalg.qr(np.column_stack([np.ones(n), *ranks[2:]]))
    first_residuals, second_residuals = (_compute_residuals(column, basis) for column in ranks[:2])
    _check_residuals(first_residuals, second_residuals, ranks, covariates)
    value = float(_compute_cosines(first_residuals, second_residuals))

    def compute_magnitude(permuted: np.ndarray, axis: int) -> np.ndarray:
        cosines = _compute_cosines(first_residuals, _compute_residuals(permuted, basis))
        # Rounding must not separate equal correlations.
        return np.round(np.abs(cosines) / _CORRELATION_ATOL)

    test = stats.permutation_test(
        (second_residuals,),
        compute_magnitude,
        permutation_type="pairings",
        alternative="greater",
        n_resamples=_NUM_PERMUTATIONS,
        vectorized=True,
        rng=seed,
    )
    return RankCorrelation(
        value, _compute_fisher_interval(value, n - k), float(test.pvalue), n, tuple(covariates)
    )


def _validate_columns(
    columns: Mapping[str, Sequence[float]], num_covariates: int
) -> list[np.ndarray]:
    """Returns the columns as float64 [n]."""
    arrays = [np.asarray(column, np.float64) for column in columns.values()]
    shapes = [str(array.shape) for array in arrays]
    if len(set(shapes)) > 1 or arrays[0].ndim != 1:
        raise errors.InputError(
            "Columns must have one number per network, [n] each; received "
            f"{', '.join(map(' '.join, zip(columns, shapes, strict=True)))}."
        )
    n = len(arrays[0])
    if n < MIN_NETWORKS + num_covariates:
        raise errors.InputError(
            f"{n} networks are too few to correlate ranks with {num_covariates} covariates: "
            f"expected at least {MIN_NETWORKS + num_covariates}. Train more networks."
        )
    for name, array in zip(columns, arrays, strict=True):
        if not np.isfinite(array).all():
            raise errors.InputError(
                f"The column {name} has NaN or infinite numbers. Leave out networks without a "
                "value."
            )
        if np.ptp(array) == 0:
            raise errors.InputError(
                f"The column {name} is {array[0]:g} for every network: a constant has no "
                "correlation. Leave it out."
            )
    return arrays


def _check_residuals(first_residuals, second_residuals, ranks, covariates: Mapping) -> None:
    """Raises an InputError where the covariates determine a column."""
    for name, residuals, rank in zip(
        ("first", "second"), (first_residuals, second_residuals), ranks, strict=False
    ):
        if np.linalg.norm(residuals) <= 1e-9 * np.linalg.norm(rank):
            raise errors.InputError(
                f"The ranks of the {name} column follow from those of {', '.join(covariates)}: no "
                "residuals to correlate."
            )


def _compute_residuals(columns: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Returns float64 [..., n] minus its projection on `basis`."""
    return columns - (columns @ basis) @ basis.T


def _compute_cosines(vector: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the cosines of [n] with [..., n]; 0 for a zero vector."""
    lengths = np.linalg.norm(others, axis=-1) * np.linalg.norm(vector)
    cosines = np.zeros(others.shape[:-1])
    np.divide(others @ vector, lengths, out=cosines, where=lengths > 0)
    return np.clip(cosines, -1.0, 1.0)


def _compute_fisher_interval(value: float, num_free: int) -> tuple[float, float] | None:
    """Returns the 95 % interval; `num_free` is n minus the number of covariates."""
    if num_free < MIN_INTERVAL_NETWORKS or abs(value) >= 1 - _CORRELATION_ATOL:
        return None
    # artanh rho is nearly normal of variance 1.06 / (n - k - 3).
    width = stats.norm.ppf((1 + CONFIDENCE_LEVEL) / 2) * math.sqrt(1.06 / (num_free - 3))
    centre = math.atanh(value)
    return math.tanh(centre - width), math.tanh(centre + width)
