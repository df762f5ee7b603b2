"""The pair of features that the Jacobian saliency map attack changes.

Of all pairs p < q it is the first that maximises

    (rise_p + rise_q) (fall_p + fall_q),    both sums positive.

There are n^2 / 2 pairs, 4.7 million for a CIFAR-10 image. For any w > 0

    A B <= ((w A + B / w) / 2)^2,    equal where w A = B / w,

so a feature can be of the best pair only if, for every w, its own
w rise + fall / w and the largest one together reach twice the root of a
product that some pair attains. That leaves a few features, among which all
pairs are compared. The answer is exact, ties included: where more features
are left than are compared, all pairs of all features are.
"""

import tensorflow as tf

# The weights w, in units of the one that suits the pair known; the widest
# first, because what they rule out no longer weakens the narrow ones.
_WEIGHTS = (4.0, 0.25, 1.5, 0.67, 1.0)
# So many features are compared after the bound has been applied.
_COMPARED = 32
# What rounding may take from the bound, in units of its largest terms.
_SLACK = 2e-6
# Elements of one block where all pairs are compared.
_BLOCK = 4_000_000
_NONE = float("-inf")
_TINY = 1e-30


def best(
    rise: tf.Tensor, fall: tf.Tensor, allowed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the best pair of each row.

    Args:
      rise: float32 [batch, n].
      fall: float32 [batch, n].
      allowed: bool [batch, n], the features that may be taken.

    Returns:
      (pairs, found): int32 [batch, 2], the lower index first, and bool
      [batch]; where no product is positive, False and indices of no meaning.
    """
    rise = tf.where(allowed, rise, _NONE)
    fall = tf.where(allowed, fall, _NONE)
    size = rise.shape[1]
    if size <= _COMPARED:
        return _of_all(rise, fall)
    margins = _margins(rise, fall)
    kept = tf.math.top_k(margins, _COMPARED).indices
    left = tf.cast(~_sufficient(rise, fall, margins, kept), tf.int32)
    order = tf.argsort(left, direction="DESCENDING")
    places = tf.range(rise.shape[0])

    def searched(count, pairs, found):
        row = order[count]
        pair, some = _of_all(rise[row][None], fall[row][None])
        here = places == row
        pairs = tf.where(here[:, None], pair, pairs)
        return count + 1, pairs, tf.where(here, some, found)

    _, pairs, found = tf.while_loop(
        lambda count, *_: count < tf.reduce_sum(left),
        searched,
        (0, *_of_some(rise, fall, kept)),
        parallel_iterations=1,
    )
    return pairs, found


def _largest(side: tf.Tensor) -> tf.Tensor:
    """Returns the largest finite size of each row: float32 [batch, 1]."""
    size = tf.where(side > _NONE, tf.abs(side), 0.0)
    return tf.maximum(tf.reduce_max(size, 1, keepdims=True), _TINY)


def _margins(rise: tf.Tensor, fall: tf.Tensor) -> tf.Tensor:
    """Returns by how much each feature passes the bound: float32 [batch, n].

    Negative for a feature that is in no best pair.
    """
    rise, fall = rise / _largest(rise), fall / _largest(fall)
    both = _good(rise, fall)
    # The bound is tight for the pair known, A and B, where w = sqrt(B / A).
    least = 2 * tf.sqrt(both[0] * both[1])
    centre = tf.sqrt(tf.math.divide_no_nan(both[1], both[0]))
    centre = tf.where(least > 0, tf.clip_by_value(centre, 1e-3, 1e3), 1.0)
    margins = tf.zeros_like(rise) + float("inf")
    for factor in _WEIGHTS:
        weight = factor * centre
        # s_p = w rise_p + fall_p / w, of what is left
        sums = tf.where(margins >= 0, weight * rise + fall / weight, _NONE)
        top = tf.reduce_max(sums, 1, keepdims=True)
        slack = _SLACK * (weight + 1 / weight)
        margins = tf.minimum(margins, sums + (top + slack - least))
    return margins


def _good(rise: tf.Tensor, fall: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns both sums, float32 [batch, 1], of a pair that is good.

    From a feature of which both sides are high, or their sum is, to its
    best partner, and on to that one's. The product of the sums is 0 where
    no positive one is met.
    """
    best = tf.zeros_like(rise[:, :1]), tf.zeros_like(rise[:, :1])
    places = tf.range(rise.shape[1])
    for product in (tf.minimum(rise, fall), rise + fall):
        for _ in range(2):
            one = tf.argmax(product, 1, tf.int32)[:, None]
            both = _with(one, rise), _with(one, fall)
            product = tf.where(places == one, -1.0, both[0] * both[1])
        other = tf.argmax(product, 1, tf.int32)[:, None]
        both = [tf.gather(side, other, batch_dims=1) for side in both]
        better = both[0] * both[1] > best[0] * best[1]
        best = [tf.where(better, both[i], best[i]) for i in (0, 1)]
    return tuple(best)


def _with(one: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """Returns the sums of each feature and `one`, 0 where negative."""
    return tf.nn.relu(side + tf.gather(side, one, batch_dims=1))


def _sufficient(
    rise: tf.Tensor, fall: tf.Tensor, margins: tf.Tensor, kept: tf.Tensor
) -> tf.Tensor:
    """Marks the rows whose first best pair is among the features kept.

    Args:
      rise: float32 [batch, n].
      fall: float32 [batch, n].
      margins: float32 [batch, n].
      kept: int32 [batch, k], by falling margin, the lower index first.

    Returns:
      bool [batch].
    """
    left = tf.math.count_nonzero(margins >= 0, 1) - kept.shape[1]
    # Of features that are equal no pair but of the first two can be first.
    last = kept[:, -1:]
    equal = rise == tf.gather(rise, last, batch_dims=1)
    equal &= fall == tf.gather(fall, last, batch_dims=1)
    inside = tf.math.count_nonzero(tf.gather(equal, kept, batch_dims=1), 1)
    outside = tf.math.count_nonzero(equal, 1) - inside
    return (left <= 0) | ((left == outside) & (inside >= 2))


def _of_some(
    rise: tf.Tensor, fall: tf.Tensor, kept: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Compares all pairs of the features kept."""
    kept = tf.sort(kept, axis=1)
    pairs, found = _of_all(
        tf.gather(rise, kept, batch_dims=1), tf.gather(fall, kept, batch_dims=1)
    )
    return tf.gather(kept, pairs, batch_dims=1), found


def _of_all(rise: tf.Tensor, fall: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Compares all pairs, some first features at a time."""
    batch, size = rise.shape
    rows = max(1, min(size, _BLOCK // (batch * size)))

    def compared(start, value, pairs):
        # The last block reaches back over features that were looked at.
        first = tf.minimum(start, size - rows)
        own = [
            tf.slice(side, [0, first], [batch, rows]) for side in (rise, fall)
        ]
        # (rise_p + rise_q) (fall_p + fall_q)
        product = tf.nn.relu(own[0][:, :, None] + rise[:, None])
        product *= tf.nn.relu(own[1][:, :, None] + fall[:, None])
        places = tf.range(rows * size)
        ordered = first + places // size < places % size
        product = tf.where(ordered, tf.reshape(product, (batch, -1)), 0.0)
        highest = tf.reduce_max(product, 1, keepdims=True)
        place = tf.where(product == highest, places, rows * size)
        place = tf.reduce_min(place, 1, keepdims=True)
        found = tf.concat([first + place // size, place % size], 1)
        pairs = tf.where(highest > value, found, pairs)
        return start + rows, tf.maximum(value, highest), pairs

    begin = (0, tf.zeros((batch, 1)), tf.zeros((batch, 2), tf.int32))
    if rows == size:
        _, value, pairs = compared(*begin)
    else:
        _, value, pairs = tf.while_loop(
            lambda start, *_: start < size, compared, begin,
            parallel_iterations=1,
        )  # fmt: skip
    return pairs, value[:, 0] > 0
