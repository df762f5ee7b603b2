"""Conformance of every registered classifier, and its published size."""

import functools
import math
from inspect import signature

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import models
from qup.core import errors
from qup.core.types import DatasetInfo

NAMES = models.names()
SCALABLE = [n for n in NAMES if "width" in signature(models.get(n)).parameters]
# The deepest takes longer than all others together.
DEEP_SLOWLY = [pytest.param(n, marks=pytest.mark.slow) if n == "googlenet" else n for n in NAMES]
MNIST = (28, 28, 1)
CIFAR = (32, 32, 3)
cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def make_info(*shape, num_classes=10):
    return DatasetInfo("synthetic", shape, tuple(map(str, range(num_classes))))


def make_batch(size=8):
    generator = np.random.default_rng(0)
    images = generator.uniform(size=(size, 8, 8, 1)).astype("float32")
    labels = generator.integers(3, size=size).astype("int32")
    return tf.constant(images), tf.constant(labels)


def build_small(name, seed=0, shape=(8, 8, 1), **options):
    if name in SCALABLE:
        options = {"width": 0.125, **options}
    return models.build(name, make_info(*shape, num_classes=3), seed=seed, **options)


# For tests that leave the weights alone.
small = functools.cache(build_small)


def infer(model, images):
    return model(images, training=False)


@pytest.mark.parametrize("name", NAMES)
def test_logits_have_shape_dtype_and_names(name):
    images, _ = make_batch()
    logits = infer(small(name), images)
    assert (logits.shape, logits.dtype) == ((8, 3), tf.float32)
    assert np.isfinite(logits).all()
    # Logits, not probabilities.
    assert not np.allclose(tf.reduce_sum(logits, axis=1), 1, atol=1e-3)
    first, *_, last = small(name).layers
    assert (first.name, last.name) == ("image", "logits")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [MNIST, CIFAR, (9, 4, 2)])
def test_takes_images_of_any_usual_shape(name, shape):
    model = build_small(name, shape=shape)
    assert model.name == name
    assert model.input_shape == (None, *shape)
    assert model.output_shape == (None, 3)


@pytest.mark.parametrize(
    ("name", "shape", "options", "expected"),
    [
        # By hand: 156 + 2,416 + (400 + 1) x 120 + 10,164 + 850.
        ("convnet", MNIST, {}, 61_706),
        ("convnet", CIFAR, {}, 62_006),
        # By hand: 832 + 25,632 + 18,496 + 36,928 + 803,072 + 2,570.
        ("ygcnn", MNIST, {}, 887_530),
        # By hand: encoder 1,179,472, decoder 762,800, dense layer 170.
        ("unet_classifier", MNIST, {}, 1_942_442),
        # The sizes of the same layers in pytorch-cifar.
        ("resnet", CIFAR, {}, 11_173_962),
        ("googlenet", CIFAR, {}, 6_166_250),
        ("googlenet", CIFAR, {"width": 0.25}, 392_738),
        # He et al., table 6, to two digits: 0.27 and 1.7 million.
        ("resnet", CIFAR, {"depth": 20}, 269_722),
        ("resnet", CIFAR, {"depth": 110}, 1_727_962),
    ],
)
def test_parameters_are_as_published(name, shape, options, expected):
    model = models.build(name, make_info(*shape), **options)
    sizes = [math.prod(v.shape) for v in model.trainable_variables]
    assert sum(sizes) == expected


@pytest.mark.parametrize("name", NAMES)
def test_input_gradient_is_alive(name):
    images, labels = make_batch()
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        loss = cross_entropy(labels, infer(small(name), images))
    gradient = tape.gradient(loss, images).numpy()
    assert np.isfinite(gradient).all()
    assert (np.abs(gradient).max(axis=(1, 2, 3)) > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_seed_decides_the_weights(name):
    first = small(name).get_weights()
    again = build_small(name).get_weights()
    other = build_small(name, seed=1).get_weights()
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))


@pytest.mark.parametrize("name", NAMES)
def test_inference_is_deterministic(name):
    images, _ = make_batch()
    first = infer(small(name), images)
    np.testing.assert_array_equal(first, infer(small(name), images))
    # Nor does a row depend on its neighbours.
    alone = infer(small(name), images[:1])
    np.testing.assert_allclose(alone, first[:1], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in NAMES), ("resnet", {"depth": 20, "width": 0.3})]
)
def test_keras_file_restores_the_model(name, options, tmp_path):
    images, _ = make_batch()
    expected = infer(small(name, **options), images)
    small(name, **options).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(infer(loaded, images), expected)


@pytest.mark.parametrize("name", DEEP_SLOWLY)
def test_saved_model_serves_the_same_logits(name, tmp_path):
    images, _ = make_batch()
    small(name).export(str(tmp_path), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path))
    logits = loaded.serve(images)
    np.testing.assert_allclose(logits, infer(small(name), images), atol=1e-5)


@pytest.mark.parametrize("name", DEEP_SLOWLY)
def test_xla_agrees(name):
    images, _ = make_batch()
    logits = tf.function(infer, jit_compile=True)(small(name), images)
    np.testing.assert_allclose(logits, infer(small(name), images), atol=1e-3)


@pytest.mark.parametrize("name", DEEP_SLOWLY)
def test_one_step_of_the_recipe_lowers_the_loss(name):
    images, labels = make_batch(size=32)
    model, recipe = build_small(name), models.get_recipe(name)
    optimizer = keras.optimizers.get(recipe.optimizer).__class__(
        recipe.learning_rate, **recipe.optimizer_options
    )
    # Moving averages, and the state that dropout draws its masks from.
    states = [(v, v.numpy()) for v in model.non_trainable_variables]
    with tf.GradientTape() as tape:
        before = cross_entropy(labels, model(images, training=True))
    weights = model.trainable_variables
    optimizer.apply(tape.gradient(before, weights), weights)
    for variable, value in states:
        variable.assign(value)
    assert cross_entropy(labels, model(images, training=True)) < before


@pytest.mark.parametrize("name", SCALABLE)
def test_normalisation_is_part_of_the_model(name):
    images, _ = make_batch()
    plain = build_small(name, mean=0.0, std=1.0)
    inside = build_small(name, mean=0.25, std=0.5)
    expected = infer(plain, (images - 0.25) / 0.5)
    np.testing.assert_allclose(infer(inside, images), expected, atol=1e-5)
    assert len(inside.layers) == len(plain.layers) + 1


@pytest.mark.parametrize("name", SCALABLE)
def test_wrong_options_are_reported(name):
    for options, words in [
        ({"widht": 0.5}, "Did you mean 'width'"),
        ({"width": 0.0}, "width must be a finite number above 0"),
        ({"width": math.nan}, "width must be a finite number above 0"),
        ({"std": 0.0}, "std positive"),
        ({"mean": math.inf}, "mean must be finite"),
    ]:
        with pytest.raises(errors.InputError, match=words):
            build_small(name, **options)


def test_unknown_depth_names_the_nearest():
    with pytest.raises(errors.InputError, match=r"mean 32\?.* 18, 20, 32"):
        build_small("resnet", depth=34)


@pytest.mark.parametrize("name", ["convnet", "ygcnn"])
def test_too_small_images_are_reported(name):
    with pytest.raises(errors.InputError, match="at least 4x4"):
        build_small(name, shape=(8, 3, 1))
