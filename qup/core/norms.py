"""Lengths and balls: project, normalise and sample in L-inf, L2 and L1.

A perturbation is float32 [batch, ...]; its norm is taken over all axes but
the first.
"""

import math
from collections.abc import Iterable

import tensorflow as tf

from qup.core import errors, prng

NAMES = ("linf", "l2", "l1")
# The squared length below which a direction counts as none; the value
# cleverhans uses, so that the two agree to the last bit.
_EPS = 1e-12


def check_norm(norm: str, known: Iterable[str] = NAMES) -> None:
    """Raises an InputError unless `norm` is one of `known`."""
    if norm not in known:
        raise errors.make_unknown_error("norm", norm, known)


def _get_image_axes(delta: tf.Tensor) -> list[int]:
    return list(range(1, delta.shape.rank))


def expand_like(values: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Reshapes [batch] to [batch, 1, ...], to go with the rows of `like`."""
    return tf.reshape(values, [-1] + [1] * (like.shape.rank - 1))


def compute_norm(delta: tf.Tensor, norm: str) -> tf.Tensor:
    """Returns the norm of each row.

    Args:
      delta: float32 [batch, ...].
      norm: "linf", "l2", "l1" or "l0" (the number of elements not zero).

    Returns:
      float32 [batch].
    """
    size = tf.abs(delta)
    if norm == "l0":
        return tf.reduce_sum(tf.cast(size > 0, tf.float32), _get_image_axes(delta))
    if norm == "l1":
        return tf.reduce_sum(size, _get_image_axes(delta))
    if norm == "l2":
        return tf.sqrt(tf.reduce_sum(tf.square(delta), _get_image_axes(delta)))
    return tf.reduce_max(size, _get_image_axes(delta))


def _compute_l2_norm(delta: tf.Tensor) -> tf.Tensor:
    square = tf.reduce_sum(tf.square(delta), _get_image_axes(delta), keepdims=True)
    return tf.sqrt(tf.maximum(_EPS, square))


def normalise(gradient: tf.Tensor, norm: str) -> tf.Tensor:
    """Returns the unit-ball step along which a linear loss rises most.

    Args:
      gradient: float32 [batch, ...].
      norm: "linf" (the sign), "l2" (the direction) or "l1" (the largest
        element alone; equal ones share).

    Returns:
      float32 of the same shape; zero where the gradient is zero.
    """
    if norm == "linf":
        return tf.sign(gradient)
    if norm == "l2":
        return gradient / _compute_l2_norm(gradient)
    size = tf.abs(gradient)
    largest = tf.reduce_max(size, _get_image_axes(gradient), keepdims=True)
    direction = tf.where(size == largest, tf.sign(gradient), 0.0)
    count = tf.reduce_sum(tf.abs(direction), _get_image_axes(gradient), keepdims=True)
    return direction / tf.maximum(1.0, count)


def project(delta: tf.Tensor, epsilon: tf.Tensor, norm: str) -> tf.Tensor:
    """Returns the nearest perturbation of norm at most `epsilon`.

    Nearest in L2.

    Args:
      delta: float32 [batch, ...].
      epsilon: float32, a scalar or [batch, 1, ...], in the units of `delta`.
      norm: "linf", "l2" or "l1".

    Returns:
      float32 of the same shape.
    """
    if norm == "linf":
        return tf.clip_by_value(delta, -epsilon, epsilon)
    if norm == "l2":
        return delta * tf.minimum(1.0, epsilon / _compute_l2_norm(delta))
    return _project_l1(delta, epsilon)


def _project_l1(delta: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
    """Soft-thresholds at the level that leaves a length of epsilon.

    Reference: Duchi et al. 2008, doi:10.1145/1390156.1390191, Fig. 1.
    """
    flat = tf.reshape(tf.abs(delta), (tf.shape(delta)[0], -1))
    radius = tf.reshape(epsilon * tf.ones_like(_compute_l2_norm(delta)), (-1, 1))
    descending = tf.sort(flat, direction="DESCENDING")
    ranks = tf.range(1.0, tf.cast(tf.shape(flat)[1], tf.float32) + 0.5)
    levels = (tf.cumsum(descending, axis=1) - radius) / ranks
    # The last rank whose element stays above its level.
    above = tf.cast(descending > levels, tf.int32)
    last = tf.maximum(tf.reduce_sum(above, 1, keepdims=True) - 1, 0)
    level = tf.gather(levels, last, batch_dims=1)
    inside = tf.reduce_sum(flat, 1, keepdims=True) <= radius
    shrunk = tf.where(inside, flat, tf.maximum(flat - level, 0.0))
    return tf.sign(delta) * tf.reshape(shrunk, tf.shape(delta))


def project_in_box(delta: tf.Tensor, epsilon: tf.Tensor, images: tf.Tensor, bounds) -> tf.Tensor:
    """Returns the nearest perturbation in the L1 ball that keeps the box.

    Nearest in L2; the ball and then the box would leave epsilon unused.

    Args:
      delta: float32 [batch, ...].
      epsilon: float32, a scalar or [batch, 1, ...].
      images: float32 [batch, ...], inside the box.
      bounds: (lowest, highest) pixel, or None for no box.

    Returns:
      float32 of the same shape.

    Reference: Croce and Hein 2021, arXiv 2103.01208, Proposition 2.1.
    """
    if bounds is None:
        return project(delta, epsilon, "l1")
    size = tf.abs(delta)
    room = tf.where(delta > 0, bounds[1] - images, images - bounds[0])

    def shrink(level):
        return tf.minimum(tf.maximum(size - level, 0.0), room)

    def sum_per_image(values):
        return tf.reduce_sum(values, _get_image_axes(delta), keepdims=True)

    # sum_i min(max(|d_i| - level, 0), room_i) = epsilon: halve the level's
    # bracket to a float's precision. Its upper end never leaves the ball.
    def halve_bracket(low, high):
        middle = 0.5 * (low + high)
        over = sum_per_image(shrink(middle)) > epsilon
        return tf.where(over, middle, low), tf.where(over, high, middle)

    high = tf.reduce_max(size, _get_image_axes(delta), keepdims=True)
    high = tf.where(sum_per_image(shrink(0.0)) > epsilon, high, 0.0)
    _, level = tf.while_loop(
        lambda *_: True, halve_bracket, (0 * high, high), maximum_iterations=24
    )
    return tf.sign(delta) * shrink(level)


def sample(like: tf.Tensor, epsilon: tf.Tensor, norm: str, keys: tf.Tensor) -> tf.Tensor:
    """Draws a uniform point of the ball for each row.

    Args:
      like: Tensor whose shape [batch, ...] the result takes.
      epsilon: float32, the radius; a scalar or [batch, 1, ...].
      norm: "linf", "l2" or "l1".
      keys: uint64 [batch], see `draws.keys`.

    Returns:
      float32 of the shape of `like`.
    """
    shape = like.shape[1:].as_list()
    if norm == "linf":
        return epsilon * prng.uniform(keys, shape, -1.0, 1.0)
    radii = prng.make_keys(1, keys)
    if norm == "l1":
        # Exponential spacings are uniform on the simplex; one more makes
        # its inside (Devroye 1986, ch. V.4), and signs the ball.
        spacings = -tf.math.log(1.0 - prng.uniform(keys, shape))
        last = -tf.math.log(1.0 - prng.uniform(radii, [1] * len(shape)))
        total = tf.reduce_sum(spacings, _get_image_axes(like), keepdims=True) + last
        flips = prng.signs(prng.make_keys(2, keys), shape)
        return epsilon * flips * spacings / total
    # Uniform in the L2 ball: a Gaussian direction at radius U^(1/d).
    direction = prng.normal(keys, shape)
    radius = prng.uniform(radii, [1] * len(shape))
    radius = radius ** (1 / math.prod(shape))
    return epsilon * radius * direction / _compute_l2_norm(direction)


# Perturbations of a given length: steps and random starts.
#
# ```python
# start = images + spheres.sample(images, radius, "l2", keys)
# ```


def scale_to_norm(delta: tf.Tensor, radius: tf.Tensor, norm: str) -> tf.Tensor:
    """Returns `delta` scaled to a length, however short it is; zero if it is.

    Args:
      delta: float32 [batch, ...].
      radius: float32, a scalar or [batch, 1, ...], the length.
      norm: "linf", "l2" or "l1".
    """
    # Divided by the largest element first, whose square may be no float32.
    for order in ("linf", norm):
        length = expand_like(compute_norm(delta, order), delta)
        delta = tf.math.divide_no_nan(delta, length)
    return radius * delta


def sample_sphere(like: tf.Tensor, radius: tf.Tensor, norm: str, keys: tf.Tensor) -> tf.Tensor:
    """Draws a perturbation of length `radius` for each row.

    Its direction is that of a uniform point of the ball.

    Args:
      like: Tensor whose shape [batch, ...] the result takes.
      radius: float32, a scalar or [batch, 1, ...].
      norm: "linf", "l2" or "l1".
      keys: uint64 [batch], see `draws.keys`.
    """
    return scale_to_norm(sample(like, 1.0, norm, keys), radius, norm)
