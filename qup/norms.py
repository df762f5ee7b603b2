"""Lengths and balls: project, normalise and sample in L-inf and L2.

A perturbation is float32 [batch, ...]; its norm is taken over all axes but
the first.
"""

import tensorflow as tf

from qup import errors

NAMES = ("linf", "l2")
# The squared length below which a direction counts as none; the value
# cleverhans uses, so that the two agree to the last bit.
_TINY = 1e-12


def check(norm: str) -> None:
    """Raises an InputError unless `norm` is one of `NAMES`."""
    if norm not in NAMES:
        raise errors.unknown("norm", norm, NAMES)


def _axes(delta: tf.Tensor) -> list[int]:
    return list(range(1, delta.shape.rank))


def _l2(delta: tf.Tensor) -> tf.Tensor:
    square = tf.reduce_sum(tf.square(delta), _axes(delta), keepdims=True)
    return tf.sqrt(tf.maximum(_TINY, square))


def normalise(gradient: tf.Tensor, norm: str) -> tf.Tensor:
    """Returns the unit-ball step along which a linear loss rises most.

    Args:
      gradient: float32 [batch, ...].
      norm: "linf" (the sign) or "l2" (the direction).

    Returns:
      float32 of the same shape; zero where the gradient is zero.
    """
    if norm == "linf":
        return tf.sign(gradient)
    return gradient / _l2(gradient)


def project(delta: tf.Tensor, epsilon: tf.Tensor, norm: str) -> tf.Tensor:
    """Returns the nearest perturbation of norm at most `epsilon`.

    Args:
      delta: float32 [batch, ...].
      epsilon: float32 scalar, in the units of `delta`.
      norm: "linf" or "l2".

    Returns:
      float32 of the same shape.
    """
    if norm == "linf":
        return tf.clip_by_value(delta, -epsilon, epsilon)
    return delta * tf.minimum(1.0, epsilon / _l2(delta))


def sample(
    like: tf.Tensor, epsilon: tf.Tensor, norm: str, seed: tf.Tensor,
    ids: tf.Tensor,
) -> tf.Tensor:  # fmt: skip
    """Draws a uniform point of the ball for each row.

    A row's point depends on (seed, id) alone, not on its batch.

    Args:
      like: Tensor whose shape [batch, ...] the result takes.
      epsilon: float32 scalar, the radius.
      norm: "linf" or "l2".
      seed: int32 [2].
      ids: int64 [batch].

    Returns:
      float32 of the shape of `like`.
    """
    shape = tf.shape(like)[1:]

    def draw(row: tf.Tensor) -> tf.Tensor:
        own = tf.random.experimental.stateless_fold_in(seed, row)
        if norm == "linf":
            return tf.random.stateless_uniform(shape, own, -1.0, 1.0)
        # Uniform in the L2 ball: a Gaussian direction at radius U^(1/d).
        direction = tf.random.stateless_normal(shape, own)
        other = tf.random.experimental.stateless_fold_in(own, 1)
        dimension = tf.cast(tf.reduce_prod(shape), tf.float32)
        radius = tf.random.stateless_uniform((), other) ** (1 / dimension)
        return radius * direction / tf.norm(direction)

    unit = tf.map_fn(draw, ids, fn_output_signature=tf.float32)
    return epsilon * tf.reshape(unit, tf.shape(like))
