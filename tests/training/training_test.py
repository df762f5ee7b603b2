"""Training: it learns, resumes after a kill, and reports NaN."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import datasets, models, training
from qup.augmentation import generation, translator
from qup.core.errors import InputError
from qup.core.types import Recipe
from qup.models.pix2pix import Pix2Pix, build_discriminator, build_unet
from qup.robustness import evaluation
from qup.training.classifier import Plateau


class _KilledError(Exception):
    """Stands for a kill at the end of an epoch, before it is committed."""


def _data(**options):
    return datasets.load("synthetic", train_size=128, test_size=64, **options)


def _weights(model):
    return [np.array(w) for w in model.get_weights()]


def _fit(data, model, epochs, **options):
    return training.fit_classifier(
        model, data, epochs=epochs, recipe=Recipe(batch_size=16), **options
    )


def test_a_classifier_learns():
    data = _data()
    model = models.build("convnet", data.info)
    seen = []
    training.fit_classifier(
        model,
        data,
        epochs=6,
        recipe=Recipe(learning_rate=3e-3, batch_size=16),
        hook=lambda epoch, metrics: seen.append((epoch, metrics)),
    )
    assert [epoch for epoch, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[-1][1]["loss"] < 0.5 * seen[0][1]["loss"]
    accuracy = evaluation.evaluate_accuracy(model, data.evaluation_batches("test", 64))
    assert accuracy.value > 90


@pytest.mark.parametrize("name", ["convnet", "ygcnn"])
def test_a_killed_training_ends_as_an_uninterrupted_one(name, tmp_path):
    data = _data(image_size=(12, 12))
    complete = models.build(name, data.info, width=0.25)
    _fit(data, complete, 3, augment=True)

    def kill(epoch, metrics):
        if epoch == 2:
            raise _KilledError

    part = models.build(name, data.info, width=0.25)
    with pytest.raises(_KilledError):
        _fit(data, part, 3, augment=True, directory=tmp_path, hook=kill)
    resumed = models.build(name, data.info, width=0.25, seed=9)
    epochs = []
    _fit(
        data,
        resumed,
        3,
        augment=True,
        directory=tmp_path,
        hook=lambda epoch, _: epochs.append(epoch),
    )
    assert epochs == [2, 3]
    for one, other in zip(_weights(complete), _weights(resumed), strict=True):
        np.testing.assert_array_equal(one, other)


def test_nan_is_told_and_nothing_saved(tmp_path):
    data = _data()
    model = models.build("convnet", data.info)
    recipe = Recipe(optimizer="sgd", learning_rate=1e30, batch_size=16)
    with pytest.raises(InputError, match="diverged in epoch 1"):
        training.fit_classifier(model, data, epochs=1, recipe=recipe, directory=tmp_path)
    assert not list(tmp_path.glob("*.index"))


def test_a_foreign_checkpoint_is_reported(tmp_path):
    data = _data()
    _fit(data, models.build("convnet", data.info), 1, directory=tmp_path)
    other = models.build("convnet", data.info, width=2.0)
    with pytest.raises(InputError, match="does not fit"):
        _fit(data, other, 2, directory=tmp_path)


def test_a_partial_checkpoint_is_removed(tmp_path):
    data = _data()
    _fit(data, models.build("convnet", data.info), 1, directory=tmp_path)
    left = tmp_path / "ckpt-2_temp"
    left.mkdir()
    (left / "part-00000-of-00001.data-00000-of-00001").write_bytes(b"half")
    _fit(data, models.build("convnet", data.info), 2, directory=tmp_path)
    assert not left.exists()


def test_weights_lost_in_the_very_last_step_are_reported():
    data = datasets.load("synthetic", train_size=16, test_size=16)
    model = models.build("convnet", data.info)
    recipe = Recipe(optimizer="sgd", learning_rate=math.inf, batch_size=16)
    with pytest.raises(InputError, match="weights are no longer finite"):
        training.fit_classifier(model, data, epochs=1, recipe=recipe)


def test_a_plateau_recipe_watches_validation_accuracy(monkeypatch):
    monitored = []
    monkeypatch.setattr(Plateau, "update", lambda self, optimizer, value: monitored.append(value))
    data = _data()
    model = models.build("convnet", data.info)
    training.fit_classifier(
        model,
        data,
        epochs=3,
        recipe=Recipe(plateau=True),
        validate=lambda: {"validation_accuracy": 50.0},
        hook=lambda epoch, metrics: metrics.clear(),
    )
    assert monitored == [50.0, 50.0, 50.0]


def test_plateau_never_raises_a_low_rate():
    optimizer, plateau = keras.optimizers.SGD(1e-6), Plateau(patience=1)
    for _ in range(3):
        plateau.update(optimizer, 50.0)
    assert float(optimizer.learning_rate) == pytest.approx(1e-6)


def test_plateau_halves_after_three_epochs_without_a_rise():
    optimizer = keras.optimizers.SGD(0.1)
    plateau = Plateau()
    for value in (50.0, 60.0, 60.0, 59.0):
        plateau.update(optimizer, value)
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
    plateau.update(optimizer, 58.0)
    assert float(optimizer.learning_rate) == pytest.approx(0.05)


@pytest.mark.parametrize("width,millions", [(16, 1.94), (64, 31.0)])
def test_translator_size(width, millions):
    count = build_unet((28, 28, 1), width=width).count_params() / 1e6
    assert count == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (9, 14, 2)])
def test_translator_shape_and_range(shape):
    network = build_unet(shape, width=2, scale=0.3)
    delta = network(tf.random.stateless_uniform((3, *shape), (1, 1)))
    assert delta.shape == (3, *shape)
    assert np.abs(delta).max() <= 0.3


def test_the_networks_are_the_supplements():
    network = build_unet((32, 32, 3), width=4)
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds.count("Conv2DTranspose") == 4
    assert kinds.count("MaxPooling2D") == 4
    assert kinds.count("Concatenate") == 4
    assert kinds.count("Conv2D") == 2 * (5 + 4) + 1
    kinds = [type(x).__name__ for x in build_discriminator((32, 32, 3)).layers]
    assert kinds.count("SpectralNormalization") == 3
    assert kinds.count("LeakyReLU") == 3


def test_the_discriminator_has_a_gradient_for_the_generator():
    gan = Pix2Pix((16, 16, 1), width=4)
    images = tf.random.stateless_uniform((4, 16, 16, 1), (1, 1))
    with tf.GradientTape() as tape:
        adversarial = gan.compute_losses(images, images - 0.5)[1]
    gradient = tape.gradient(adversarial, gan.generator.trainable_variables)
    assert all(g is not None for g in gradient)
    assert max(np.abs(g).max() for g in gradient) > 1e-6


def test_spectral_normalisation_reaches_one():
    gan = Pix2Pix((16, 16, 1), width=4)
    images = tf.random.stateless_uniform((4, 16, 16, 1), (1, 1))
    for _ in range(40):
        gan.train_step({"image": images, "delta": images - 0.5})
    for layer in gan.discriminator.layers:
        if isinstance(layer, keras.layers.SpectralNormalization):
            gan.compute_losses(images, images - 0.5)
            kernel = np.array(layer.layer.kernel)
            kernel = kernel.reshape(-1, kernel.shape[-1])
            assert np.linalg.norm(kernel, 2) == pytest.approx(1, abs=0.05)


def _deltas(tmp_path):
    data = _data(image_size=(16, 16))
    classifier = models.build("convnet", data.info)
    return generation.compute_deltas(
        classifier, data, tmp_path / "deltas", num_steps=3, step_size=0.05, batch_size=32
    )


def _translate(deltas, **options):
    settings = {"epochs": 3, "width": 2, "batch_size": 16}
    return translator.fit_translator(deltas, **(settings | options))


@pytest.mark.slow
def test_a_killed_translator_ends_as_an_uninterrupted_one(tmp_path):
    deltas = _deltas(tmp_path)
    complete = _translate(deltas, schedule="cosine")

    def kill(epoch, metrics):
        assert set(Pix2Pix.metrics) <= set(metrics)
        if epoch == 2:
            raise _KilledError

    options = {"schedule": "cosine", "directory": tmp_path / "checkpoints"}
    with pytest.raises(_KilledError):
        _translate(deltas, hook=kill, **options)
    resumed = _translate(deltas, **options)
    for one, other in zip(_weights(complete), _weights(resumed), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_translator_learns(tmp_path):
    losses = []
    _translate(
        _deltas(tmp_path),
        epochs=12,
        width=4,
        learning_rate=2e-3,
        hook=lambda _, m: losses.append(m["generator_l1"]),
    )
    assert losses[-1] < 0.9 * losses[0]


def test_unknown_schedule(tmp_path):
    with pytest.raises(InputError, match="Did you mean 'cosine'"):
        _translate(_deltas(tmp_path), schedule="cosin")
