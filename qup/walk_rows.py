"""TA and RA of the walked images X_n as rows: supplement, Fig. 2.

```python
rows = of_trajectory(subject, {"images": 60000, "points": [[0, 58000, 9000]]},
                     attack)
```
"""

from collections.abc import Mapping
from typing import Any

from qup.evaluation import compute_accuracy
from qup.measurements import Row
from qup.subjects import ModelInfo


def build_trajectory_rows(
    model_info: ModelInfo, trajectory_counts: Mapping[str, Any], attack: Mapping[str, Any]
) -> list[Row]:
    """Returns the rows of a walk, with "images":"X_n" and "step":n.

    Args:
      model_info: The classifier.
      trajectory_counts: Of a walk: "images", how many there were, and "points", each
        n, how many X_n are classified rightly, and how many of them still
        are under the attack.
      attack: Name, epsilon and options of the attack on X_n.
    """
    model_info, rows = model_info.with_parameters(images="X_n", split="train"), []
    for step, *counts in trajectory_counts["points"]:
        clean, robust = (compute_accuracy(n, trajectory_counts["images"]) for n in counts)
        rows += model_info.with_parameters(step=step).build_rows(
            clean, {"robust_accuracy": robust}, attack
        )
    return rows
