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


class Attacked(NamedTuple):
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


def binomial(correct: float, n: float) -> Accuracy:
    """Returns the accuracy of `correct` images out of `n`.

    The standard error is 100 sqrt(p (1 - p) / n).
    """
    share = correct / n
    return Accuracy(
        100 * share, 100 * math.sqrt(share * (1 - share) / n), int(n)
    )


def hits(logits_fn: LogitsFn, images: tf.Tensor, batch: Batch) -> tf.Tensor:
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


def accuracy(logits_fn: LogitsFn, batches: Iterable[Batch]) -> Accuracy:
    """Returns the accuracy of a classifier over `batches` (TA)."""
    right = total = 0.0
    for batch in batches:
        right += float(tf.reduce_sum(hits(logits_fn, batch["image"], batch)))
        total += float(tf.reduce_sum(batch["weight"]))
    return binomial(right, total)


def attacked(
    logits_fn: LogitsFn, batches: Iterable[Batch], attack: Attack
) -> Attacked:
    """Returns TA and RA of a classifier over `batches`.

    Args:
      logits_fn: The classifier, or a combined one.
      batches: The images; padding rows have weight 0.
      attack: attack(logits_fn, images, labels, *, ids), see attacks.bind.

    Returns:
      An `Attacked`.
    """
    clean = robust = strict = total = 0.0
    for batch in batches:
        images = attack(
            logits_fn, batch["image"], batch["label"], ids=batch["id"]
        )
        before = hits(logits_fn, batch["image"], batch)
        after = hits(logits_fn, images, batch)
        clean += float(tf.reduce_sum(before))
        robust += float(tf.reduce_sum(after))
        strict += float(tf.reduce_sum(before * after))
        total += float(tf.reduce_sum(batch["weight"]))
    return Attacked(*(binomial(x, total) for x in (clean, robust, strict)))
