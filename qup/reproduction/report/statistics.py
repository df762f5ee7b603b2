"""Means over seeds with 95 % intervals, differences, and what they resolve.

The error over seeds is that of training and of the attack's chance together,
and at least that of the images: few seeds that agree by chance, or at 0 %,
have no spread. A single seed has only the error of its test images, and says
so.

```python
over_seeds(rows)  # Estimate(value=97.1, low=96.9, high=97.3, seeds=5, ...)
```
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from qup.core import errors
from qup.core.measurements import Row

CONFIDENCE_LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class IntervalEstimate:
    """A number with its interval.

    Attributes:
      value: The mean over seeds.
      low: Lower end of the 95 % interval; NaN where there is none.
      high: Upper end.
      num_seeds: How many seeds.
      n: Number of images of each seed, the least.
      rows: What it was made of.
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
        """1 or -1 where the interval leaves 0 out, else 0."""
        if self.low > 0:
            return 1
        return -1 if self.high < 0 else 0

    @property
    def seed_std(self) -> float:
        """Standard deviation over the seeds; NaN of one."""
        values = [row.value for row in self.rows]
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def average_over_seeds(rows: Sequence[Row]) -> IntervalEstimate | None:
    """Returns the mean of rows that differ in their seed alone.

    Student's interval over the seeds, and no narrower than that of what was
    measured of every seed; of one seed that alone: Wilson's of all images
    where rows are percentages with a binomial error, else two standard
    errors, else none. Percentages stay between 0 and 100.

    Returns:
      The estimate; None of no rows.

    Raises:
      ValueError: Two rows have the same seed.
    """
    rows = sorted(rows, key=lambda row: row.seed)
    if not rows:
        return None
    if len({row.seed for row in rows}) < len(rows):
        descriptions = [f"{r.measure} {dict(r.parameters)}" for r in rows]
        raise ValueError(f"One row a seed expected; received {descriptions}.")
    values, count = [row.value for row in rows], min(row.n for row in rows)
    low, high = _measurement_interval(rows)
    if len(rows) > 1:
        seed_interval = _student_interval(values)
        if all(_is_percentage(row) for row in rows):
            seed_interval = max(seed_interval[0], 0.0), min(seed_interval[1], 100.0)
        # NaN where a row has no error of its own.
        low, high = np.fmin(low, seed_interval[0]), np.fmax(high, seed_interval[1])
    low, high = float(low), float(high)
    return IntervalEstimate(float(np.mean(values)), low, high, len(rows), count, tuple(rows))


def compute_change(before: Sequence[Row], after: Sequence[Row]) -> IntervalEstimate | None:
    """Returns the mean difference after - before, paired by seed.

    Of a single seed the errors of both rows are taken as independent, which
    for the same test images is an upper limit: the square-and-add interval
    of Newcombe 1998, method 10.

    Returns:
      The estimate; None where no seed has both.
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
    """Says whether a row is a percentage of its images."""
    share = row.value / 100
    if not 0 <= share <= 1 or row.stderr is None:
        return False
    binomial = math.sqrt(share * (1 - share) / row.n) * 100
    return math.isclose(binomial, row.stderr, rel_tol=1e-6, abs_tol=1e-9)


def _measurement_interval(rows: Sequence[Row]) -> tuple[float, float]:
    """Returns the interval of a mean, from what was measured of each row."""
    mean = float(np.mean([row.value for row in rows]))
    if all(_is_percentage(row) for row in rows):
        count = sum(row.n for row in rows)
        num_correct = round(sum(row.value / 100 * row.n for row in rows))
        interval = stats.binomtest(num_correct, count).proportion_ci(
            CONFIDENCE_LEVEL, method="wilson"
        )
        return 100 * interval.low, 100 * interval.high
    stderrs = [row.stderr for row in rows]
    if None in stderrs or not np.isfinite(stderrs).all():
        return math.nan, math.nan
    half_width = stats.norm.ppf((1 + CONFIDENCE_LEVEL) / 2) * math.hypot(*stderrs) / len(rows)
    return mean - half_width, mean + half_width


# Rank and partial rank correlations of numbers over networks.
#
# Does sigma_p predict robust accuracy, and does it still where the networks
# have the same gradient norm? A number a network on either side; ranks, for
# nobody claims a straight line; and few networks, so that a p-value is counted
# over permutations.
#
# ```python
# found = correlate(sigma_p, robust_accuracy, given={"gradient": lengths})
# found.value, found.interval, found.p_value, found.n
# ```


# Networks without which there is nothing to correlate.
MIN_NETWORKS = 4
# Networks, less what is held fixed, from which on Fisher's interval means
# something.
MIN_INTERVAL_NETWORKS = 10
# All orders up to 7 networks (5,040), a sample of them from 8 on.
_MAX_EXACT_PERMUTATIONS = 5040
_NUM_PERMUTATIONS = 9999
# Numbers closer to one another than this count as one correlation.
_CORRELATION_ATOL = 1e-12
_COVERAGE = 0.95


class RankCorrelation(NamedTuple):
    """A rank correlation.

    Attributes:
      value: From -1 to 1.
      interval: (low, high) of 95 % confidence, by Fisher's transform; None
        where there are too few networks, or all ranks agree.
      p_value: Share of the permutations with a correlation as far from 0,
        two-sided.
      n: Number of networks.
      covariates: Names of the numbers that are held fixed, none of a plain one.
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
    """Correlates the ranks of two columns, others held fixed.

    Spearman's rho; with `covariates`, the correlation of what is left of both
    columns' ranks after a linear fit by the ranks of the others. Equal
    numbers share the mean of their ranks.

    Args:
      first: Finite numbers [n], one a network.
      second: The same.
      covariates: Columns by name, the numbers to hold fixed.
      seed: Of the permutations, where there are too many to take all.

    Returns:
      A `RankCorrelation`. Its p-value permutes the residuals of `second` over
      the networks (Freedman and Lane), exact without `covariates` up to n = 7.
      Its interval takes sqrt(1.06 / (n - k - 3)) for the error of artanh
      rho with k columns held fixed.

    Raises:
      InputError: Fewer networks than 4 + k, columns that do not fit one
        another, or a column that does not vary.

    References: Spearman 1904; Freedman and Lane 1983,
    doi:10.2307/1391660; Fieller, Hartley and Pearson 1957,
    doi:10.1093/biomet/44.3-4.470.
    """
    covariates = dict(covariates or {})
    columns = _validate_columns({"first": first, "second": second, **covariates}, len(covariates))
    ranks = [stats.rankdata(column) for column in columns]
    n, k = len(ranks[0]), len(covariates)
    # An orthonormal basis of what is held fixed, the mean among it.
    basis, _ = np.linalg.qr(np.column_stack([np.ones(n), *ranks[2:]]))
    first_residuals, second_residuals = (_compute_residuals(column, basis) for column in ranks[:2])
    _check_residuals(first_residuals, second_residuals, ranks, covariates)
    value = float(_compute_cosines(first_residuals, second_residuals[None])[0])
    permutations = _build_permutations(n, seed)
    permuted_values = _compute_cosines(
        first_residuals, _compute_residuals(second_residuals[permutations], basis)
    )
    is_as_extreme = np.abs(permuted_values) >= abs(value) - _CORRELATION_ATOL
    sampled = len(permutations) == _NUM_PERMUTATIONS
    # The order that was seen is one of them.
    p_value = (is_as_extreme.sum() + sampled) / (len(permutations) + sampled)
    return RankCorrelation(
        value, _compute_fisher_interval(value, n - k), float(p_value), n, tuple(covariates)
    )


def _validate_columns(
    columns: Mapping[str, Sequence[float]], num_covariates: int
) -> list[np.ndarray]:
    """Returns the columns as float64 [n]."""
    arrays = [np.asarray(column, np.float64) for column in columns.values()]
    shapes = [str(array.shape) for array in arrays]
    if len(set(shapes)) > 1 or arrays[0].ndim != 1:
        raise errors.InputError(
            "Columns must hold one number a network, [n] each; got "
            f"{', '.join(map(' '.join, zip(columns, shapes, strict=True)))}."
        )
    n = len(arrays[0])
    if n < MIN_NETWORKS + num_covariates:
        raise errors.InputError(
            f"{n} networks are too few to correlate their ranks"
            + (f", {num_covariates} held fixed" if num_covariates else "")
            + f": at least {MIN_NETWORKS + num_covariates} are needed. Train more."
        )
    for name, array in zip(columns, arrays, strict=True):
        if not np.isfinite(array).all():
            raise errors.InputError(
                f"The column {name} holds NaN or infinite numbers. Leave out "
                "the networks that have no value."
            )
        if np.ptp(array) == 0:
            raise errors.InputError(
                f"The column {name} is {array[0]:g} for every network: what "
                "does not vary goes with nothing. Leave it out."
            )
    return arrays


def _check_residuals(first_residuals, second_residuals, ranks, covariates: Mapping) -> None:
    """Raises an InputError where the fixed columns leave nothing."""
    for name, residuals, rank in zip(
        ("first", "second"), (first_residuals, second_residuals), ranks, strict=False
    ):
        if np.linalg.norm(residuals) <= 1e-9 * np.linalg.norm(rank):
            raise errors.InputError(
                f"The ranks of the {name} column follow from those of "
                f"{', '.join(covariates)}: nothing is left to correlate."
            )


def _compute_residuals(columns: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Returns float64 [..., n] less its part in the span of `basis`."""
    return columns - (columns @ basis) @ basis.T


def _compute_cosines(vector: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the cosine of [n] with each of [m, n]; 0 with none."""
    lengths = np.linalg.norm(others, axis=1) * np.linalg.norm(vector)
    cosines = np.zeros(len(others))
    np.divide(others @ vector, lengths, out=cosines, where=lengths > 0)
    return np.clip(cosines, -1.0, 1.0)


def _build_permutations(n: int, seed: int) -> np.ndarray:
    """Returns permutations, int [m, n]: all where these are few."""
    if math.factorial(n) <= _MAX_EXACT_PERMUTATIONS:
        return np.array(list(itertools.permutations(range(n))))
    rng = np.random.default_rng(seed)
    return rng.permuted(np.tile(np.arange(n), (_NUM_PERMUTATIONS, 1)), axis=1)


def _compute_fisher_interval(value: float, num_free: int) -> tuple[float, float] | None:
    """Returns the 95 % interval; `num_free` is n less the columns held fixed."""
    if num_free < MIN_INTERVAL_NETWORKS or abs(value) >= 1 - _CORRELATION_ATOL:
        return None
    # artanh rho is nearly normal of variance 1.06 / (n - k - 3).
    width = stats.norm.ppf(0.5 + _COVERAGE / 2) * math.sqrt(1.06 / (num_free - 3))
    centre = math.atanh(value)
    return math.tanh(centre - width), math.tanh(centre + width)
