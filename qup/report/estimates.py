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
import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from qup.measurements import Row

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
