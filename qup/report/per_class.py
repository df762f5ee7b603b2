"""TA and RA of each class, from how many of its images stayed right.

```python
np.savez(path, **counted(labels, right, robust))
shares(row, arrays, "robust")  # label to a row of that class
```
"""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from qup.measurements import Row

PER_CLASS_FILE = "per_class.npz"


def count_per_class(
    labels: np.ndarray, correct: np.ndarray, robust: np.ndarray
) -> dict[str, np.ndarray]:
    """Counts the images of each class.

    Args:
      labels: int [n], the true classes.
      correct: bool [n], classified rightly as they are.
      robust: bool [n], and under the attack.

    Returns:
      int64 [k] by name: "label", the classes that have images; "images",
      "right" and "robust", how many each has.
    """
    class_labels, class_indices = np.unique(labels, return_inverse=True)
    counts = {"label": class_labels.astype(np.int64), "images": np.bincount(class_indices)}
    for name, mask in (("right", correct), ("robust", robust)):
        counts[name] = np.bincount(class_indices[mask], minlength=len(class_labels))
    return counts


def build_class_rows(row: Row, arrays: Mapping[str, np.ndarray], name: str) -> dict[int, Row]:
    """Returns a row of each class: its percent, its error, its images.

    Args:
      row: Of all classes.
      arrays: What `count_per_class` returned.
      name: "right" or "robust".
    """
    rows_by_label = {}
    for label, count, num_correct in zip(
        arrays["label"], arrays["images"], arrays[name], strict=True
    ):
        share = num_correct / count
        error = 100 * math.sqrt(share * (1 - share) / count)
        rows_by_label[int(label)] = dataclasses.replace(
            row, value=100 * float(share), stderr=error, n=int(count)
        )
    return rows_by_label
