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
from qup.subjects import ModelInfo

# Value of the parameter "evaluation" of rows that records stand behind.
PER_IMAGE = "per_image"


def build_attack_rows(
    model_info: ModelInfo, result: AttackResult, correct: np.ndarray, attack: Mapping[str, Any]
) -> list[Row]:
    """Returns the rows of one attack.

    Args:
      model_info: The classifier.
      result: What the attack found.
      correct: bool [n], the clean image is classified as its label.
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
    model_info = model_info.with_parameters(evaluation=PER_IMAGE)
    clean = evaluation.compute_accuracy(float(correct.sum()), count)
    if attack["epsilon"] is None or attack.get("targets"):
        adversarial = (result.success & correct).sum()
        rate = evaluation.compute_accuracy(float(adversarial), max(int(correct.sum()), 1))
        rows = [
            model_info.build_row("test_accuracy", clean),
            model_info.build_row("success_rate", rate, attack),
        ]
    else:
        robust = evaluation.compute_accuracy(float((~result.success).sum()), count)
        rows = model_info.build_rows(clean, {"robust_accuracy": robust}, attack)
    stages = result.after_stages()
    if len(stages) > 1:
        for name, percent in stages.items():
            stage_accuracy = evaluation.compute_accuracy(percent * count / 100, count)
            stage_attack = {**attack, "after": name}
            rows.append(model_info.build_row("robust_accuracy_after", stage_accuracy, stage_attack))
    adversarial = result.success & correct
    columns = {
        f"mean_{norm}": distances[adversarial] for norm, distances in result.distances.items()
    }
    columns["mean_forward_calls"] = result.forward_calls
    columns["mean_gradient_calls"] = result.gradient_calls
    for measure, values in columns.items():
        if values.size and np.isfinite(values).all():
            rows.append(model_info.build_row(measure, compute_mean(values), attack))
    return rows


def compute_mean(values: np.ndarray) -> evaluation.Accuracy:
    """Returns a mean, its standard error (None of one value), and n."""
    error = None
    if values.size > 1:
        error = float(values.std(ddof=1) / np.sqrt(values.size))
    return evaluation.Accuracy(float(values.mean()), error, values.size)
