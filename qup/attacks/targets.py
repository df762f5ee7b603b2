"""Which class a targeted attack aims at.

`choose_targets` picks one by what the classifier says of the clean image, as
Kurakin, Goodfellow, Bengio 2017 (arXiv 1611.01236) do: the least likely
class, a random other one, or the runner-up.
"""

import tensorflow as tf

from qup import draws, errors

TARGET_CHOICES = ("least_likely", "random", "second_likely")


def check_target_choice(name: str) -> None:
    """Raises an InputError unless `name` is one of `TARGET_CHOICES`."""
    if name not in TARGET_CHOICES:
        raise errors.make_unknown_error("choice of targets", name, TARGET_CHOICES)


def select_ranked_class(logits: tf.Tensor, labels: tf.Tensor, rank: int | tf.Tensor) -> tf.Tensor:
    """Returns the class other than the label that comes `rank`-th.

    Args:
      logits: float32 [batch, classes].
      labels: int32 [batch], the true classes.
      rank: 1 for the likeliest other class; negative counts from the end.

    Returns:
      int32 [batch].
    """
    num_classes = logits.shape[1]
    is_true = tf.one_hot(labels, num_classes, True, False, dtype=tf.bool)
    other_logits = tf.where(is_true, tf.constant(float("inf")), logits)
    order = tf.argsort(other_logits, direction="DESCENDING", stable=True)
    return tf.gather(order, rank % num_classes, axis=1)


def choose_targets(name: str, logits: tf.Tensor, labels: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """Returns one target an image, never the true class.

    Args:
      name: One of `TARGET_CHOICES`.
      logits: float32 [batch, classes], of the clean images.
      labels: int32 [batch], the true classes.
      keys: uint64 [batch], of the random choice.

    Returns:
      int32 [batch].
    """
    if name == "second_likely":
        return select_ranked_class(logits, labels, 1)
    if name == "least_likely":
        return select_ranked_class(logits, labels, -1)
    num_classes = logits.shape[1]
    offset = 1 + draws.integers(keys, (), num_classes - 1)
    return (labels + offset) % num_classes
