"""What two saved relations differ in.

```python
difference(early, late, "uncertainty_product")  # late less early
```
"""

import numpy as np

from qup.measures.uncertainty import pairing
from qup.uncertainty_measured import Average, Measured


def paired(one: Measured, other: Measured) -> bool:
    """Says whether two records are of the same samples."""
    same = ("estimator", "seed", "n")
    return (
        one["estimator"] == "importance"
        and all(one.told.get(k) == other.told.get(k) for k in same)
        and one.left("sigma_x").shape == other.left("sigma_x").shape != (0,)
    )


def difference(one: Measured, other: Measured, measure: str) -> Average:
    """Returns other less one, of the means over pixels.

    Its error is that of the difference itself where both are of the same
    samples; else of two independent numbers.
    """
    if paired(one, other):
        found = pairing.difference(
            one.left(measure), other.left(measure), len(one.shown(measure)[0])
        )
        if np.isfinite(found.value) and np.isfinite(found.stderr):
            return Average(float(found.value), float(found.stderr), 1, 1)
    a, b = one.average(measure), other.average(measure)
    error = float(np.hypot(a.stderr, b.stderr))
    return Average(b.value - a.value, error, min(a.known, b.known), a.n)
