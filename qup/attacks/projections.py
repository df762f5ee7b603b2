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
_MIN_GRADIENT = 1e-25
# More passes than Newton's method takes; each divides the product of what
# is left and the slope by at least four.
_MAX_PASSES = 64


def project_onto_hyperplane(
    images: tf.Tensor, gradients: tf.Tensor, values: tf.Tensor, norm: str, bounds: Bounds
) -> tf.Tensor:
    """Returns the shortest move in the box to where a linear function is 0.

    Where that is beyond the box, the move to the corner that comes nearest;
    where the slope is zero, no move.

    Args:
      images: float32 [batch, ...], inside the bounds.
      gradients: float32 [batch, ...], the function's gradients.
      values: float32 [batch], the function at `images`.
      norm: "linf", "l2" or "l1", by which the move is shortest.
      bounds: The pixel box, or None.

    Returns:
      float32 [batch, ...], to be added to `images`.

    Reference: Croce and Hein 2020, arXiv 1907.02044.
    """
    gradients, x = _flatten_rows(gradients), _flatten_rows(images)
    scale = tf.reduce_max(tf.abs(gradients), 1, keepdims=True)
    gradients = tf.where(scale > _MIN_GRADIENT, gradients / scale, 0.0)
    # f(x + d) = f + w d = 0, so |w| moves = |f| against the sign of f w.
    required = tf.where(scale > _MIN_GRADIENT, tf.abs(values)[:, None] / scale, 0.0)
    direction = -tf.sign(values)[:, None] * tf.sign(gradients)
    moves = _compute_moves(tf.abs(gradients), _compute_room(x, direction, bounds), required, norm)
    return tf.reshape(direction * moves, tf.shape(images))


def _flatten_rows(values: tf.Tensor) -> tf.Tensor:
    return tf.reshape(values, (tf.shape(values)[0], -1))


def _compute_room(x: tf.Tensor, direction: tf.Tensor, bounds: Bounds) -> tf.Tensor:
    """Returns how far each element can move the way given."""
    if bounds is None:
        return tf.fill(tf.shape(x), float("inf"))
    low, high = bounds
    return tf.maximum(tf.where(direction > 0, high - x, x - low), 0.0)


def _compute_moves(magnitudes, room, required, norm):
    """Returns the shortest moves in [0, room] with sum(steep moves) = need."""
    if norm == "l1":
        return _fill_steepest(magnitudes, room, required)
    if norm == "linf":
        # d_i = min(t, room_i) with one t.
        return tf.minimum(_solve_water_level(magnitudes, room, required), room)
    # d_i = min(t w_i, room_i): the nearest point that KKT allows.
    caps = tf.math.divide_no_nan(room, magnitudes)
    level = _solve_water_level(tf.square(magnitudes), caps, required)
    return tf.minimum(level * magnitudes, room)


def _solve_water_level(rates: tf.Tensor, caps: tf.Tensor, required: tf.Tensor) -> tf.Tensor:
    """Returns t with sum_i rates_i min(t, caps_i) = need.

    The sum is concave and piecewise linear, so Newton's method climbs to t
    from below, and is there once it passes no further cap: a few passes,
    where sorting the caps would cost more than a small classifier.

    Args:
      rates: float32 [batch, n], none negative.
      caps: float32 [batch, n], none negative.
      required: float32 [batch, 1].

    Returns:
      float32 [batch, 1]; above every cap where the sum stays below `required`.
    """

    def newton_step(level, previous_rate, _):
        open_rates = tf.where(caps > level, rates, 0.0)
        total_rate = tf.reduce_sum(open_rates, 1, keepdims=True)
        filled = tf.reduce_sum(rates * tf.minimum(level, caps), 1, keepdims=True)
        increment = tf.math.divide_no_nan(required - filled, total_rate)
        has_changed = tf.reduce_any(total_rate != previous_rate)
        return level + tf.maximum(increment, 0.0), total_rate, has_changed

    zeros = tf.zeros_like(required)
    level, _, _ = tf.while_loop(
        lambda level, previous_rate, has_changed: has_changed,
        newton_step,
        (zeros, zeros - 1.0, tf.constant(True)),
        maximum_iterations=_MAX_PASSES,
    )
    return level


def _fill_steepest(magnitudes, room, required):
    """Fills the room of the steepest elements, one after the other."""
    count = magnitudes.shape[1]
    sorted_magnitudes, order = tf.math.top_k(magnitudes, count)
    gains = sorted_magnitudes * tf.gather(room, order, batch_dims=1)
    gains = tf.where(sorted_magnitudes > 0, gains, 0.0)
    gains_before = tf.cumsum(gains, axis=1, exclusive=True)
    is_full = tf.cast(gains_before + gains < required, tf.int32)
    index_of_pivot = tf.minimum(tf.reduce_sum(is_full, 1, keepdims=True), count - 1)
    pivot_magnitude, pivot, filled_before = (
        tf.gather(values, index_of_pivot, batch_dims=1)
        for values in (sorted_magnitudes, order, gains_before)
    )
    pivot_move = tf.maximum(tf.math.divide_no_nan(required - filled_before, pivot_magnitude), 0.0)
    index = tf.range(count)[None]
    is_earlier = (magnitudes > pivot_magnitude) | (
        (magnitudes == pivot_magnitude) & (index < pivot)
    )
    moves = tf.where(index == pivot, tf.minimum(pivot_move, room), 0.0)
    return tf.where(is_earlier, room, moves)
