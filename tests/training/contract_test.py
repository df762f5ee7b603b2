"""Training of models that do not return logits, or do not take [0, 1]: right, or refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import datasets, training
from qup.core import compilation, errors
from qup.core.types import Recipe
from qup.robustness import evaluation
from qup.training.adversarial import AdversarialTraining

_RECIPE = Recipe(optimizer="sgd", learning_rate=0.05, batch_size=16)


@pytest.fixture(scope="module")
def data():
    return datasets.load("synthetic", train_size=96, test_size=32)


def _build(data, head=None, front=(), dense_activation=None, outputs=None):
    """A small network; all of them have the same weights."""
    image = keras.Input(data.info.image_shape)
    tensor = image
    for layer in front:
        tensor = layer(tensor)
    tensor = keras.layers.AveragePooling2D(4)(tensor)
    tensor = keras.layers.Flatten()(tensor)
    initializer = keras.initializers.GlorotUniform(seed=3)
    tensor = keras.layers.Dense(
        outputs or data.info.num_classes,
        kernel_initializer=initializer,
        activation=dense_activation,
    )(tensor)
    return keras.Model(image, tensor if head is None else head(tensor))


class Probabilities(keras.Model):
    """A model whose layers do not show what it returns."""

    def __init__(self, network, function):
        super().__init__()
        self.network = network
        self.function = function

    def call(self, images, training=None):
        return self.function(self.network(images, training=training))


def _train(data, model, epochs=1, recipe=_RECIPE, **options):
    losses = []
    training.fit_classifier(
        model,
        data,
        epochs=epochs,
        recipe=recipe,
        hook=lambda _, metrics: losses.append(metrics["loss"]),
        **options,
    )
    return model.trainable_variables[0].numpy(), losses


@pytest.fixture(scope="module")
def trained(data):
    """The weights and losses of the network that returns logits."""
    return _train(data, _build(data))


_HEADS = {
    "activation": lambda data: _build(data, keras.layers.Activation("softmax")),
    "layer": lambda data: _build(data, keras.layers.Softmax()),
    "dense": lambda data: _build(data, dense_activation="softmax"),
    "sigmoid": lambda data: _build(data, dense_activation="sigmoid"),
    "log_softmax": lambda data: _build(data, dense_activation="log_softmax"),
    "operation": lambda data: _build(data, keras.ops.softmax),
    "subclass": lambda data: Probabilities(_build(data), keras.ops.softmax),
    "dictionary": lambda data: Probabilities(_build(data), lambda z: {"logits": z}),
    "list": lambda data: Probabilities(_build(data), lambda z: [z]),
}


@pytest.mark.parametrize("name", _HEADS)
def test_any_head_is_trained_as_its_logits(name, data, trained, caplog):
    weights, losses = _train(data, _HEADS[name](data))
    np.testing.assert_allclose(weights, trained[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(losses, trained[1], rtol=1e-3)
    warned = "last activation" in caplog.text or "inverse of the activation" in caplog.text
    assert warned == (name not in ("log_softmax", "dictionary", "list"))


@pytest.mark.parametrize("method", ["pgd_at", "trades"])
def test_adversarial_training_sees_the_logits_too(method, data):
    adversary = AdversarialTraining(method, epsilon=0.05, num_steps=2)
    weights, losses = _train(data, _build(data), adversary=adversary)
    others = _train(data, _HEADS["activation"](data), adversary=adversary)
    np.testing.assert_allclose(others[0], weights, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(others[1], losses, rtol=1e-3)


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_one_number_for_two_classes_learns(activation):
    generator = np.random.default_rng(0)
    labels = np.arange(64) % 2
    images = generator.uniform(0, 0.5, (64, 8, 8, 1)) + labels[:, None, None, None] * 0.5
    images = (255 * images).astype(np.uint8)
    data = datasets.from_arrays(images, labels, train_images=images, train_labels=labels)
    model = _build(data, dense_activation=activation, outputs=1)
    recipe = Recipe(learning_rate=0.05, batch_size=16)
    _, losses = _train(data, model, epochs=12, recipe=recipe)
    assert losses[-1] < 0.7 * losses[0]
    batches = data.evaluation_batches("test", 32)
    assert evaluation.evaluate_accuracy(model, batches).value > 90


@pytest.mark.parametrize(
    ("front", "pixel_range"),
    [
        ((keras.layers.Rescaling(1 / 255),), (0, 255)),
        ((keras.layers.Rescaling(0.5, 0.5),), (-1, 1)),
    ],
)
def test_a_stated_range_is_applied(front, pixel_range, data, trained):
    weights, losses = _train(data, _build(data, front=front), pixel_range=pixel_range)
    np.testing.assert_allclose(weights, trained[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(losses, trained[1], rtol=1e-3)


def test_bytes_that_nobody_stated_are_refused(data):
    model = _build(data, front=(keras.layers.Rescaling(1 / 255),))
    before = model.get_weights()
    with pytest.raises(errors.InputError, match=r"pixel_range=\(0, 255\)"):
        _train(data, model)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_half_precision_trains(data, trained):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = _build(data)
    finally:
        keras.config.set_dtype_policy(policy)
    weights, losses = _train(data, model)
    np.testing.assert_allclose(losses, trained[1], rtol=2e-2)
    assert weights.dtype == np.float32


def test_what_xla_cannot_compile_is_trained_without_it(data, trained, monkeypatch, caplog):
    # As on a GPU.
    monkeypatch.setattr(compilation, "use_xla", lambda mode: True)
    resize = keras.layers.Lambda(
        lambda x: tf.image.resize(x, tf.shape(x)[1:3], antialias=True, method="bicubic"),
        output_shape=data.info.image_shape,
    )
    _, losses = _train(data, _build(data, front=(resize,)))
    np.testing.assert_allclose(losses, trained[1], rtol=1e-3)
    assert caplog.text.count("runs without XLA") == 1


def _freeze(model):
    model.trainable = False
    return model


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda data: lambda images: images, "the weights of a Keras model"),
        (lambda data: _build(data, outputs=2), "has 2 classes, but 'synthetic' has"),
        (lambda data: _build(data, dense_activation="softmax", outputs=2), "has 2 classes"),
        (lambda data: _freeze(_build(data)), "no trainable weights"),
        (lambda data: _HEADS["list"](data).network.layers[-1], "the weights of"),
        (
            lambda data: keras.Sequential(
                [keras.Input((9, 9, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
            ),
            r"takes images \(9, 9, 1\)",
        ),
        (lambda data: Probabilities(_build(data), lambda z: (z, z)), "received 2 outputs"),
        (lambda data: Probabilities(_build(data), tf.round), "has no gradient"),
        (lambda data: Probabilities(_build(data), tf.stop_gradient), "has no gradient"),
        (lambda data: Probabilities(_build(data), keras.ops.argmax), "received"),
    ],
)
def test_what_cannot_be_trained_is_refused(build, message, data):
    with pytest.raises(errors.InputError, match=message) as caught:
        _train(data, build(data))
    assert len(str(caught.value)) <= 600 and "\n" not in str(caught.value)
