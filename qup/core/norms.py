"""Norms of perturbations and their balls: project, normalise and sample in L-inf, L2 and L1.

A perturbation is float32 [batch, ...]. Its norm is taken over all axes except the first.

```python
start = images + sample(images, epsilon, "l2", keys)
images = images + project(adversarial - images, epsilon, "l2")
```
"""

import math
from collections.abc import Iterable

import tensorflow as tf

from qup.core import errors, prng

NAMES = ("linf", "l2", "l1")
# The norm of a gradient that gives the distance in a norm to a hyperplane.
DUAL_NORM = {"linf": "l1", "l2": "l2", "l1": "linf"}
# A smaller change of an element, in widths of the box, is rounding and does not count in L0.
_L0_ATOL = 1e-6
# Smallest squared length of a direction. Cleverhans uses this value: both agree bit for bit.
_EPS = 1e-12


def check_norm(norm: str, known: Iterable[str] = NAMES) -> None:
    """Raises an InputError unless `norm` is one of `known`."""
    if norm not in known:
        raise errors.make_unknown_error("norm", norm, known)


def get_image_axes(images: tf.Tensor) -> list[int]:
    """Returns all axes except the batch axis."""
    return list(range(1, images.shape.rank))


def expand_like(values: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Reshapes [batch] to [batch, 1, ...] with the rank of `like`, for broadcasting."""
    return tf.reshape(values, [-1] + [1] * (like.shape.rank - 1))


def compute_norm(delta: tf.Tensor, norm: str, *, width: float = 1.0) -> tf.Tensor:
    """Returns the norm of each row, float32 [batch].

    Args:
      delta: float32 [batch, ...].
      norm: "linf", "l2", "l1" or "l0" (the number of elements above 1e-6 `width`).
      width: Range of the pixels, for "l0"; 0 counts all elements that are not zero.
    """
    size = tf.abs(delta)
    if norm == "l0":
        is_counted = size > _L0_ATOL * width
        return tf.reduce_sum(tf.cast(is_counted, tf.float32), get_image_axes(delta))
    if norm == "l1":
        return tf.reduce_sum(size, get_image_axes(delta))
    if norm == "l2":
        return tf.sqrt(tf.reduce_sum(tf.square(delta), get_image_axes(delta)))
    return tf.reduce_max(size, get_image_axes(delta))


def _compute_l2_norm(delta: tf.Tensor) -> tf.Tensor:
    square = tf.reduce_sum(tf.square(delta), get_image_axes(delta), keepdims=True)
    return tf.sqrt(tf.maximum(_EPS, square))


def normalise(gradient: tf.Tensor, norm: str) -> tf.Tensor:
    """Returns the step of norm 1 that increases a linear loss most; zero for a zero gradient.

    Args:
      gradient: float32 [batch, ...].
      norm: "linf" (the sign), "l2" (the direction) or "l1" (the largest element; equal elements
        share the step).
    """
    if norm == "linf":
        return tf.sign(gradient)
    if norm == "l2":
        return gradient / _compute_l2_norm(gradient)
    size = tf.abs(gradient)
    largest = tf.reduce_max(size, get_image_axes(gradient), keepdims=True)
    direction = tf.where(size == largest, tf.sign(gradient), 0.0)
    count = tf.reduce_sum(tf.abs(direction), get_image_axes(gradient), keepdims=True)
    return direction / tf.maximum(1.0, count)


def fill_steepest(gradient: tf.Tensor, epsilon: tf.Tensor, room: tf.Tensor) -> tf.Tensor:
    """Returns the step of L1 norm `epsilon` that increases a linear loss most.

    The elements change in descending order of |gradient|, each by as much as it can, until the
    norm is used up (Croce and Hein 2021, arXiv 2103.01208, Proposition 2.2).

    Args:
      gradient: float32 [batch, ...].
      epsilon: float32, a scalar or [batch, 1, ...]; the norm is smaller if all elements together
        cannot change by so much.
      room: float32 [batch, ...], not negative: the largest change of each element. An element
        without gradient does not change.
    """
    batch = tf.shape(gradient)[0]
    flat_gradient = tf.reshape(gradient, (batch, -1))
    flat_room = tf.where(flat_gradient != 0, tf.reshape(room, (batch, -1)), 0.0)
    flat_epsilon = tf.reshape(epsilon * tf.ones_like(_compute_l2_norm(gradient)), (-1, 1))
    # More room than epsilon makes no difference, and infinite room no sum.
    flat_room = tf.minimum(flat_room, flat_epsilon)
    order = tf.argsort(tf.abs(flat_gradient), direction="DESCENDING", stable=True)
    sorted_room = tf.gather(flat_room, order, batch_dims=1)
    used_before = tf.cumsum(sorted_room, axis=1, exclusive=True)
    sorted_sizes = tf.minimum(tf.nn.relu(flat_epsilon - used_before), sorted_room)
    sizes = tf.gather(sorted_sizes, tf.argsort(order), batch_dims=1)
    return tf.sign(gradient) * tf.reshape(sizes, tf.shape(gradient))


def compute_room(images: tf.Tensor, direction: tf.Tensor, bounds) -> tf.Tensor:
    """Returns how far each element can change inside the box, float32 [batch, ...].

    Args:
      images: float32 [batch, ...], inside the box.
      direction: float32 [batch, ...]; its sign is that of the change.
      bounds: (lowest, highest) pixel value, or None for no box.
    """
    if bounds is None:
        return tf.fill(tf.shape(images), float("inf"))
    return tf.where(direction > 0, bounds[1] - images, images - bounds[0])


def project(delta: tf.Tensor, epsilon: tf.Tensor, norm: str) -> tf.Tensor:
    """Returns the perturbation of norm at most `epsilon` that is closest in L2.

    Args:
      delta: float32 [batch, ...].
      epsilon: float32, a scalar or [batch, 1, ...], in the units of `delta`.
      norm: "linf", "l2" or "l1".
    """
    if norm == "linf":
        return tf.clip_by_value(delta, -epsilon, epsilon)
    if norm == "l2":
        return delta * tf.minimum(1.0, epsilon / _compute_l2_norm(delta))
    return _project_l1(delta, epsilon)


def _project_l1(delta: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
    """Soft-thresholds each row to an L1 norm of epsilon (Duchi et al. 2008, Fig. 1).

    doi:10.1145/1390156.1390191
    """
    flat = tf.reshape(tf.abs(delta), (tf.shape(delta)[0], -1))
    radius = tf.reshape(epsilon * tf.ones_like(_compute_l2_norm(delta)), (-1, 1))
    descending = tf.sort(flat, direction="DESCENDING")
    ranks = tf.range(1.0, tf.cast(tf.shape(flat)[1], tf.float32) + 0.5)
    levels = (tf.cumsum(descending, axis=1) - radius) / ranks
    # rho of Fig. 1: the last rank whose element is above its level.
    above = tf.cast(descending > levels, tf.int32)
    last = tf.maximum(tf.reduce_sum(above, 1, keepdims=True) - 1, 0)
    level = tf.gather(levels, last, batch_dims=1)
    inside = tf.reduce_sum(flat, 1, keepdims=True) <= radius
    shrunk = tf.where(inside, flat, tf.maximum(flat - level, 0.0))
    return tf.sign(delta) * tf.reshape(shrunk, tf.shape(delta))


def project_in_box(delta: tf.Tensor, epsilon: tf.Tensor, images: tf.Tensor, bounds) -> tf.Tensor:
    """Returns the perturbation in the L1 ball and the box that is closest in L2.

    A projection on the ball followed by the box would not use all of epsilon
    (Croce and Hein 2021, arXiv 2103.01208, Proposition 2.1).

    Args:
      delta: float32 [batch, ...].
      epsilon: float32, a scalar or [batch, 1, ...].
      images: float32 [batch, ...], inside the box.
      bounds: (lowest, highest) pixel value, or None for no box.
    """
    if bounds is None:
        return project(delta, epsilon, "l1")
    size = tf.abs(delta)
    room = compute_room(images, delta, bounds)

    def shrink(level):
        return tf.minimum(tf.maximum(size - level, 0.0), room)

    def sum_per_image(values):
        return tf.reduce_sum(values, get_image_axes(delta), keepdims=True)

    # Solve sum_i min(max(|d_i| - level, 0), room_i) = epsilon by bisection, to float precision.
    # The upper end of the bracket is always inside the ball.
    def halve_bracket(low, high):
        middle = 0.5 * (low + high)
        over = sum_per_image(shrink(middle)) > epsilon
        return tf.where(over, middle, low), tf.where(over, high, middle)

    high = tf.reduce_max(size, get_image_axes(delta), keepdims=True)
    high = tf.where(sum_per_image(shrink(0.0)) > epsilon, high, 0.0)
    _, level = tf.while_loop(
        lambda *_: True, halve_bracket, (0 * high, high), maximum_iterations=24
    )
    return tf.sign(delta) * shrink(level)


def sample(like: tf.Tensor, epsilon: tf.Tensor, norm: str, keys: tf.Tensor) -> tf.Tensor:
    """Draws a uniform point of the ball for each row.

    Args:
      like: A tensor with the shape [batch, ...] of the result.
      epsilon: float32, the radius; a scalar or [batch, 1, ...].
      norm: "linf", "l2" or "l1".
      keys: uint64 [batch], see `prng.make_keys`.
    """
    shape = like.shape[1:].as_list()
    if norm == "linf":
        return epsilon * prng.uniform(keys, shape, -1.0, 1.0)
    radii = prng.make_keys(1, keys)
    if norm == "l1":
        # Normalised exponential spacings are uniform on the simplex. One more spacing makes them
        # uniform inside it (Devroye 1986, ch. V.4); random signs extend it to the ball.
        spacings = -tf.math.log(1.0 - prng.uniform(keys, shape))
        last = -tf.math.log(1.0 - prng.uniform(radii, [1] * len(shape)))
        total = tf.reduce_sum(spacings, get_image_axes(like), keepdims=True) + last
        signs = prng.rademacher(prng.make_keys(2, keys), shape)
        return epsilon * signs * spacings / total
    # Uniform in the L2 ball: a Gaussian direction at radius U^(1/d).
    direction = prng.normal(keys, shape)
    radius = prng.uniform(radii, [1] * len(shape))
    radius = radius ** (1 / math.prod(shape))
    return epsilon * radius * direction / _compute_l2_norm(direction)


def scale_to_norm(delta: tf.Tensor, radius: tf.Tensor, norm: str) -> tf.Tensor:
    """Scales each row to the norm `radius`; a zero row stays zero.

    Args:
      delta: float32 [batch, ...].
      radius: float32, a scalar or [batch, 1, ...].
      norm: "linf", "l2" or "l1".
    """
    # Divide by the largest element first: the square of a small element underflows.
    for order in ("linf", norm):
        length = expand_like(compute_norm(delta, order), delta)
        delta = tf.math.divide_no_nan(delta, length)
    return radius * delta


def sample_sphere(like: tf.Tensor, radius: tf.Tensor, norm: str, keys: tf.Tensor) -> tf.Tensor:
    """Draws a perturbation of norm `radius` for each row, in the direction of `sample`'s point."""
    return scale_to_norm(sample(like, 1.0, norm, keys), radius, norm)
