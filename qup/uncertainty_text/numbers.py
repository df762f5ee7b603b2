"""Numbers and their changes in words."""

import math
from collections.abc import Iterable

from qup import uncertainty_measured as measuring
from qup.measurements import Row
from qup.uncertainty_measured import MeanEstimate

UNKNOWN = "could not be estimated"
RISES, FALLS, STAYS = "rises", "falls", "stays"
# Below it a number is written with a power of ten.
_SCIENTIFIC_BELOW = 1e-3
# Below it a number is rounding.
_EPS = 1e-12


def format_estimate(estimate: MeanEstimate) -> str:
    """Returns "0.5004 ± 0.0012"; words where it could not be estimated."""
    value, error = estimate.value, estimate.stderr
    if not math.isfinite(value):
        return f"a number that {UNKNOWN.upper()}"
    if not math.isfinite(error):
        return f"{value:.3g} (its error {UNKNOWN.upper()})"
    largest = max(abs(value), error)
    if largest < _EPS:
        return "0"
    if largest >= _SCIENTIFIC_BELOW:
        return _format_pair(value, error)
    exponent = math.floor(math.log10(largest))
    return f"({_format_pair(value / 10**exponent, error / 10**exponent)})e{exponent}"


def _format_pair(value: float, error: float) -> str:
    """Returns both with two digits of the error, at most nine decimals."""
    digits = 4
    if error > 0:
        digits = min(max(0, 1 - math.floor(math.log10(error))), 9)
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def row_to_estimate(row: Row) -> MeanEstimate:
    """Returns a row's value and error."""
    error = math.nan if row.stderr is None else row.stderr
    return MeanEstimate(row.value, error, 1, 1)


def classify_change(before: MeanEstimate, after: MeanEstimate) -> str | None:
    """Returns how a number moves beyond its errors; None where unknown."""
    error = math.hypot(before.stderr, after.stderr)
    return classify_difference(MeanEstimate(after.value - before.value, error, 1, 1))


def classify_difference(difference: MeanEstimate) -> str | None:
    """Returns the same of a difference."""
    distance = measuring.z_score(difference, MeanEstimate(0.0, 0.0, 1, 1))
    if math.isnan(distance):
        return None
    if distance <= measuring.Z_THRESHOLD:
        return STAYS
    return RISES if difference.value > 0 else FALLS


def join_words(items: Iterable[str]) -> str:
    """Returns "a, b and c"."""
    items = list(items)
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"
