"""The same network at several temperatures, out of rows.

```python
seeds(material, network, 50)  # {1.0: {0, 1}, 4.0: {0, 1}}
deviation(material, network, 50, "box", 4.0)
```
"""

import functools
import math

from qup.measurements import Row
from qup.report.estimates import IntervalEstimate, average_over_seeds
from qup.report.material import ReportData
from qup.report.sections import uncertainty
from qup.report.selection import AccuracyKind, build_network_filters, find_accuracy_rows
from qup.scales import NetworkPreset

# AccuracyMeter's rows carry this; those of T = 1 are any network's.
_TEMPERATURE_EVALUATION = "uncertainty"
# Points of TA that logits which are equal but for rounding may decide.
ACCURACY_TOLERANCE = 0.05


def find_comparable_seeds(
    data: ReportData, network: NetworkPreset, epochs: int
) -> dict[float, set[int]]:
    """Returns which seeds compare, by temperature, that of 1 among them."""
    robust_rows = data.find(
        evaluation=_TEMPERATURE_EVALUATION,
        measure="robust_accuracy",
        control=None,
        method=None,
        **build_network_filters(network, epochs),
    )
    find_clean_rows = functools.partial(_find_rows_at, data, network, epochs, AccuracyKind.CLEAN)
    baseline = {row.seed: row.value for row in find_clean_rows(1.0)}
    seeds_by_temperature = {}
    for temperature in sorted({row.parameters["temperature"] for row in robust_rows}):
        matching_seeds = {
            row.seed
            for row in find_clean_rows(temperature)
            if abs(row.value - baseline.get(row.seed, math.nan)) <= ACCURACY_TOLERANCE
        }
        if temperature != 1 and matching_seeds:
            seeds_by_temperature[temperature] = matching_seeds
    return (
        {1.0: set().union(*seeds_by_temperature.values()), **seeds_by_temperature}
        if seeds_by_temperature
        else {}
    )


def find_rows_at_temperature(
    data: ReportData, network: NetworkPreset, epochs: int, kind: AccuracyKind, temperature: float
) -> list[Row]:
    """Returns TA or RA at a temperature, a row a seed.

    Of the seeds that were measured at T = 1 and at another temperature on
    the same network: one that was trained again has another TA.
    """
    accuracy_rows = _find_rows_at(data, network, epochs, kind, temperature)
    comparable_seeds = find_comparable_seeds(data, network, epochs).get(temperature, ())
    return [row for row in accuracy_rows if row.seed in comparable_seeds]


def estimate_sigma_p(
    data: ReportData, network: NetworkPreset, epochs: int, domain: str, temperature: float
) -> IntervalEstimate | None:
    """Returns sigma_p of the seeds that compare."""
    estimate = uncertainty.estimate_uncertainty(
        data, network, epochs, "sigma_p", domain, temperature
    )
    comparable_seeds = find_comparable_seeds(data, network, epochs).get(temperature, ())
    return average_over_seeds(
        [row for row in (estimate.rows if estimate else ()) if row.seed in comparable_seeds]
    )


def compute_mean_ratio(
    before: IntervalEstimate | None, after: IntervalEstimate | None
) -> float | None:
    """Returns the mean ratio over the seeds of both; None of none."""
    if before is None or after is None:
        return None
    first = {row.seed: row.value for row in before.rows}
    ratios = [row.value / first[row.seed] for row in after.rows if first.get(row.seed)]
    return sum(ratios) / len(ratios) if ratios else None


def _find_rows_at(
    data: ReportData, network: NetworkPreset, epochs: int, kind: AccuracyKind, temperature: float
) -> list[Row]:
    filters = (
        {"evaluation": _TEMPERATURE_EVALUATION, "temperature": temperature}
        if temperature != 1
        else {}
    )
    return find_accuracy_rows(data, network, "CL", epochs, kind, **filters)
