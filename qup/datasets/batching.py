"""Rows of a split as the batches of `qup.types`."""

import numpy as np
import tensorflow as tf

from qup.datasets.source import Split

_PREFETCH = 4


def build_batches(
    split: Split, indices: np.ndarray, weights: np.ndarray, batch_size: int
) -> tf.data.Dataset:
    """Returns batches of the images at some places of a split.

    Args:
      split: The images.
      indices: int64 [n], n a multiple of `batch_size`.
      weights: [n].
      batch_size: Images a batch.
    """
    images, labels = split.rows

    def gather(indices, ids, weights):
        pixels = tf.cast(tf.gather(images, indices), tf.float32)
        return {
            "image": pixels / 255.0,
            "label": tf.gather(labels, indices),
            "weight": weights,
            "id": ids,
        }

    with tf.device("CPU:0"):
        rows = tf.data.Dataset.from_tensor_slices(
            (
                indices.reshape(-1, batch_size),
                split.ids[indices].reshape(-1, batch_size),
                weights.reshape(-1, batch_size).astype(np.float32),
            )
        )
        batches = rows.map(gather, num_parallel_calls=2).prefetch(_PREFETCH)
        return batches.with_options(_keep_images_shared())


def _keep_images_shared() -> tf.data.Options:
    # Rewriting the pipeline would copy all the images into its graph.
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    return options
