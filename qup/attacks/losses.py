"""The losses that attacks increase, and the choice of targets of targeted attacks.

A loss maps logits float32 [batch, num_classes] and labels int32 [batch] to float32 [batch].
`cross_entropy` is the paper's l ("the loss function l is simply the training loss", after Eq. 1).
"""

from collections.abc import Callable

import tensorflow as tf

from qup.attacks.method import QueryCounter
from qup.core import errors, prng

TARGET_CHOICES = ("least_likely", "random", "second_likely")


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Negative log likelihood: log sum_j exp z_j - z_y."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def log_odds(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Log odds against y: -m = log sum_{j != y} exp z_j - z_y.

    Cross-entropy is softplus(-m). Its gradient is sigmoid(-m) > 0 times that of -m, so sign steps
    and normalised steps along the two are equal in exact arithmetic. In float32 cross-entropy loses
    the term of z_y if p_y rounds to 1 (a gap of about 17), and its whole gradient at a gap of about
    104; -m does not.
    """
    true_logit, other_logits = _split_true_logit(logits, labels)
    return tf.reduce_logsumexp(other_logits, -1) - true_logit


def margin(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """The largest other logit minus the label's: max_{j != y} z_j - z_y.

    It is positive for misclassified images. Its gradient does not vanish for large gaps.
    """
    true_logit, other_logits = _split_true_logit(logits, labels)
    return tf.reduce_max(other_logits, -1) - true_logit


def dlr(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Difference of logits ratio: -(z_y - max_{j != y} z_j) / (z_(1) - z_(3)).

    It does not change if the logits are scaled or shifted, and needs three classes
    (Croce and Hein 2020, arXiv 2003.01690, Eq. 6).
    """
    top = tf.math.top_k(logits, 3).values
    return margin(logits, labels) / (top[:, 0] - top[:, 2] + 1e-12)


def _split_true_logit(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the label's logit, and the logits with -infinity in its place."""
    is_true = tf.one_hot(labels, tf.shape(logits)[-1], True, False, dtype=tf.bool)
    other_logits = tf.where(is_true, tf.constant(float("-inf"), logits.dtype), logits)
    return tf.reduce_sum(tf.where(is_true, logits, 0.0), -1), other_logits


_LOSSES = {"cross_entropy": cross_entropy, "log_odds": log_odds, "margin": margin, "dlr": dlr}
NAMES = tuple(_LOSSES)


def get(name: str) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns the loss of that name, or raises an InputError."""
    if not isinstance(name, str) or name not in _LOSSES:
        raise errors.make_unknown_error("loss", name, NAMES)
    return _LOSSES[name]


def build_objective(
    name: str, labels: tf.Tensor, targeted: bool
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Builds the function that an attack maximises: logits -> float32 [batch].

    Args:
      name: Name of the loss.
      labels: int32 [batch], true classes, or targets, whose loss is minimised.
      targeted: Whether the labels are targets.
    """
    loss = get(name)
    sign = -1.0 if targeted else 1.0
    return lambda logits: sign * loss(logits, labels)


def compute_target_sign(
    classifier: QueryCounter, images: tf.Tensor, targets: tf.Tensor
) -> tf.Tensor:
    """Returns sign(grad_X l(f(X), y_target)), the direction of Kurakin's steps."""
    _, _, gradient = classifier.gradient(lambda logits: cross_entropy(logits, targets), images)
    return tf.sign(gradient)


def check_target_choice(name: str) -> None:
    """Raises an InputError unless `name` is one of `TARGET_CHOICES`."""
    if name not in TARGET_CHOICES:
        raise errors.make_unknown_error("choice of targets", name, TARGET_CHOICES)


def choose_targets(name: str, logits: tf.Tensor, labels: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """Returns one target per image, int32 [batch], never the true class.

    Args:
      name: One of `TARGET_CHOICES`: the least likely class, a random other class, or the most
        likely other class (Kurakin, Goodfellow, Bengio 2017, arXiv 1611.01236).
      logits: float32 [batch, num_classes], of the clean images.
      labels: int32 [batch], the true classes.
      keys: uint64 [batch], of the random choice.
    """
    if name == "second_likely":
        return select_ranked_class(logits, labels, 1)
    if name == "least_likely":
        return select_ranked_class(logits, labels, -1)
    num_classes = logits.shape[1]
    offset = 1 + prng.integers(keys, (), num_classes - 1)
    return (labels + offset) % num_classes


def select_ranked_class(logits: tf.Tensor, labels: tf.Tensor, rank: int | tf.Tensor) -> tf.Tensor:
    """Returns the class of a rank among the classes other than the label, int32 [batch].

    Args:
      logits: float32 [batch, num_classes].
      labels: int32 [batch], the true classes.
      rank: 1 is the most likely other class, -1 the least likely.
    """
    num_classes = logits.shape[1]
    is_true = tf.one_hot(labels, num_classes, True, False, dtype=tf.bool)
    # The label has rank 0.
    other_logits = tf.where(is_true, tf.constant(float("inf")), logits)
    order = tf.argsort(other_logits, direction="DESCENDING", stable=True)
    return tf.gather(order, rank % num_classes, axis=1)
