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

FILE = "per_class.npz"


def counted(
    labels: np.ndarray, right: np.ndarray, robust: np.ndarray
) -> dict[str, np.ndarray]:
    """Counts the images of each class.

    Args:
      labels: int [n], the true classes.
      right: bool [n], classified rightly as they are.
      robust: bool [n], and under the attack.

    Returns:
      int64 [k] by name: "label", the classes that have images; "images",
      "right" and "robust", how many each has.
    """
    known, place = np.unique(labels, return_inverse=True)
    found = {"label": known.astype(np.int64), "images": np.bincount(place)}
    for name, held in (("right", right), ("robust", robust)):
        found[name] = np.bincount(place[held], minlength=len(known))
    return found


def shares(
    row: Row, arrays: Mapping[str, np.ndarray], name: str
) -> dict[int, Row]:
    """Returns a row of each class: its percent, its error, its images.

    Args:
      row: Of all classes.
      arrays: What `counted` returned.
      name: "right" or "robust".
    """
    found = {}
    for label, count, kept in zip(
        arrays["label"], arrays["images"], arrays[name], strict=True
    ):
        share = kept / count
        error = 100 * math.sqrt(share * (1 - share) / count)
        found[int(label)] = dataclasses.replace(
            row, value=100 * float(share), stderr=error, n=int(count)
        )
    return found
