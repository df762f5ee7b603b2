"""Random numbers per image, independent of the batch.

Each row has a key, made from the seed, the image's id and further counters (a restart, a step). Its
random numbers are a hash of the key and their position, in 64-bit integers: the same on every
device, with and without XLA, for every order of images and every batch size.

```python
keys = make_keys(seed, ids, step)  # uint64 [batch]
noise = uniform(keys, (28, 28, 1), -0.1, 0.1)
```

The hash is the output function of SplitMix64 (Steele, Lea, Flood 2014,
doi:10.1145/2660193.2660195).
"""

import math
from collections.abc import Sequence

import tensorflow as tf

_GOLDEN_GAMMA = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def _as_uint64(value: int) -> tf.Tensor:
    return tf.constant(value, tf.uint64)


def _shift_right(words: tf.Tensor, bits: int) -> tf.Tensor:
    return tf.bitwise.right_shift(words, _as_uint64(bits))


def _hash(words: tf.Tensor) -> tf.Tensor:
    words = (words ^ _shift_right(words, 30)) * _as_uint64(_MIX_1)
    words = (words ^ _shift_right(words, 27)) * _as_uint64(_MIX_2)
    return words ^ _shift_right(words, 31)


def make_keys(seed, ids: tf.Tensor, *more) -> tf.Tensor:
    """Returns one key per row, uint64 [batch].

    Args:
      seed: A Python integer or a scalar integer tensor.
      ids: Integers [batch], the images' ids.
      *more: Integers, scalars or [batch], that identify the draw (restart, step).
    """
    key = _hash(tf.cast(tf.cast(ids, tf.int64), tf.uint64) + _as_uint64(_GOLDEN_GAMMA))
    for value in (seed, *more):
        word = tf.cast(tf.cast(value, tf.int64), tf.uint64)
        key = _hash((key ^ word) * _as_uint64(_GOLDEN_GAMMA) + _as_uint64(_MIX_1))
    return key


def _generate_words(keys: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Returns uint64 [batch, *shape]."""
    size = math.prod(shape)
    positions = tf.cast(tf.range(1, size + 1, dtype=tf.int64), tf.uint64)
    words = _hash(keys[:, None] + positions[None] * _as_uint64(_GOLDEN_GAMMA))
    return tf.reshape(words, (-1, *shape))


def uniform(keys: tf.Tensor, shape: Sequence[int], low=0.0, high=1.0) -> tf.Tensor:
    """Draws uniform numbers in [low, high) with 24 random bits each.

    Args:
      keys: uint64 [batch].
      shape: Static shape of one row.
      low: Included; a float or a tensor that broadcasts.
      high: Excluded; a float or a tensor that broadcasts.

    Returns:
      float32 [batch, *shape].
    """
    fraction = tf.cast(_shift_right(_generate_words(keys, shape), 40), tf.float32) * 2.0**-24
    return low + (high - low) * fraction


def integers(keys: tf.Tensor, shape: Sequence[int], limit) -> tf.Tensor:
    """Draws integers from 0 to limit - 1, int32 [batch, *shape].

    Args:
      keys: uint64 [batch].
      shape: Static shape of one row.
      limit: Below 2**31; an int or a tensor that broadcasts.
    """
    high_bits = tf.cast(_shift_right(_generate_words(keys, shape), 32), tf.int64)
    return tf.cast(high_bits * tf.cast(limit, tf.int64) // 2**32, tf.int32)


def rademacher(keys: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Draws -1 or 1 with equal probability, float32 [batch, *shape]."""
    highest_bit = tf.cast(_shift_right(_generate_words(keys, shape), 63), tf.float32)
    return 2.0 * highest_bit - 1.0


def normal(keys: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Draws standard normal numbers, float32 [batch, *shape] (Box and Muller 1958)."""
    words = _generate_words(keys, shape)
    # Uniform in (0, 1], so that the logarithm is finite.
    radius = 2.0**-24 * (1.0 + tf.cast(_shift_right(words, 40), tf.float32))
    angle = tf.cast(words & _as_uint64(2**24 - 1), tf.float32) * 2.0**-24
    return tf.sqrt(-2.0 * tf.math.log(radius)) * tf.cos(2 * math.pi * angle)
