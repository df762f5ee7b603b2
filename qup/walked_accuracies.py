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

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from qup import compilation, errors, opposite_fgsm
from qup.evaluation import Accuracy, binomial, hits
from qup.types import Attack, Batch, LogitsFn

WALKED_WITH = ("true", "predicted")


class Point(NamedTuple):
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


def walked_accuracies(
    logits_fn: LogitsFn,
    batches: Iterable[Batch],
    attack: Attack,
    *,
    points: Sequence[int],
    walked_with: str = "true",
    before: Attack | None = None,
    **steps: Any,
) -> list[Point]:
    """Walks images, and counts which are classified as their true label.

    Args:
      logits_fn: The classifier.
      batches: The images; padding rows have weight 0.
      attack: attack(logits_fn, images, labels, *, ids), with true labels.
      points: The n to count at.
      walked_with: "true" labels, or the "predicted": the classifier's, of
        X_0 and of attacked X_0 each.
      before: The attack on X_0; None takes `attack`.
      **steps: Further arguments of `opposite_fgsm.walk` but `num_steps`.

    Returns:
      A `Point` for each n, rising.

    Raises:
      InputError: Another `walked_with`, or no points.
    """
    if walked_with not in WALKED_WITH:
        raise errors.unknown("walked_with", walked_with, WALKED_WITH)
    points = sorted(set(points))
    if not points or points[0] < 0:
        raise errors.InputError(
            f"points must be numbers of steps of at least 0; got {points}."
        )
    counts, total = np.zeros((len(points), 3)), 0.0
    for batch in batches:
        images, known = batch["image"], (batch["label"], batch["id"])
        moved = _attacked(before or attack, logits_fn, images, known)
        walks = zip(
            _walked(logits_fn, images, batch, points, walked_with, steps),
            _walked(logits_fn, moved, batch, points, walked_with, steps),
            strict=True,
        )
        for place, (clean, late) in enumerate(walks):
            early = _attacked(attack, logits_fn, clean, known)
            for column, shown in enumerate((clean, early, late)):
                counts[place, column] += tf.reduce_sum(
                    hits(logits_fn, shown, batch)
                )
        total += float(tf.reduce_sum(batch["weight"]))
    return [
        Point(step, *(binomial(float(count), total) for count in row))
        for step, row in zip(points, counts, strict=True)
    ]


def _attacked(attack: Attack, logits_fn: LogitsFn, images, known) -> tf.Tensor:
    labels, ids = known
    return attack(logits_fn, images, labels, ids=ids)


def _walked(
    logits_fn: LogitsFn, images, batch: Batch, points, walked_with: str, steps
):
    """Yields X_n at each point."""
    labels = batch["label"]
    if walked_with == "predicted":
        logits = compilation.predict(logits_fn, images)
        labels = tf.argmax(logits, axis=-1, output_type=tf.int32)
    done = 0
    for point in points:
        if point > done:
            images = opposite_fgsm.walk(
                logits_fn, images, labels, num_steps=point - done, **steps
            )
            done = point
        yield images
