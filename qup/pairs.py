"""The pairs (X_0, Delta_N) of a walk as shuffled batches, read by shards.

```python
for batch in batches(deltas, 64, seed=0, epoch=0): ...
```
"""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from qup.deltas import DeltaDataset

# Pairs shuffled at a time.
_SHUFFLE_BUFFER_SIZE = 10_000


def build_pair_batches(
    deltas: DeltaDataset, batch_size: int, *, seed: int, epoch: int
) -> tf.data.Dataset:
    """Returns one epoch of shuffled pairs.

    Shards are permuted, then shuffled within a buffer of 10,000 pairs.

    Args:
      deltas: The folder of the pairs.
      batch_size: Pairs a batch; the incomplete last one is dropped.
      seed: The order depends on (seed, epoch) alone.
      epoch: See seed.

    Returns:
      {"image": float32 [batch, height, width, channels] in [0, 1],
      "delta": float32 of the same shape}.
    """
    rng = np.random.default_rng((seed, epoch))

    def read_shards() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        count = deltas.settings["num_shards"]
        permuted = np.random.default_rng((seed, epoch)).permutation(count)
        for shard in permuted:
            arrays = deltas.read_shard(int(shard))
            yield arrays["image"], arrays["delta"]

    rows_shape = (None, *deltas.image_shape)
    pairs = tf.data.Dataset.from_generator(
        read_shards,
        output_signature=(
            tf.TensorSpec(rows_shape, tf.uint8),
            tf.TensorSpec(rows_shape, tf.float32),
        ),
    )
    batches = (
        pairs.prefetch(1)
        .unbatch()
        .shuffle(_SHUFFLE_BUFFER_SIZE, seed=int(rng.integers(2**31)))
        .batch(batch_size, drop_remainder=True)
        .map(lambda image, delta: {"image": tf.cast(image, tf.float32) / 255.0, "delta": delta})
        .prefetch(tf.data.AUTOTUNE)
    )
    return batches.apply(tf.data.experimental.assert_cardinality(deltas.num_images // batch_size))
