"""The uncertainty relation of a network, with its boundary term (section 3).

The paper's sigma_x sigma_p >= 1/2 (Eqs. 14, 19) is exact where the packet vanishes at the
boundary of its domain; on a box the bound is 1/2 |1 - B|. Both sides are measured, with standard
errors.

```python
packet = uncertainty.of_classifier(classifier, 3, shape=(28, 28, 1))
window = uncertainty.GaussianWindow(centre.ravel(), 0.1)
relation = uncertainty.importance.relation(packet, window)
relation["uncertainty_product"].value  # float64 [784]
for check in uncertainty.checks.check_relation(relation):
    print(check.message)
```

`docs/uncertainty.md` explains what follows from the numbers.
"""

import importlib

from qup.core import extras
from qup.uncertainty import (
    axes,
    boundary,
    checks,
    importance,
    matrix,
    quadrature,
    records,
    relation,
)
from qup.uncertainty.domains import Box, GaussianWindow, SineWindow
from qup.uncertainty.mixing import TooFewError
from qup.uncertainty.packets import Packet, of_classifier, of_function, of_translator, on_slice
from qup.uncertainty.relation import MEASURES, Estimate, Relation

__all__ = (
    "MEASURES",
    "Box",
    "Estimate",
    "GaussianWindow",
    "Packet",
    "Relation",
    "SineWindow",
    "TooFewError",
    "axes",
    "boundary",
    "checks",
    "importance",
    "matrix",
    "mcmc",
    "of_classifier",
    "of_function",
    "of_translator",
    "on_slice",
    "quadrature",
    "records",
    "relation",
)


def __getattr__(name: str):
    """Imports `mcmc`, and with it TensorFlow Probability, on its first use."""
    if name != "mcmc":
        raise AttributeError(f"{__name__} has no {name!r}")
    with extras.explain_missing("qup.uncertainty.mcmc"):
        return importlib.import_module(f"{__name__}.mcmc")
