"""What an attack raises: losses of logits and labels, one value an image.

Each maps logits float32 [batch, classes] and labels int32 [batch] to
float32 [batch]. `cross_entropy` is the paper's l ("the loss function l is
simply the training loss", after Eq. 1).
"""

from collections.abc import Callable

import tensorflow as tf

from qup import errors


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Negative log likelihood: log sum_j exp z_j - z_y."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def log_odds(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Log odds against y: -m = log sum_{j != y} exp z_j - z_y.

    Cross-entropy is softplus(-m), so its gradient is that of -m times
    sigmoid(-m) > 0: sign steps and normalised steps along the two are the
    same in exact arithmetic. In float32 cross-entropy loses the term of z_y
    once p_y rounds to 1 (a gap of about 17) and all of it at a gap of about
    104; -m never does.
    """
    true = tf.one_hot(labels, tf.shape(logits)[-1], True, False, dtype=tf.bool)
    others = tf.where(true, tf.constant(float("-inf"), logits.dtype), logits)
    own = tf.reduce_sum(tf.where(true, logits, 0.0), -1)
    return tf.reduce_logsumexp(others, -1) - own


_LOSSES = {"cross_entropy": cross_entropy, "log_odds": log_odds}
NAMES = tuple(_LOSSES)


def get(name: str) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns the loss called `name`; InputError where there is none."""
    if name not in _LOSSES:
        raise errors.unknown("loss", name, NAMES)
    return _LOSSES[name]
