"""Attack steps against the bare forward pass and input gradient.

    python -m benchmarks.attacks [--models=convnet,ygcnn] [--xla]

Columns are throughputs relative to `bare`: a compiled function of nothing
but the logits, the loss and its gradient by the input, called once a step
on the same model and batch. 1.00 means that an attack costs nothing on top.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cleverhans.tf2.attacks.projected_gradient_descent as cleverhans
import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks import timing
from qup import models, opposite_fgsm, types
from qup.attacks.pgd import pgd

_MODELS = flags.DEFINE_list(
    "models", ["convnet", "ygcnn", "resnet20"], "Which; resnetN has N layers."
)
_BATCH = flags.DEFINE_integer("batch", 256, "Images a batch.")
_STEPS = flags.DEFINE_integer("steps", 10, "Steps an attack.")
_ROUNDS = flags.DEFINE_integer("rounds", 15, "Timed rounds.")
_XLA = flags.DEFINE_bool("xla", False, "Time PGD compiled by XLA as well.")
_SHAPES = {"convnet": (28, 1), "ygcnn": (28, 1)}


def _alternatives(name: str):
    side, channels = _SHAPES.get(name, (32, 3))
    info = types.DatasetInfo(
        "benchmark", (side, side, channels), tuple("0123456789"), {}
    )
    kind = name.rstrip("0123456789")
    depth = {"depth": int(name[len(kind) :])} if name != kind else {}
    model = models.build(kind, info, seed=0, **depth)
    rng = np.random.default_rng(0)
    images = tf.constant(
        rng.random((_BATCH.value, side, side, channels)), tf.float32
    )
    labels = tf.constant(rng.integers(10, size=_BATCH.value), tf.int32)
    steps = _STEPS.value

    @tf.function(autograph=False)
    def gradient(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels, model(inputs, training=False)
            )
        return tape.gradient(losses, inputs)

    def bare():
        for _ in range(steps):
            out = gradient(images)
        return out.numpy()

    def attack(xla):
        return lambda: pgd(
            model, images, labels, epsilon=0.1, num_steps=steps, xla=xla
        ).numpy()

    alternatives = {
        "bare": bare,
        "pgd": attack("off"),
        "walk": lambda: opposite_fgsm.walk(
            model, images, labels, num_steps=steps, step_size=0.01
        ).numpy(),
        "cleverhans": lambda: cleverhans.projected_gradient_descent(
            model, images, 0.1, 0.1 / steps, steps, np.inf,
            clip_min=0.0, clip_max=1.0, y=labels, rand_init=False,
        ).numpy(),
    }  # fmt: skip
    return alternatives | ({"pgd, XLA": attack("on")} if _XLA.value else {})


def main(_) -> None:
    """Prints a table, one model a row."""
    print(timing.machine())
    print(f"batch {_BATCH.value}, {_STEPS.value} steps; relative throughput")
    for name in _MODELS.value:
        bare, ratios = timing.compare(_alternatives(name), rounds=_ROUNDS.value)
        rate = _BATCH.value * _STEPS.value / bare
        shown = (f"{k} {ratio:.2f}" for k, ratio in ratios.items())
        print(f"{name:10} bare {rate:,.0f} images/s;", ", ".join(shown))


if __name__ == "__main__":
    app.run(main)
