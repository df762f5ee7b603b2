"""What Fig. 3's measures of one network become in the table.

```python
rows = rows_of(subject, imagenet_distortions.measure(...), asked)
```
"""

import numpy as np

from qup import robustness
from qup.imagenet_distortions import ATTACKS, Asked, Distortions
from qup.measurements import Row
from qup.subjects import Subject


def rows_of(subject: Subject, found: Distortions, asked: Asked) -> list[Row]:
    """Returns the rows of one network.

    Args:
      subject: The network.
      found: What was measured.
      asked: How.

    Returns:
      "test_accuracy" (top-1, true labels); of each attack "success_rate",
      the mean distances over the images where it succeeded ("mean_linf",
      "mean_l2", ...) and the mean calls; "mean_l2_per_element" of Carlini
      and Wagner's; "mean_clever" and "mean_clever_per_element". Means have
      standard errors over images. Nothing but the accuracy where no image
      could be attacked.
    """
    rows = [subject.row("test_accuracy", found.accuracy)]
    subject = subject.such(targets=asked.targets, labels=asked.labels)
    divided = {"divisor": found.elements}
    for name, result in found.results.items():
        told = {
            "name": ATTACKS[name], "epsilon": None, **getattr(asked, name),
            "targeted": True, "targets": asked.targets, "images": len(result),
        }  # fmt: skip
        every = np.ones(len(result), bool)
        own = robustness.rows_of(subject, result, every, told)
        rows += [row for row in own if row.measure != "test_accuracy"]
        far = result.distances["l2"][result.success] / found.elements
        if name == "carlini_wagner" and far.size:
            mean = robustness.mean(far)
            rows.append(
                subject.such(**divided).row("mean_l2_per_element", mean, told)
            )
    if found.clever is not None:
        scores, told = found.clever.scores[:, 0], {"norm": "l2", **asked.clever}
        subject = subject.such(**told)
        rows.append(subject.row("mean_clever", robustness.mean(scores)))
        mean = robustness.mean(scores / found.elements)
        subject = subject.such(**divided)
        rows.append(subject.row("mean_clever_per_element", mean))
    return rows
