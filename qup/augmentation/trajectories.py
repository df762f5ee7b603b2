"""TA and RA of the opposite-FGSM iterates X_n: an upper bound for every translator.

A control of IFA. The iterates with the true labels (supplement, Fig. 2), computed on test images,
bound the result of a perfect translator. The iterates with the labels that the classifier predicts
bound the result of a translator that has no more information than the classifier. An attack can
come after the iteration, in the ball around X_n as in that figure, or before it, in the ball around
X_0 as against a pair.

```python
for point in evaluate_trajectory(
    classifier, batches, attack, points=(0, 20), label_source="predicted", step_size=0.02
):
    print(point.step, point.test_accuracy.value)
```
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from qup.augmentation import opposite_fgsm
from qup.core import errors
from qup.core.classifier import predict_logits
from qup.core.measurements import Measurement, ModelInfo, Row, compute_accuracy
from qup.core.types import Attack, Batch, LogitsFn
from qup.robustness.evaluation import compute_correct_mask

LABEL_SOURCES = ("true", "predicted")


class TrajectoryPoint(NamedTuple):
    """Accuracies of X_n.

    Attributes:
      step: n.
      test_accuracy: TA of X_n.
      attacked_after: RA, attacked around X_n.
      attacked_before: RA, attacked around X_0 and then iterated.
    """

    step: int
    test_accuracy: Measurement
    attacked_after: Measurement
    attacked_before: Measurement


def evaluate_trajectory(
    logits_fn: LogitsFn,
    batches: Iterable[Batch],
    attack: Attack,
    *,
    points: Sequence[int],
    label_source: str = "true",
    attack_before: Attack | None = None,
    **steps: Any,
) -> list[TrajectoryPoint]:
    """Computes X_n, and counts how many are classified as their true label.

    Args:
      logits_fn: The classifier.
      batches: The images; padding rows have weight 0.
      attack: attack(logits_fn, images, labels, *, ids), with true labels.
      points: Values of n, at least 0.
      label_source: "true" labels, or "predicted": those that the classifier gives to X_0, or to the
        attacked X_0.
      attack_before: The attack on X_0; None means `attack`.
      **steps: Further arguments of `opposite_fgsm.iterate` except `num_steps`.

    Returns:
      A `TrajectoryPoint` for each n, ascending.

    Raises:
      InputError: Another `label_source`, or no points.
    """
    if label_source not in LABEL_SOURCES:
        raise errors.make_unknown_error("label source", label_source, LABEL_SOURCES)
    points = sorted(set(points))
    if not points or points[0] < 0:
        raise errors.InputError(f"points must be numbers of steps of at least 0; got {points}.")
    counts, total = np.zeros((len(points), 3)), 0.0
    for batch in batches:
        images, labels, ids = batch["image"], batch["label"], batch["id"]
        perturbed = (attack_before or attack)(logits_fn, images, labels, ids=ids)
        trajectories = []
        for start in (images, perturbed):
            label_values = labels
            if label_source == "predicted":
                logits = predict_logits(logits_fn, start)
                label_values = tf.argmax(logits, axis=-1, output_type=tf.int32)
            trajectories.append(
                opposite_fgsm.iterate_points(logits_fn, start, label_values, points, **steps)
            )
        for row_index, (x_n, attacked_before) in enumerate(zip(*trajectories, strict=True)):
            attacked_after = attack(logits_fn, x_n, labels, ids=ids)
            for column, evaluated in enumerate((x_n, attacked_after, attacked_before)):
                counts[row_index, column] += tf.reduce_sum(
                    compute_correct_mask(logits_fn, evaluated, batch)
                )
        total += float(tf.reduce_sum(batch["weight"]))
    return [
        TrajectoryPoint(step, *(compute_accuracy(float(count), total) for count in row))
        for step, row in zip(points, counts, strict=True)
    ]


def build_trajectory_rows(
    model_info: ModelInfo, trajectory_counts: Mapping[str, Any], attack: Mapping[str, Any]
) -> list[Row]:
    """Returns the rows of Fig. 2 of the supplement, with "images":"X_n" and "step":n.

    Args:
      model_info: The classifier.
      trajectory_counts: "images", the number of images, and "points", rows of n, how many X_n are
        classified correctly, and how many are under the attack.
      attack: Name, epsilon and options of the attack on X_n.
    """
    model_info, rows = model_info.with_parameters(images="X_n", split="train"), []
    for step, *counts in trajectory_counts["points"]:
        clean, robust = (compute_accuracy(n, trajectory_counts["images"]) for n in counts)
        rows += model_info.with_parameters(step=step).build_rows(
            clean, {"robust_accuracy": robust}, attack
        )
    return rows
