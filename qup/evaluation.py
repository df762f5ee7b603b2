"""Test accuracy and robust accuracy: sections 4.1 and S3 of the paper.

```python
result = attacked(classifier, batches, attacks.bind("pgd", epsilon=0.1))
result.robust_accuracy.value  # percent
```
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import tensorflow as tf

from qup import compilation
from qup.types import Attack, Batch, LogitsFn


class Accuracy(NamedTuple):
    """An accuracy in percent, its binomial standard error, and n."""

    value: float
    stderr: float | None
    n: int


class AttackEvaluation(NamedTuple):
    """What one pass over a dataset measures.

    Attributes:
      test_accuracy: Of the clean images (TA).
      robust_accuracy: Of the attacked images (RA); an image that was
        misclassified before the attack counts by its attacked class alone,
        the paper's definition.
      robust_accuracy_strict: Right before and after the attack.
    """

    test_accuracy: Accuracy
    robust_accuracy: Accuracy
    robust_accuracy_strict: Accuracy


def compute_accuracy(correct: float, n: float) -> Accuracy:
    """Returns the accuracy of `correct` images out of `n`.

    The standard error is 100 sqrt(p (1 - p) / n).
    """
    fraction = correct / n
    return Accuracy(100 * fraction, 100 * math.sqrt(fraction * (1 - fraction) / n), int(n))


def compute_correct_mask(logits_fn: LogitsFn, images: tf.Tensor, batch: Batch) -> tf.Tensor:
    """Marks the rows of `images` that are classified as their label.

    Args:
      logits_fn: The classifier.
      images: float32 [batch, ...], the batch's images or attacked ones.
      batch: Gives "label" and "weight".

    Returns:
      float32 [batch], 1 where right and 0 where wrong or padding.
    """
    classes = tf.argmax(compilation.predict(logits_fn, images), -1, tf.int32)
    return tf.cast(classes == batch["label"], tf.float32) * batch["weight"]


def evaluate_accuracy(logits_fn: LogitsFn, batches: Iterable[Batch]) -> Accuracy:
    """Returns the accuracy of a classifier over `batches` (TA)."""
    num_correct = total = 0.0
    for batch in batches:
        num_correct += float(tf.reduce_sum(compute_correct_mask(logits_fn, batch["image"], batch)))
        total += float(tf.reduce_sum(batch["weight"]))
    return compute_accuracy(num_correct, total)


def evaluate_attack(
    logits_fn: LogitsFn, batches: Iterable[Batch], attack: Attack
) -> AttackEvaluation:
    """Returns TA and RA of a classifier over `batches`.

    Args:
      logits_fn: The classifier, or a combined one.
      batches: The images; padding rows have weight 0.
      attack: attack(logits_fn, images, labels, *, ids), see attacks.bind.

    Returns:
      An `AttackEvaluation`.
    """
    clean = robust = strict = total = 0.0
    for batch in batches:
        images = attack(logits_fn, batch["image"], batch["label"], ids=batch["id"])
        clean_mask = compute_correct_mask(logits_fn, batch["image"], batch)
        robust_mask = compute_correct_mask(logits_fn, images, batch)
        clean += float(tf.reduce_sum(clean_mask))
        robust += float(tf.reduce_sum(robust_mask))
        strict += float(tf.reduce_sum(clean_mask * robust_mask))
        total += float(tf.reduce_sum(batch["weight"]))
    return AttackEvaluation(*(compute_accuracy(x, total) for x in (clean, robust, strict)))
