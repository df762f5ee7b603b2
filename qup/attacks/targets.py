"""Which class a targeted attack aims at.

`choose` picks one by what the classifier says of the clean image, as
Kurakin, Goodfellow, Bengio 2017 (arXiv 1611.01236) do: the least likely
class, a random other one, or the runner-up.
"""

import tensorflow as tf

from qup import draws, errors

NAMES = ("least_likely", "random", "second_likely")


def check(name: str) -> None:
    """Raises an InputError unless `name` is one of `NAMES`."""
    if name not in NAMES:
        raise errors.unknown("choice of targets", name, NAMES)


def ranked(
    logits: tf.Tensor, labels: tf.Tensor, rank: int | tf.Tensor
) -> tf.Tensor:
    """Returns the class other than the label that comes `rank`-th.

    Args:
      logits: float32 [batch, classes].
      labels: int32 [batch], the true classes.
      rank: 1 for the likeliest other class; negative counts from the end.

    Returns:
      int32 [batch].
    """
    classes = logits.shape[1]
    true = tf.one_hot(labels, classes, True, False, dtype=tf.bool)
    others = tf.where(true, tf.constant(float("inf")), logits)
    order = tf.argsort(others, direction="DESCENDING", stable=True)
    return tf.gather(order, rank % classes, axis=1)


def choose(
    name: str, logits: tf.Tensor, labels: tf.Tensor, keys: tf.Tensor
) -> tf.Tensor:
    """Returns one target an image, never the true class.

    Args:
      name: One of `NAMES`.
      logits: float32 [batch, classes], of the clean images.
      labels: int32 [batch], the true classes.
      keys: uint64 [batch], of the random choice.

    Returns:
      int32 [batch].
    """
    if name == "second_likely":
        return ranked(logits, labels, 1)
    if name == "least_likely":
        return ranked(logits, labels, -1)
    classes = logits.shape[1]
    step = 1 + draws.integers(keys, (), classes - 1)
    return (labels + step) % classes
