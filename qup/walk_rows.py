"""TA and RA of the walked images X_n as rows: supplement, Fig. 2.

```python
rows = of_trajectory(subject, {"images": 60000, "points": [[0, 58000, 9000]]},
                     attack)
```
"""

from collections.abc import Mapping
from typing import Any

from qup.evaluation import binomial
from qup.measurements import Row
from qup.subjects import Subject


def of_trajectory(
    subject: Subject, counted: Mapping[str, Any], attack: Mapping[str, Any]
) -> list[Row]:
    """Returns the rows of a walk, with "images":"X_n" and "step":n.

    Args:
      subject: The classifier.
      counted: Of a walk: "images", how many there were, and "points", each
        n, how many X_n are classified rightly, and how many of them still
        are under the attack.
      attack: Name, epsilon and options of the attack on X_n.
    """
    subject, rows = subject.such(images="X_n", split="train"), []
    for step, *counts in counted["points"]:
        clean, robust = (binomial(n, counted["images"]) for n in counts)
        rows += subject.such(step=step).rows(
            clean, {"robust_accuracy": robust}, attack
        )
    return rows
