"""The linear solver of SparseFool: across a plane by few elements.

```python
moved = solve(images, normal, offset, bounds=(0.0, 1.0))
```
"""

import tensorflow as tf

from qup import norms
from qup.attacks import base
from qup.types import Bounds

# As shares of the box's width: the least that an element moves, and how far
# beyond the plane the last one aims.
_MIN_MOVE = 1e-4
_PLANE_MARGIN = 1e-3


def cross_plane(
    images: tf.Tensor, normal: tf.Tensor, offset: tf.Tensor, bounds: Bounds
) -> tf.Tensor:
    """Crosses the plane through x_B of normal n.

    In the order of falling |n_d|, elements move by
    max((|n.(x - x_B)| + 1e-3) / |n_d|, 1e-4) up the normal, or to the end of
    the box, until n.(x - x_B) >= 0. All but the last reach the end, so it is
    the first at which what they add to n.x sums up to enough.

    Args:
      images: float32 [batch, ...], x, in the box.
      normal: float32 [batch, ...], n, of any length.
      offset: float32 [batch, ...], x_B - x, with n.(x_B - x) >= 0.
      bounds: The box, or None.

    Returns:
      float32 [batch, ...], in the box; `images` where n is zero.

    Reference: Modas, Moosavi-Dezfooli, Frossard 2019, arXiv 1811.02248,
    Algorithm 1.
    """
    x, unit_normal, flat_offset = (
        tf.reshape(values, (images.shape[0], -1)) for values in (images, normal, offset)
    )
    normal_norm = norms.compute_norm(unit_normal, "l2")[:, None]
    unit_normal /= tf.where(normal_norm > 0, normal_norm, 1.0)
    low, high = (-float("inf"), float("inf")) if bounds is None else bounds
    box_ends, magnitudes = tf.where(unit_normal > 0, high, low), tf.abs(unit_normal)
    # What each element can add to n.x, and all those before it.
    gain = tf.where(magnitudes > 0, magnitudes * tf.abs(box_ends - x), 0.0)
    order = tf.argsort(magnitudes, direction="DESCENDING", stable=True)
    gain = tf.gather(gain, order, batch_dims=1)
    gain_before = tf.cumsum(gain, 1, exclusive=True)
    required_gain = tf.reduce_sum(unit_normal * flat_offset, 1, keepdims=True)
    is_enough = gain_before + gain >= required_gain
    is_reached = tf.reduce_any(is_enough, 1, keepdims=True)
    rank = tf.argmax(tf.cast(is_enough, tf.int32), 1)[:, None]
    last_index = tf.gather(order, rank, batch_dims=1)
    last_magnitude = tf.gather(magnitudes, last_index, batch_dims=1)
    remaining_gain = required_gain - tf.gather(gain_before, rank, batch_dims=1)
    box_width = base.get_box_width(bounds)
    move = (remaining_gain + box_width * _PLANE_MARGIN) / tf.where(
        last_magnitude > 0, last_magnitude, 1.0
    )
    perturbed = x + tf.maximum(move, box_width * _MIN_MOVE) * tf.sign(unit_normal)
    # Equal elements go in the order of their places.
    indices = tf.range(magnitudes.shape[1])[None]
    is_earlier = (magnitudes > last_magnitude) | (
        (magnitudes == last_magnitude) & (indices < last_index)
    )
    is_last = is_reached & (indices == last_index)
    x = tf.where(is_last & (magnitudes > 0), base.clip(perturbed, bounds), x)
    moves_to_end = (is_earlier | ~is_reached) & (magnitudes > 0)
    return tf.reshape(tf.where(moves_to_end, box_ends, x), images.shape)
