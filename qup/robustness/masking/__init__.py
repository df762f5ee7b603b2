"""Whether robustness is real, or the attack was only kept from seeing.

A classifier can withstand an attack because no adversarial image is there,
or because its gradient says nothing of where one is. Each check here looks
for a sign of the second, in one file, and tells what it measured.

```python
for finding in masking.diagnose(classifier, images, labels, epsilon=0.1):
    print(finding.name, finding.status, finding.words)

finding = masking.get("black_box")(classifier, images, labels, epsilon=0.1)
```

A check is written as a function of a `DiagnosisCase`, which holds the classifier,
the images and the attack under test; from outside it takes what the case is
made of, as above. One that passes saw no sign of masking, which proves no
robustness.

Reference: Carlini et al. 2019, arXiv 1902.06705; Athalye, Carlini, Wagner
2018, arXiv 1802.00420.
"""

from collections.abc import Callable

from qup.core.registry import Registry
from qup.robustness.masking import case
from qup.robustness.masking.case import FLAGGED as FLAGGED
from qup.robustness.masking.case import NOT_CHECKED as NOT_CHECKED
from qup.robustness.masking.case import PASSED as PASSED
from qup.robustness.masking.case import CheckResult as CheckResult
from qup.robustness.masking.case import DiagnosisCase as DiagnosisCase
from qup.robustness.masking.diagnosis import diagnose as diagnose
from qup.robustness.masking.diagnosis import run_check as run_check

_registry = Registry("qup.robustness.masking", "check of masking")
names = _registry.names
get = _registry.get
traits = _registry.traits


def register(check: Callable[..., CheckResult]) -> Callable[..., CheckResult]:
    """Registers a check: a function of a `DiagnosisCase` and options of its own.

    Returns:
      name(logits_fn, images, labels, *, epsilon, norm, bounds, seed,
      batch_size, attack, attack_options, and its own) -> Finding.
    """
    function = case.wrap_check(check)
    _registry.register(function, check=check)
    return function
