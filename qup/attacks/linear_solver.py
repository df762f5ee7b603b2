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
_LEAST = 1e-4
_BEYOND = 1e-3


def solve(
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
    x, up, away = (
        tf.reshape(each, (images.shape[0], -1))
        for each in (images, normal, offset)
    )
    size = norms.length(up, "l2")[:, None]
    up /= tf.where(size > 0, size, 1.0)
    low, high = (-float("inf"), float("inf")) if bounds is None else bounds
    ends, steep = tf.where(up > 0, high, low), tf.abs(up)
    # What each element can add to n.x, and all those before it.
    gain = tf.where(steep > 0, steep * tf.abs(ends - x), 0.0)
    order = tf.argsort(steep, direction="DESCENDING", stable=True)
    gain = tf.gather(gain, order, batch_dims=1)
    before = tf.cumsum(gain, 1, exclusive=True)
    gap = tf.reduce_sum(up * away, 1, keepdims=True)
    enough = before + gain >= gap
    reached = tf.reduce_any(enough, 1, keepdims=True)
    rank = tf.argmax(tf.cast(enough, tf.int32), 1)[:, None]
    last = tf.gather(order, rank, batch_dims=1)
    least = tf.gather(steep, last, batch_dims=1)
    left = gap - tf.gather(before, rank, batch_dims=1)
    span = base.width(bounds)
    move = (left + span * _BEYOND) / tf.where(least > 0, least, 1.0)
    moved = x + tf.maximum(move, span * _LEAST) * tf.sign(up)
    # Equal elements go in the order of their places.
    place = tf.range(steep.shape[1])[None]
    earlier = (steep > least) | ((steep == least) & (place < last))
    partly = reached & (place == last)
    x = tf.where(partly & (steep > 0), base.clip(moved, bounds), x)
    wholly = (earlier | ~reached) & (steep > 0)
    return tf.reshape(tf.where(wholly, ends, x), images.shape)
