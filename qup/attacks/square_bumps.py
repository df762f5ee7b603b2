"""The bumps that Square Attack moves about under L2 and L1.

Reference: Andriushchenko et al. 2020, arXiv 1912.00049, Section 3.3, Eq. 2
and Algorithm 3; for L1 Croce and Hein 2021, arXiv 2103.01208.
"""

import numpy as np
import tensorflow as tf

from qup import draws, norms

_EPS = 1e-12


def tile_bumps(shape: tf.TensorShape, keys: tf.Tensor) -> tf.Tensor:
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
    offsets = tf.range(side)[None]
    single_bump = build_bump(tf.constant([side]), offsets, offsets, tf.constant([False]))[0]
    is_flipped = draws.signs(draws.make_keys(1, keys), (*grid, 1)) > 0
    transposed = tf.transpose(single_bump)[:, None, :, None]
    sampled_bumps = tf.where(is_flipped, single_bump[:, None, :, None], transposed)
    sampled_bumps *= draws.signs(draws.make_keys(2, keys), (*grid, channels))
    covered_size = (grid[0] * side, grid[2] * side)
    margins = [(a - b) // 2 for a, b in zip(shape[:2], covered_size, strict=True)]
    return tf.image.pad_to_bounding_box(
        tf.reshape(sampled_bumps, (-1, *covered_size, channels)), *margins, height, width
    )


def build_bump(
    side: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, is_horizontal: tf.Tensor
) -> tf.Tensor:
    """Returns eta (Eq. 2): two pyramids of opposite signs, side by side.

    Args:
      side: int32 [batch], of the window.
      rows: int32 [batch, height], the places of the pixels in the window.
      columns: int32 [batch, width].
      is_horizontal: bool [batch], halves left and right, not above and below.

    Returns:
      float32 [batch, height, width], of L2 norm 1 and zero off the window.
    """
    max_half = min(rows.shape[1], columns.shape[1]) // 2 + 1
    side, is_horizontal = side[:, None, None], is_horizontal[:, None, None]
    rows, columns = rows[:, :, None], columns[:, None]
    along = tf.where(is_horizontal, columns, rows)
    across = tf.where(is_horizontal, rows, columns)
    in_window = (along >= 0) & (along < side) & (across >= 0) & (across < side)
    half = side // 2
    in_first_half = along < half
    half_centre = tf.where(in_first_half, half // 2, half + (side - half) // 2)
    distance = tf.maximum(tf.abs(along - half_centre), tf.abs(across - half))
    # eta(far) = sum_{k = far}^{side // 2} 1 / (k + 1)^2
    partial_sums = np.cumsum([0.0] + [1 / k**2 for k in range(1, max_half + 1)])
    partial_sums = tf.constant(partial_sums, tf.float32)
    value = tf.gather(partial_sums, half + 1) - tf.gather(
        partial_sums, tf.minimum(distance, half + 1)
    )

    def normalise_half(in_half):
        return norms.normalise(tf.where(in_half & in_window, value, 0.0), "l2")

    return norms.normalise(normalise_half(in_first_half) - normalise_half(~in_first_half), "l2")


def move_bump(
    delta: tf.Tensor,
    bump: tf.Tensor,
    window: tf.Tensor,
    source_window: tf.Tensor,
    *,
    budget: tf.Tensor,
    norm: str,
) -> tf.Tensor:
    """Adds a bump to a window, and takes what `source_window` had (Algorithm 3).

    Args:
      delta: float32 [batch, height, width, channels].
      bump: float32 like `delta`, zero off the window.
      window: float32 [batch, height, width, 1], 1 in W1 of the paper, else
        0. Products with such masks are exact, and faster than `tf.where`.
      source_window: float32 [batch, height, width, 1], of W2.
      budget: float32 [batch, 1, 1, 1], epsilon.
      norm: "l2" or "l1".

    Returns:
      float32 like `delta`; under L1 longer than epsilon.
    """
    channels = delta.shape[-1]

    # The norm, under L2 its square: what adds up over parts of an image.
    def compute_mass(values, axes=(1, 2)):
        powers = tf.square(values) if norm == "l2" else tf.abs(values)
        return tf.reduce_sum(powers, axes, keepdims=True)

    def compute_length(mass):
        return tf.sqrt(mass) if norm == "l2" else mass

    # new = rho eta + nu_W1 / ||nu_W1||
    inside_values = window * delta
    new_values = bump + inside_values / (compute_length(compute_mass(inside_values)) + _EPS)
    # ||nu_W1||^2 = ||nu_(W1 u W2)||^2 + (epsilon^2 - ||nu||^2) / channels
    total_mass = budget**2 if norm == "l2" else budget
    unused_mass = tf.maximum(total_mass - compute_mass(delta, (1, 2, 3)), 0.0) / channels
    outside_values = (1.0 - window) * delta
    available_mass = (
        compute_mass(inside_values) + compute_mass(source_window * outside_values) + unused_mass
    )
    if norm == "l1":
        # Colours get more than there is: the projection leaves the largest.
        available_mass *= channels
    new_values *= compute_length(available_mass) / (compute_length(compute_mass(new_values)) + _EPS)
    return new_values + (1.0 - source_window) * outside_values
