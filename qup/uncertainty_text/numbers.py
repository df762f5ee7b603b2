"""Numbers and their changes in words."""

import math
from collections.abc import Iterable

from qup import uncertainty_measured as measuring
from qup.measurements import Row
from qup.uncertainty_measured import Average

UNKNOWN = "could not be estimated"
RISES, FALLS, STAYS = "rises", "falls", "stays"
# Below it a number is written with a power of ten.
_SMALL = 1e-3
# Below it a number is rounding.
_DUST = 1e-12


def number(of: Average) -> str:
    """Returns "0.5004 ± 0.0012"; words where it could not be estimated."""
    value, error = of.value, of.stderr
    if not math.isfinite(value):
        return f"a number that {UNKNOWN.upper()}"
    if not math.isfinite(error):
        return f"{value:.3g} (its error {UNKNOWN.upper()})"
    largest = max(abs(value), error)
    if largest < _DUST:
        return "0"
    if largest >= _SMALL:
        return _pair(value, error)
    power = math.floor(math.log10(largest))
    return f"({_pair(value / 10**power, error / 10**power)})e{power}"


def _pair(value: float, error: float) -> str:
    """Returns both with two digits of the error, at most nine decimals."""
    digits = 4
    if error > 0:
        digits = min(max(0, 1 - math.floor(math.log10(error))), 9)
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def of_row(row: Row) -> Average:
    """Returns a row's value and error."""
    error = math.nan if row.stderr is None else row.stderr
    return Average(row.value, error, 1, 1)


def change(before: Average, after: Average) -> str | None:
    """Returns how a number moves beyond its errors; None where unknown."""
    error = math.hypot(before.stderr, after.stderr)
    return direction(Average(after.value - before.value, error, 1, 1))


def direction(moved: Average) -> str | None:
    """Returns the same of a difference."""
    far = measuring.apart(moved, Average(0.0, 0.0, 1, 1))
    if math.isnan(far):
        return None
    if far <= measuring.BEYOND:
        return STAYS
    return RISES if moved.value > 0 else FALLS


def listed(words: Iterable[str]) -> str:
    """Returns "a, b and c"."""
    words = list(words)
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
