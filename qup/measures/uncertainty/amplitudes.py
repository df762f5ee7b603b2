"""What a packet is made of: ln l of a network's outputs.

Of a classifier with the margin m = z_Y - logsumexp of the others,
p_Y = sigmoid(m), so that the loss is softplus(-m): far below the smallest
float32 near a confident image, while its logarithm is about -m.
"""

import tensorflow as tf

# Above this margin ln softplus(-m) is -m - exp(-m) / 2 to float32's last bit.
_LARGE_MARGIN = 15.0

PACKET_KINDS = ("loss", "sqrt_prob", "prob")


def compute_margin(logits: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
    """Returns m = z_Y - logsumexp of the others: [batch].

    Args:
      logits: [batch, num_classes].
      label: int32 scalar.
    """
    is_label = tf.range(tf.shape(logits)[1]) == label
    other_logits = tf.where(is_label, logits.dtype.min, logits)
    return tf.gather(logits, label, axis=1) - tf.reduce_logsumexp(other_logits, 1)


def _log_loss(outputs, label, temperature):
    # ln l = ln softplus(-m)
    m = compute_margin(outputs / temperature, label)
    small_margin = tf.minimum(m, _LARGE_MARGIN)
    large_margin_value = -m - 0.5 * tf.exp(-tf.maximum(m, _LARGE_MARGIN))
    return tf.where(
        m < _LARGE_MARGIN, tf.math.log(tf.nn.softplus(-small_margin)), large_margin_value
    )


def _log_prob(outputs, label, temperature):
    # ln p_Y = -softplus(-m)
    return -tf.nn.softplus(-compute_margin(outputs / temperature, label))


def _log_sqrt_prob(outputs, label, temperature):
    return 0.5 * _log_prob(outputs, label, temperature)


def _log_l1(outputs, target):
    # l = mean |G(x) - target|
    axes = list(range(1, len(outputs.shape)))
    return tf.math.log(tf.reduce_mean(tf.abs(outputs - target), axes))


LOG_AMPLITUDES = {
    "loss": _log_loss,
    "prob": _log_prob,
    "sqrt_prob": _log_sqrt_prob,
    "l1": _log_l1,
    "function": lambda outputs: outputs,
}
