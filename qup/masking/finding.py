"""What a check of masking found: numbers, a status, and words.

```python
Finding("noise", {"robust_accuracy_noise": 97.0}, PASSED, "...", n=200)
```
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

PASSED = "passed"
FLAGGED = "flagged"
# Also where a check ran and could not decide: never to be read as passed.
NOT_CHECKED = "not checked"


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """One result of a diagnosis.

    Attributes:
      name: Of the check.
      values: The numbers measured; accuracies and shares in percent.
      status: "passed", "flagged" or "not checked".
      message: One or two sentences: what was measured, what it suggests.
      n: Number of images.
      arrays: Curves and surfaces, for figures.
    """

    name: str
    values: Mapping[str, float]
    status: str
    message: str
    n: int
    arrays: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def build_unchecked_result(name: str, reason: str, n: int) -> CheckResult:
    """Returns the finding of a check that was not made."""
    return CheckResult(name, {}, NOT_CHECKED, reason, n)
