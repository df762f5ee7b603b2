"""The same network at several temperatures, out of rows.

```python
seeds(material, network, 50)  # {1.0: {0, 1}, 4.0: {0, 1}}
deviation(material, network, 50, "box", 4.0)
```
"""

import functools
import math

from qup.measurements import Row
from qup.report.estimates import Estimate, over_seeds
from qup.report.material import Material
from qup.report.sections import uncertainty
from qup.report.selection import Look, of_network, rows
from qup.scales import Network

# AccuracyMeter's rows carry this; those of T = 1 are any network's.
_TEMPERED = "uncertainty"
# Points of TA that logits which are equal but for rounding may decide.
TIES = 0.05


def seeds(
    material: Material, network: Network, epochs: int
) -> dict[float, set[int]]:
    """Returns which seeds compare, by temperature, that of 1 among them."""
    held = material.find(
        evaluation=_TEMPERED, measure="robust_accuracy", control=None,
        method=None, **of_network(network, epochs),
    )  # fmt: skip
    at = functools.partial(_at, material, network, epochs, Look.CLEAN)
    cold = {row.seed: row.value for row in at(1.0)}
    found = {}
    for heat in sorted({row.parameters["temperature"] for row in held}):
        same = {
            row.seed
            for row in at(heat)
            if abs(row.value - cold.get(row.seed, math.nan)) <= TIES
        }
        if heat != 1 and same:
            found[heat] = same
    return {1.0: set().union(*found.values()), **found} if found else {}


def tempered(
    material: Material, network: Network, epochs: int, look: Look, heat: float
) -> list[Row]:
    """Returns TA or RA at a temperature, a row a seed.

    Of the seeds that were measured at T = 1 and at another temperature on
    the same network: one that was trained again has another TA.
    """
    found = _at(material, network, epochs, look, heat)
    own = seeds(material, network, epochs).get(heat, ())
    return [row for row in found if row.seed in own]


def deviation(
    material: Material, network: Network, epochs: int, domain: str, heat: float
) -> Estimate | None:
    """Returns sigma_p of the seeds that compare."""
    found = uncertainty.found(
        material, network, epochs, "sigma_p", domain, heat
    )
    own = seeds(material, network, epochs).get(heat, ())
    return over_seeds(
        [row for row in (found.rows if found else ()) if row.seed in own]
    )


def ratio(before: Estimate | None, after: Estimate | None) -> float | None:
    """Returns the mean ratio over the seeds of both; None of none."""
    if before is None or after is None:
        return None
    first = {row.seed: row.value for row in before.rows}
    ratios = [
        row.value / first[row.seed] for row in after.rows if first.get(row.seed)
    ]
    return sum(ratios) / len(ratios) if ratios else None


def _at(
    material: Material, network: Network, epochs: int, look: Look, heat: float
) -> list[Row]:
    told = {"evaluation": _TEMPERED, "temperature": heat} if heat != 1 else {}
    return rows(material, network, "CL", epochs, look, **told)
