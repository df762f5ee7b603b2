"""The nearest point of a hyperplane that lies in the pixel box, exactly.

What FAB moves to. Clipping the nearest point of the whole plane would leave
the plane.

```python
move = projections.onto_hyperplane(images, slopes, values, "l2", (0.0, 1.0))
```
"""

import tensorflow as tf

from qup.types import Bounds

# A slope whose largest element is below this counts as zero.
_FLAT = 1e-25
# More passes than Newton's method takes; each divides the product of what
# is left and the slope by at least four.
_PASSES = 64


def onto_hyperplane(
    images: tf.Tensor,
    slopes: tf.Tensor,
    values: tf.Tensor,
    norm: str,
    bounds: Bounds,
) -> tf.Tensor:
    """Returns the shortest move in the box to where a linear function is 0.

    Where that is beyond the box, the move to the corner that comes nearest;
    where the slope is zero, no move.

    Args:
      images: float32 [batch, ...], inside the bounds.
      slopes: float32 [batch, ...], the function's gradients.
      values: float32 [batch], the function at `images`.
      norm: "linf", "l2" or "l1", by which the move is shortest.
      bounds: The pixel box, or None.

    Returns:
      float32 [batch, ...], to be added to `images`.

    Reference: Croce and Hein 2020, arXiv 1907.02044.
    """
    slopes, x = _flat(slopes), _flat(images)
    scale = tf.reduce_max(tf.abs(slopes), 1, keepdims=True)
    slopes = tf.where(scale > _FLAT, slopes / scale, 0.0)
    # f(x + d) = f + w d = 0, so |w| moves = |f| against the sign of f w.
    need = tf.where(scale > _FLAT, tf.abs(values)[:, None] / scale, 0.0)
    way = -tf.sign(values)[:, None] * tf.sign(slopes)
    moves = _moves(tf.abs(slopes), _room(x, way, bounds), need, norm)
    return tf.reshape(way * moves, tf.shape(images))


def _flat(values: tf.Tensor) -> tf.Tensor:
    return tf.reshape(values, (tf.shape(values)[0], -1))


def _room(x: tf.Tensor, way: tf.Tensor, bounds: Bounds) -> tf.Tensor:
    """Returns how far each element can move the way given."""
    if bounds is None:
        return tf.fill(tf.shape(x), float("inf"))
    low, high = bounds
    return tf.maximum(tf.where(way > 0, high - x, x - low), 0.0)


def _moves(steep, room, need, norm):
    """Returns the shortest moves in [0, room] with sum(steep moves) = need."""
    if norm == "l1":
        return _steepest(steep, room, need)
    if norm == "linf":
        # d_i = min(t, room_i) with one t.
        return tf.minimum(_filled(steep, room, need), room)
    # d_i = min(t w_i, room_i): the nearest point that KKT allows.
    caps = tf.math.divide_no_nan(room, steep)
    level = _filled(tf.square(steep), caps, need)
    return tf.minimum(level * steep, room)


def _filled(rates: tf.Tensor, caps: tf.Tensor, need: tf.Tensor) -> tf.Tensor:
    """Returns t with sum_i rates_i min(t, caps_i) = need.

    The sum is concave and piecewise linear, so Newton's method climbs to t
    from below, and is there once it passes no further cap: a few passes,
    where sorting the caps would cost more than a small classifier.

    Args:
      rates: float32 [batch, n], none negative.
      caps: float32 [batch, n], none negative.
      need: float32 [batch, 1].

    Returns:
      float32 [batch, 1]; above every cap where the sum stays below `need`.
    """

    def climb(level, rate, _):
        open_ = tf.where(caps > level, rates, 0.0)
        slope = tf.reduce_sum(open_, 1, keepdims=True)
        spent = tf.reduce_sum(rates * tf.minimum(level, caps), 1, keepdims=True)
        gain = tf.math.divide_no_nan(need - spent, slope)
        moved = tf.reduce_any(slope != rate)
        return level + tf.maximum(gain, 0.0), slope, moved

    none = tf.zeros_like(need)
    level, _, _ = tf.while_loop(
        lambda level, rate, moved: moved,
        climb,
        (none, none - 1.0, tf.constant(True)),
        maximum_iterations=_PASSES,
    )
    return level


def _steepest(steep, room, need):
    """Fills the room of the steepest elements, one after the other."""
    count = steep.shape[1]
    falling, order = tf.math.top_k(steep, count)
    gains = falling * tf.gather(room, order, batch_dims=1)
    gains = tf.where(falling > 0, gains, 0.0)
    before = tf.cumsum(gains, axis=1, exclusive=True)
    full = tf.cast(before + gains < need, tf.int32)
    place = tf.minimum(tf.reduce_sum(full, 1, keepdims=True), count - 1)
    last, pivot, spent = (
        tf.gather(values, place, batch_dims=1)
        for values in (falling, order, before)
    )
    part = tf.maximum(tf.math.divide_no_nan(need - spent, last), 0.0)
    index = tf.range(count)[None]
    earlier = (steep > last) | ((steep == last) & (index < pivot))
    moves = tf.where(index == pivot, tf.minimum(part, room), 0.0)
    return tf.where(earlier, room, moves)
