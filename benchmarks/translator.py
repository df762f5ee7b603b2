"""Speed of the translator's training with the batch normalisation of qup and of Keras.

python -m benchmarks.translator [--width=16] [--batch=64]
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks import timing
from qup.models import pix2pix

_WIDTH = flags.DEFINE_integer("width", 16, "Channels of the first block.")
_BATCH = flags.DEFINE_integer("batch", 64, "Pairs per step.")
_STEPS = flags.DEFINE_integer("steps", 10, "Steps per round.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed rounds.")


def _build_training():
    shape = (28, 28, 1)
    gan = pix2pix.Pix2Pix(shape, width=_WIDTH.value)
    rng = np.random.default_rng(0)
    image = tf.constant(rng.random((_BATCH.value, *shape)), tf.float32)
    batch = {"image": image, "delta": 0.1 - 0.2 * image}

    def run_steps():
        for _ in range(_STEPS.value):
            losses = gan.train_step(batch)
        return losses.numpy()

    return run_steps


def main(_) -> None:
    """Prints images per second of both, and their ratio."""
    fused = _build_training()
    plain = keras.layers.BatchNormalization
    with mock.patch.object(pix2pix, "BatchNormalization", plain):
        composed = _build_training()
    seconds, ratios = timing.compute_speedups(
        {"composed": composed, "fused": fused}, rounds=_ROUNDS.value
    )
    print(timing.describe_machine())
    rate = _BATCH.value * _STEPS.value / seconds
    print(f"composed {rate:.0f} images/s, fused {ratios['fused']:.2f} times as fast")


if __name__ == "__main__":
    app.run(main)
