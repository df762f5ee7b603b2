"""What a packet is made of: ln l of a network's outputs.

Of a classifier with the margin m = z_Y - logsumexp of the others,
p_Y = sigmoid(m), so that the loss is softplus(-m): far below the smallest
float32 near a confident image, while its logarithm is about -m.
"""

import tensorflow as tf

# Above this margin ln softplus(-m) is -m - exp(-m) / 2 to float32's last bit.
_LARGE = 15.0

KINDS = ("loss", "sqrt_prob", "prob")


def margin(logits: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
    """Returns m = z_Y - logsumexp of the others: [batch].

    Args:
      logits: [batch, num_classes].
      label: int32 scalar.
    """
    own = tf.range(tf.shape(logits)[1]) == label
    others = tf.where(own, logits.dtype.min, logits)
    return tf.gather(logits, label, axis=1) - tf.reduce_logsumexp(others, 1)


def _loss(outputs, label, temperature):
    # ln l = ln softplus(-m)
    m = margin(outputs / temperature, label)
    small = tf.minimum(m, _LARGE)
    tail = -m - 0.5 * tf.exp(-tf.maximum(m, _LARGE))
    return tf.where(m < _LARGE, tf.math.log(tf.nn.softplus(-small)), tail)


def _prob(outputs, label, temperature):
    # ln p_Y = -softplus(-m)
    return -tf.nn.softplus(-margin(outputs / temperature, label))


def _sqrt_prob(outputs, label, temperature):
    return 0.5 * _prob(outputs, label, temperature)


def _l1(outputs, target):
    # l = mean |G(x) - target|
    axes = list(range(1, len(outputs.shape)))
    return tf.math.log(tf.reduce_mean(tf.abs(outputs - target), axes))


AMPLITUDES = {
    "loss": _loss,
    "prob": _prob,
    "sqrt_prob": _sqrt_prob,
    "l1": _l1,
    "function": lambda outputs: outputs,
}
