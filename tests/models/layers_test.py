"""Batch normalisation: Keras's statistics, on one device and on several."""

import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup.models.layers import BatchNormalization

_ROOT = pathlib.Path(__file__).parents[2]
_REPLICAS = """
import json, sys
import numpy as np, keras, tensorflow as tf
from qup.models.layers import BatchNormalization
device = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [device] * 2)
images = np.random.default_rng(0).normal(3, 2, (8, 3, 2, 4)).astype("float32")
images += np.arange(8, dtype="float32").reshape(8, 1, 1, 1)
answers = {}
for name, synchronized, first in (("equal", True, 4), ("unequal", True, 3), ("local", False, 4)):
    strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    with strategy.scope():
        layer = BatchNormalization(momentum=0.5, synchronized=synchronized)
        layer.build((None, 3, 2, 4))
    batches = strategy.experimental_distribute_values_from_function(
        lambda c: tf.constant((images[:first], images[first:])[c.replica_id_in_sync_group]))
    @tf.function
    def step(batch):
        with tf.GradientTape() as tape:
            tape.watch(batch)
            outputs = layer(batch, training=True)
            loss = tf.reduce_sum(outputs ** 3)
        return outputs, tape.gradient(loss, batch)
    outputs, gradient = strategy.run(step, [batches])
    gather = lambda v: np.concatenate([t.numpy() for t in strategy.experimental_local_results(v)])
    answers[name] = [gather(outputs).tolist(), gather(gradient).tolist(),
                     layer.moving_mean.numpy().tolist(), layer.moving_variance.numpy().tolist()]
print(json.dumps(answers))
"""


def _make_images():
    images = np.random.default_rng(0).normal(3, 2, (8, 3, 2, 4)).astype("float32")
    return images + np.arange(8, dtype="float32").reshape(8, 1, 1, 1)


def test_two_replicas_have_the_statistics_of_the_whole_batch():
    done = subprocess.run(
        [sys.executable, "-c", _REPLICAS], cwd=_ROOT, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    layer = BatchNormalization(momentum=0.5)
    images = tf.constant(_make_images())
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = layer(images, training=True)
        loss = tf.reduce_sum(outputs**3)
    whole = [outputs, tape.gradient(loss, images), layer.moving_mean, layer.moving_variance]
    for name in ("equal", "unequal"):
        for received, expected in zip(answers[name], whole, strict=True):
            np.testing.assert_allclose(received, expected, rtol=2e-5, atol=2e-5)
    # Without the option each replica normalises its own images.
    assert np.abs(np.array(answers["local"][0]) - outputs).max() > 0.1


def _fill(layer, other):
    other.set_weights(layer.get_weights())
    return other


@pytest.mark.parametrize("seed", range(3))
def test_it_differs_from_keras_in_the_sample_variance_alone(seed):
    generator = np.random.default_rng(seed)
    batch, height, width, channels = generator.integers((2, 1, 1, 1), 6)
    images = generator.normal(1, 3, (batch, height, width, channels)).astype("float32")
    ours, theirs = BatchNormalization(momentum=0.0), keras.layers.BatchNormalization(momentum=0.0)
    for layer in (ours, theirs):
        layer.build(images.shape)
    np.testing.assert_allclose(
        ours(images, training=True), theirs(images, training=True), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean, rtol=1e-5, atol=1e-5)
    n = batch * height * width
    np.testing.assert_allclose(
        ours.moving_variance, theirs.moving_variance * n / (n - 1), rtol=1e-4
    )
    _fill(ours, theirs)
    np.testing.assert_allclose(ours(images), theirs(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options", [{"scale": False}, {"center": False}, {"axis": 1}, {"dtype": "mixed_float16"}, {}]
)
@pytest.mark.parametrize("shape", [(6, 4, 4, 3), (6, 3), (6, 5, 3)])
@pytest.mark.parametrize("training", [True, False])
def test_other_options_are_those_of_keras(options, shape, training):
    if not options and len(shape) == 4:
        pytest.skip("computed fused")
    values = np.random.default_rng(1).normal(1, 3, shape).astype("float32")
    ours, theirs = BatchNormalization(**options), keras.layers.BatchNormalization(**options)
    for layer in (ours, theirs):
        layer.build(shape)
    outputs = ours(values, training=training)
    np.testing.assert_array_equal(outputs, theirs(values, training=training))
    for own, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)


def test_a_mask_excludes_values():
    values = np.random.default_rng(1).normal(1, 3, (4, 2, 2, 3)).astype("float32")
    mask = np.zeros((4, 2, 2), bool)
    mask[:2] = True
    ours, theirs = BatchNormalization(), keras.layers.BatchNormalization()
    for layer in (ours, theirs):
        layer.build(values.shape)
    np.testing.assert_array_equal(
        ours(values, training=True, mask=mask), theirs(values, training=True, mask=mask)
    )
    np.testing.assert_array_equal(ours.moving_mean, theirs.moving_mean)
