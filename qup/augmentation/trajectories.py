"""TA and RA of walked images: what the best of translators could reach.

A control of IFA. The supplement's Fig. 2 walks training images down the
loss of their true label. Images of the test set, walked so, bound what a
perfect translator gives; walked down the loss of the label that the
classifier itself predicts, what one gives that knows no more than the
classifier. An attack may come after the walk, in the ball round X_n, as in
that figure, or before it, in the ball round X_0, as against a pair.

```python
for point in walked_accuracies(classifier, batches, attack, points=(0, 20),
                               walked_with="predicted", step_size=0.02):
    print(point.step, point.test_accuracy.value)
```
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from qup.augmentation import opposite_fgsm
from qup.core import compilation, errors
from qup.core.measurements import Accuracy, ModelInfo, Row, compute_accuracy
from qup.core.types import Attack, Batch, LogitsFn
from qup.robustness.evaluation import compute_correct_mask

LABEL_SOURCES = ("true", "predicted")


class TrajectoryPoint(NamedTuple):
    """What is measured of X_n.

    Attributes:
      step: n.
      test_accuracy: Of X_n.
      attacked_after: Of X_n, attacked round X_n.
      attacked_before: Of X_0 attacked, then walked.
    """

    step: int
    test_accuracy: Accuracy
    attacked_after: Accuracy
    attacked_before: Accuracy


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
    """Walks images, and counts which are classified as their true label.

    Args:
      logits_fn: The classifier.
      batches: The images; padding rows have weight 0.
      attack: attack(logits_fn, images, labels, *, ids), with true labels.
      points: The n to count at.
      label_source: "true" labels, or the "predicted": the classifier's, of
        X_0 and of attacked X_0 each.
      attack_before: The attack on X_0; None takes `attack`.
      **steps: Further arguments of `opposite_fgsm.walk` but `num_steps`.

    Returns:
      A `TrajectoryPoint` for each n, rising.

    Raises:
      InputError: Another `label_source`, or no points.
    """
    if label_source not in LABEL_SOURCES:
        raise errors.make_unknown_error("walked_with", label_source, LABEL_SOURCES)
    points = sorted(set(points))
    if not points or points[0] < 0:
        raise errors.InputError(f"points must be numbers of steps of at least 0; got {points}.")
    counts, total = np.zeros((len(points), 3)), 0.0
    for batch in batches:
        images, labels_and_ids = batch["image"], (batch["label"], batch["id"])
        perturbed = _attack_images(attack_before or attack, logits_fn, images, labels_and_ids)
        trajectories = zip(
            _iterate_points(logits_fn, images, batch, points, label_source, steps),
            _iterate_points(logits_fn, perturbed, batch, points, label_source, steps),
            strict=True,
        )
        for row_index, (x_n, attacked_before) in enumerate(trajectories):
            attacked_after = _attack_images(attack, logits_fn, x_n, labels_and_ids)
            for column, evaluated in enumerate((x_n, attacked_after, attacked_before)):
                counts[row_index, column] += tf.reduce_sum(
                    compute_correct_mask(logits_fn, evaluated, batch)
                )
        total += float(tf.reduce_sum(batch["weight"]))
    return [
        TrajectoryPoint(step, *(compute_accuracy(float(count), total) for count in row))
        for step, row in zip(points, counts, strict=True)
    ]


def _attack_images(attack: Attack, logits_fn: LogitsFn, images, labels_and_ids) -> tf.Tensor:
    labels, ids = labels_and_ids
    return attack(logits_fn, images, labels, ids=ids)


def _iterate_points(logits_fn: LogitsFn, images, batch: Batch, points, label_source: str, steps):
    """Yields X_n at each point."""
    labels = batch["label"]
    if label_source == "predicted":
        logits = compilation.predict(logits_fn, images)
        labels = tf.argmax(logits, axis=-1, output_type=tf.int32)
    num_done = 0
    for point in points:
        if point > num_done:
            images = opposite_fgsm.iterate(
                logits_fn, images, labels, num_steps=point - num_done, **steps
            )
            num_done = point
        yield images


# TA and RA of the walked images X_n as rows: supplement, Fig. 2.
#
# ```python
# rows = of_trajectory(subject, {"images": 60000, "points": [[0, 58000, 9000]]},
#                      attack)
# ```


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
