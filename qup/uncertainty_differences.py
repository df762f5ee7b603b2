"""What two saved relations differ in.

```python
difference(early, late, "uncertainty_product")  # late less early
```
"""

import numpy as np

from qup.measures.uncertainty import pairing
from qup.uncertainty_measured import MeanEstimate, RelationRecord


def have_same_samples(first: RelationRecord, second: RelationRecord) -> bool:
    """Says whether two records are of the same samples."""
    keys = ("estimator", "seed", "n")
    return (
        first["estimator"] == "importance"
        and all(first.metadata.get(key) == second.metadata.get(key) for key in keys)
        and first.leave_one_out("sigma_x").shape == second.leave_one_out("sigma_x").shape != (0,)
    )


def compute_difference(first: RelationRecord, second: RelationRecord, measure: str) -> MeanEstimate:
    """Returns other less one, of the means over pixels.

    Its error is that of the difference itself where both are of the same
    samples; else of two independent numbers.
    """
    if have_same_samples(first, second):
        estimate = pairing.jackknife_difference(
            first.leave_one_out(measure),
            second.leave_one_out(measure),
            len(first.pixel_values(measure)[0]),
        )
        if np.isfinite(estimate.value) and np.isfinite(estimate.stderr):
            return MeanEstimate(float(estimate.value), float(estimate.stderr), 1, 1)
    first_mean, second_mean = first.mean(measure), second.mean(measure)
    error = float(np.hypot(first_mean.stderr, second_mean.stderr))
    return MeanEstimate(
        second_mean.value - first_mean.value,
        error,
        min(first_mean.num_known, second_mean.num_known),
        first_mean.n,
    )
