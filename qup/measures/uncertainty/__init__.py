"""The uncertainty relation of a network, with its boundary term (section 3).

The paper's sigma_x sigma_p >= 1/2 (Eqs. 14, 19) is exact where the packet
vanishes at the boundary of its domain; on a box it is 1/2 |1 - B|. Neither
side is assumed here: both are measured, with error bars.

```python
packet = uncertainty.of_classifier(classifier, 3, shape=(28, 28, 1))
window = uncertainty.GaussianWindow(centre.ravel(), 0.1)
found = uncertainty.importance.relation(packet, window)
found["uncertainty_product"].value  # float64 [784]
for check in uncertainty.checks.of_relation(found):
    print(check.words)
```

`docs/uncertainty.md` says what the numbers can and cannot tell.
"""

from qup.measures.uncertainty import (
    axes,
    checks,
    faces,
    importance,
    matrix,
    pairing,
    quadrature,
    records,
)
from qup.measures.uncertainty.domains import Box, GaussianWindow, SineWindow
from qup.measures.uncertainty.mixing import TooFewError
from qup.measures.uncertainty.packets import Packet, of_classifier, of_function, of_translator
from qup.measures.uncertainty.relation import MEASURES, Relation
from qup.measures.uncertainty.slices import on_slice
from qup.measures.uncertainty.sums import Estimate

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
    "checks",
    "faces",
    "importance",
    "markov",
    "matrix",
    "of_classifier",
    "of_function",
    "of_translator",
    "on_slice",
    "pairing",
    "quadrature",
    "records",
)


def __getattr__(name: str):
    """Imports TensorFlow Probability only where chains are asked for."""
    if name != "markov":
        raise AttributeError(f"{__name__} has no {name!r}")
    import qup.measures.uncertainty.markov as markov

    return markov
