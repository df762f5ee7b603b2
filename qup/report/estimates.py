"""Means over seeds with 95 % intervals, differences, and what they resolve.

The error over seeds is that of training and of the attack's chance together;
a single seed has only the error of its test images, and says so.

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

LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
      value: The mean over seeds.
      low: Lower end of the 95 % interval; NaN where there is none.
      high: Upper end.
      seeds: How many seeds.
      n: Number of images of each seed, the least.
      rows: What it was made of.
    """

    value: float
    low: float
    high: float
    seeds: int
    n: int
    rows: tuple[Row, ...] = ()

    @property
    def point(self) -> tuple[float, float, float]:
        """The value and the ends of its interval, for figures."""
        return self.value, self.low, self.high

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves 0 out, else 0."""
        if self.low > 0:
            return 1
        return -1 if self.high < 0 else 0

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds; NaN of one."""
        values = [row.value for row in self.rows]
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def over_seeds(rows: Sequence[Row]) -> Estimate | None:
    """Returns the mean of rows that differ in their seed alone.

    Student's interval over the seeds; of one seed, Wilson's over its images
    where the row is a percentage with a binomial error, else two standard
    errors, else none.

    Returns:
      The estimate; None of no rows.

    Raises:
      ValueError: Two rows have the same seed.
    """
    rows = sorted(rows, key=lambda row: row.seed)
    if not rows:
        return None
    if len({row.seed for row in rows}) < len(rows):
        known = [f"{r.measure} {dict(r.parameters)}" for r in rows]
        raise ValueError(f"One row a seed expected; received {known}.")
    values, count = [row.value for row in rows], min(row.n for row in rows)
    if len(rows) > 1:
        low, high = _student(values)
    else:
        low, high = _alone(rows[0])
    return Estimate(
        float(np.mean(values)), low, high, len(rows), count, tuple(rows)
    )


def change(before: Sequence[Row], after: Sequence[Row]) -> Estimate | None:
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
        low, high = _student(values)
    else:
        low, high = _between(*pairs[0])
    rows = tuple(row for pair in pairs for row in pair)
    count = min(row.n for row in rows)
    return Estimate(float(np.mean(values)), low, high, len(seeds), count, rows)


def _between(before: Row, after: Row) -> tuple[float, float]:
    (first_low, first_high), (last_low, last_high) = map(
        _alone, (before, after)
    )
    down = math.hypot(after.value - last_low, first_high - before.value)
    up = math.hypot(last_high - after.value, before.value - first_low)
    difference = after.value - before.value
    return difference - down, difference + up


def _student(values: Sequence[float]) -> tuple[float, float]:
    mean, count = float(np.mean(values)), len(values)
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    half = stats.t.ppf((1 + LEVEL) / 2, count - 1) * error
    return mean - half, mean + half


def _alone(row: Row) -> tuple[float, float]:
    """Returns the interval of one row, from its images."""
    if row.stderr is None or not math.isfinite(row.stderr):
        return math.nan, math.nan
    share = row.value / 100
    binomial = math.sqrt(max(share * (1 - share), 0) / row.n) * 100
    if 0 <= share <= 1 and math.isclose(
        binomial, row.stderr, rel_tol=1e-6, abs_tol=1e-9
    ):
        found = stats.binomtest(round(share * row.n), row.n).proportion_ci(
            LEVEL, method="wilson"
        )
        return 100 * found.low, 100 * found.high
    half = stats.norm.ppf((1 + LEVEL) / 2) * row.stderr
    return row.value - half, row.value + half
