"""What an attack on many images says of a classifier: rows and records.

```python
rows = rows_of(subject, result, clean, options)
```
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from qup import evaluation
from qup.attacks.base.result import AttackResult
from qup.measurements import Row
from qup.subjects import Subject

# Value of the parameter "evaluation" of rows that records stand behind.
PER_IMAGE = "per_image"


def rows_of(
    subject: Subject,
    result: AttackResult,
    right: np.ndarray,
    attack: Mapping[str, Any],
) -> list[Row]:
    """Returns the rows of one attack.

    Args:
      subject: The classifier.
      result: What the attack found.
      right: bool [n], the clean image is classified as its label.
      attack: Name, epsilon (None without a budget) and options; with
        "targets" the attack aims at a class.

    Returns:
      TA; RA (an image that is misclassified as it is counts as broken) and
      RA after each stage of an attack of several, or without a budget or
      with targets the share that was broken (classified as its target) of
      the images that were right; the mean
      distances of the latter; the mean number of calls.
    """
    count = len(result)
    subject = subject.such(evaluation=PER_IMAGE)
    clean = evaluation.binomial(float(right.sum()), count)
    if attack["epsilon"] is None or attack.get("targets"):
        broken = (result.success & right).sum()
        rate = evaluation.binomial(float(broken), max(int(right.sum()), 1))
        rows = [
            subject.row("test_accuracy", clean),
            subject.row("success_rate", rate, attack),
        ]
    else:
        robust = evaluation.binomial(float((~result.success).sum()), count)
        rows = subject.rows(clean, {"robust_accuracy": robust}, attack)
    stages = result.after_stages()
    if len(stages) > 1:
        for name, percent in stages.items():
            left = evaluation.binomial(percent * count / 100, count)
            told = {**attack, "after": name}
            rows.append(subject.row("robust_accuracy_after", left, told))
    broken = result.success & right
    columns = {f"mean_{norm}": far[broken] for norm, far in
               result.distances.items()}  # fmt: skip
    columns["mean_forward_calls"] = result.forward_calls
    columns["mean_gradient_calls"] = result.gradient_calls
    for measure, values in columns.items():
        if values.size and np.isfinite(values).all():
            rows.append(subject.row(measure, mean(values), attack))
    return rows


def mean(values: np.ndarray) -> evaluation.Accuracy:
    """Returns a mean, its standard error (None of one value), and n."""
    error = None
    if values.size > 1:
        error = float(values.std(ddof=1) / np.sqrt(values.size))
    return evaluation.Accuracy(float(values.mean()), error, values.size)
