"""The bumps that Square Attack moves about under L2 and L1.

Reference: Andriushchenko et al. 2020, arXiv 1912.00049, Section 3.3, Eq. 2
and Algorithm 3; for L1 Croce and Hein 2021, arXiv 2103.01208.
"""

import numpy as np
import tensorflow as tf

from qup import draws, norms

_TINY = 1e-12


def tiles(shape: tf.TensorShape, keys: tf.Tensor) -> tf.Tensor:
    """Draws bumps that tile the image, five along its shorter side.

    Args:
      shape: [height, width, channels].
      keys: uint64 [batch].

    Returns:
      float32 [batch, *shape].
    """
    height, width, channels = shape
    side = max(min(height, width) // 5, 1)
    grid = (height // side, 1, width // side, 1)
    place = tf.range(side)[None]
    one = bump(tf.constant([side]), place, place, tf.constant([False]))[0]
    flips = draws.signs(draws.keys(1, keys), (*grid, 1)) > 0
    turned = tf.transpose(one)[:, None, :, None]
    drawn = tf.where(flips, one[:, None, :, None], turned)
    drawn *= draws.signs(draws.keys(2, keys), (*grid, channels))
    covered = (grid[0] * side, grid[2] * side)
    gaps = [(a - b) // 2 for a, b in zip(shape[:2], covered, strict=True)]
    return tf.image.pad_to_bounding_box(
        tf.reshape(drawn, (-1, *covered, channels)), *gaps, height, width
    )


def bump(
    side: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, flip: tf.Tensor
) -> tf.Tensor:
    """Returns eta (Eq. 2): two pyramids of opposite signs, side by side.

    Args:
      side: int32 [batch], of the window.
      rows: int32 [batch, height], the places of the pixels in the window.
      columns: int32 [batch, width].
      flip: bool [batch], halves left and right, not above and below.

    Returns:
      float32 [batch, height, width], of L2 norm 1 and zero off the window.
    """
    most = min(rows.shape[1], columns.shape[1]) // 2 + 1
    side, flip = side[:, None, None], flip[:, None, None]
    rows, columns = rows[:, :, None], columns[:, None]
    along = tf.where(flip, columns, rows)
    across = tf.where(flip, rows, columns)
    inside = (along >= 0) & (along < side) & (across >= 0) & (across < side)
    half = side // 2
    first = along < half
    middle = tf.where(first, half // 2, half + (side - half) // 2)
    far = tf.maximum(tf.abs(along - middle), tf.abs(across - half))
    # eta(far) = sum_{k = far}^{side // 2} 1 / (k + 1)^2
    sums = np.cumsum([0.0] + [1 / k**2 for k in range(1, most + 1)])
    sums = tf.constant(sums, tf.float32)
    value = tf.gather(sums, half + 1) - tf.gather(
        sums, tf.minimum(far, half + 1)
    )

    def unit(part):
        return norms.normalise(tf.where(part & inside, value, 0.0), "l2")

    return norms.normalise(unit(first) - unit(~first), "l2")


def moved(
    delta: tf.Tensor,
    bump: tf.Tensor,
    window: tf.Tensor,
    other: tf.Tensor,
    *,
    budget: tf.Tensor,
    norm: str,
) -> tf.Tensor:
    """Adds a bump to a window, and takes what `other` had (Algorithm 3).

    Args:
      delta: float32 [batch, height, width, channels].
      bump: float32 like `delta`, zero off the window.
      window: float32 [batch, height, width, 1], 1 in W1 of the paper, else
        0. Products with such masks are exact, and faster than `tf.where`.
      other: float32 [batch, height, width, 1], of W2.
      budget: float32 [batch, 1, 1, 1], epsilon.
      norm: "l2" or "l1".

    Returns:
      float32 like `delta`; under L1 longer than epsilon.
    """
    channels = delta.shape[-1]

    # The norm, under L2 its square: what adds up over parts of an image.
    def mass(values, axes=(1, 2)):
        size = tf.square(values) if norm == "l2" else tf.abs(values)
        return tf.reduce_sum(size, axes, keepdims=True)

    def length(mass):
        return tf.sqrt(mass) if norm == "l2" else mass

    # new = rho eta + nu_W1 / ||nu_W1||
    inside = window * delta
    new = bump + inside / (length(mass(inside)) + _TINY)
    # ||nu_W1||^2 = ||nu_(W1 u W2)||^2 + (epsilon^2 - ||nu||^2) / channels
    whole = budget**2 if norm == "l2" else budget
    unused = tf.maximum(whole - mass(delta, (1, 2, 3)), 0.0) / channels
    outside = (1.0 - window) * delta
    available = mass(inside) + mass(other * outside) + unused
    if norm == "l1":
        # Colours get more than there is: the projection leaves the largest.
        available *= channels
    new *= length(available) / (length(mass(new)) + _TINY)
    return new + (1.0 - other) * outside
