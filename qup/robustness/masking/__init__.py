"""Gradient masking: whether a classifier is robust, or hides its gradient from the attack.

A classifier can withstand an attack because no adversarial image exists, or because its gradient
does not point to one. Each check here searches for a sign of the latter and reports what it
measured. A check that passes found no sign of masking, which does not prove robustness.

```python
for result in masking.diagnose(classifier, images, labels, epsilon=0.1):
    print(result.name, result.status, result.message)

result = masking.get("black_box")(classifier, images, labels, epsilon=0.1)
```

A check is written as a function of a `DiagnosisCase`: the classifier, the images and the attack
under test. The registered function has the elements of the case as arguments, as above.

Reference: Carlini et al. 2019, arXiv 1902.06705; Athalye, Carlini, Wagner 2018, arXiv 1802.00420.
"""

from collections.abc import Callable

from qup.core.registry import Registry
from qup.robustness.masking.case import FLAGGED, NOT_CHECKED, PASSED, CheckResult, DiagnosisCase
from qup.robustness.masking.diagnosis import diagnose, run_check, wrap_check

__all__ = [
    "FLAGGED",
    "NOT_CHECKED",
    "PASSED",
    "CheckResult",
    "DiagnosisCase",
    "diagnose",
    "get",
    "names",
    "register",
    "run_check",
    "traits",
]

_registry = Registry("qup.robustness.masking", "check of masking")
names = _registry.names
get = _registry.get
traits = _registry.traits


def register(check: Callable[..., CheckResult]) -> Callable[..., CheckResult]:
    """Registers a check, a function of a `DiagnosisCase` and its own options.

    Returns:
      name(logits_fn, images, labels, *, epsilon, norm, bounds, seed, batch_size, attack,
      attack_options, and the check's options) -> CheckResult.
    """
    function = wrap_check(check)
    _registry.register(function, check=check)
    return function
