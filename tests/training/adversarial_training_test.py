"""PGD-AT and TRADES: inner maximisation, losses, and resuming."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import attacks, datasets, models, training
from qup.core.errors import InputError
from qup.core.types import Recipe
from qup.pipelines import run as pipelines_run
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import Examples, Model, ModelRun
from qup.pipelines.components.examples import ExampleGen
from qup.pipelines.components.trainer import RobustTrainer, Trainer
from qup.robustness import evaluation
from qup.training.adversarial import AdversarialTraining


class _KilledError(Exception):
    """Stands for a kill at the end of an epoch, before it is committed."""


def _linear(seed=0):
    """Logits W x of 2x2 images, and W."""
    image = keras.Input((2, 2, 1))
    logits = keras.layers.Dense(3, use_bias=False)
    network = keras.Model(image, logits(keras.layers.Flatten()(image)))
    weights = np.random.default_rng(seed).normal(size=(4, 3)).astype("float32")
    logits.kernel.assign(weights)
    return network, weights


def _batch(count=5):
    random = np.random.default_rng(1)
    return {
        "image": tf.constant(random.uniform(0.3, 0.7, (count, 2, 2, 1)), tf.float32),
        "label": tf.constant(random.integers(0, 3, count), tf.int32),
        "id": tf.range(count, dtype=tf.int64) + 7,
    }


def _moved(adversary, network, batch, step=0):
    return adversary.perturb(network, batch["image"], batch, tf.constant(step)).numpy()


def test_pgd_at_equals_the_pgd_attack():
    network, _ = _linear()
    batch = _batch()
    adversary = AdversarialTraining("pgd_at", epsilon=0.1, num_steps=3, step_size=0.02, seed=4)
    expected = attacks.get("pgd")(
        network,
        batch["image"],
        batch["label"],
        ids=batch["id"],
        epsilon=0.1,
        num_steps=3,
        step_size=0.02,
        random_start=True,
        seed=4,
    )
    np.testing.assert_allclose(_moved(adversary, network, batch), expected, atol=1e-6)


def test_two_classes_end_in_the_corner_of_the_weights():
    network, weights = _linear()
    kernel = weights.copy()
    kernel[:, 2] = 0
    network.layers[-1].kernel.assign(kernel)
    shift = 100 * np.array([0, 0, -1], np.float32)

    def two(images):
        return network(images) + shift

    batch = _batch()
    batch["label"] = batch["label"] % 2
    perturbed = _moved(AdversarialTraining("pgd_at", epsilon=0.1), two, batch)
    other = np.where(batch["label"].numpy()[:, None] == 0, 1, -1)
    corner = 0.1 * np.sign(other * (kernel[:, 1] - kernel[:, 0]))
    flat = (perturbed - batch["image"].numpy()).reshape(-1, 4)
    np.testing.assert_allclose(flat, corner, atol=1e-6)


@pytest.mark.parametrize("method", ["pgd_at", "trades"])
def test_starts_belong_to_the_image_and_the_step(method):
    network, _ = _linear()
    batch = _batch()
    adversary = AdversarialTraining(method, epsilon=0.1, num_steps=1, step_size=1e-6)
    whole = _moved(adversary, network, batch, step=3)
    part = {name: column[2:] for name, column in batch.items()}
    np.testing.assert_array_equal(_moved(adversary, network, part, step=3), whole[2:])
    assert (_moved(adversary, network, batch, step=4) != whole).all()
    distance = np.abs(whole - batch["image"]).max()
    assert 0.05 < distance <= 0.1 + 1e-5 if method == "pgd_at" else distance < 6e-3


def test_trades_maximises_the_divergence():
    network, _ = _linear()
    batch = _batch()
    clean = tf.nn.softmax(network(batch["image"]))

    def divergence(images):
        perturbed = tf.nn.softmax(network(images))
        return keras.losses.kl_divergence(clean, perturbed).numpy()

    adversary = AdversarialTraining("trades", epsilon=0.1, num_steps=8)
    perturbed = _moved(adversary, network, batch)
    assert np.abs(perturbed - batch["image"]).max() <= 0.1 + 1e-6
    # Convex along a line: no point of the ball beats all of its corners.
    corners = np.array(np.meshgrid(*[[-0.1, 0.1]] * 4)).reshape(4, -1).T
    result = [divergence(batch["image"] + c.reshape(1, 2, 2, 1).astype("float32")) for c in corners]
    assert (divergence(perturbed) > 0.5 * np.max(result, 0)).all()


def test_the_losses_are_those_of_the_papers():
    network, _ = _linear()
    batch = _batch()
    images, labels = batch["image"], batch["label"]
    attacked = images + 0.05
    logits, perturbed = network(images), network(attacked)
    ask = (network, images, labels, attacked)
    entropy = keras.losses.sparse_categorical_crossentropy
    losses, training_logits = AdversarialTraining("pgd_at", epsilon=0.1).loss(*ask)
    np.testing.assert_allclose(losses, entropy(labels, perturbed, from_logits=True), rtol=1e-5)
    np.testing.assert_array_equal(training_logits, perturbed)
    losses, training_logits = AdversarialTraining("trades", epsilon=0.1, beta=2.0).loss(*ask)
    expected = entropy(labels, logits, from_logits=True)
    parted = keras.losses.kl_divergence(tf.nn.softmax(logits), tf.nn.softmax(perturbed))
    np.testing.assert_allclose(losses, expected + 2 * parted, rtol=1e-4)
    np.testing.assert_array_equal(training_logits, logits)


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("pgd_at", marks=pytest.mark.exhaustive),
        pytest.param("trades", marks=pytest.mark.slow),
    ],
)
def test_a_killed_training_ends_as_an_uninterrupted_one(method, tmp_path):
    data = datasets.load("synthetic", train_size=32, test_size=16)

    def fit(**options):
        network = models.build("convnet", data.info, width=0.25)
        training.fit_classifier(
            network,
            data,
            epochs=2,
            recipe=Recipe(batch_size=16),
            adversary=AdversarialTraining(method, epsilon=0.1, num_steps=2),
            **options,
        )
        return network.get_weights()

    def kill(epoch, metrics):
        if epoch == 2:
            raise _KilledError

    whole = fit()
    with pytest.raises(_KilledError):
        fit(directory=tmp_path, hook=kill)
    for one, other in zip(whole, fit(directory=tmp_path), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_step_is_compiled_once(monkeypatch):
    data = datasets.load("synthetic", train_size=96, test_size=16)
    network = models.build("convnet", data.info, width=0.5)
    traced = []
    network.call, call = (
        lambda *a, **k: traced.append(k.get("training")) or call(*a, **k),
        network.call,
    )
    training.fit_classifier(
        network,
        data,
        epochs=2,
        recipe=Recipe(batch_size=16),
        adversary=AdversarialTraining("pgd_at", epsilon=0.1, num_steps=3),
    )
    assert len(traced) <= 3, traced


@pytest.mark.slow
def test_adversarial_training_raises_robust_accuracy():
    data = datasets.load("digits")
    attack = attacks.bind("pgd", epsilon=0.1, num_steps=10, step_size=0.025)
    robust = {}
    for name in ("plain", "pgd_at", "trades"):
        network = models.build("convnet", data.info, seed=0)
        training.fit_classifier(
            network,
            data,
            epochs=12,
            recipe=Recipe(batch_size=32),
            adversary=None
            if name == "plain"
            else AdversarialTraining(name, epsilon=0.1, num_steps=4),
        )
        result = evaluation.evaluate_attack(network, data.evaluation_batches("test", 360), attack)
        robust[name] = result.robust_accuracy.value
        assert result.test_accuracy.value > 90, name
    assert robust["pgd_at"] > robust["plain"] + 10, robust
    assert robust["trades"] > robust["plain"] + 10, robust


def _run(tmp_path, name, epochs, previous=None, **adversary):
    examples = Examples(uri=str(tmp_path / "examples"))
    if not examples.path.exists():
        examples.path.mkdir()
        source = datasets.load("synthetic").compute_source_digest()
        ExampleGen.fn(examples, dataset="synthetic", source=source)
    held = [kind(uri=str(tmp_path / f"{name}-{kind.__name__}")) for kind in (Model, ModelRun)]
    state = tmp_path / f"{name}-state"
    for path in (*(each.path for each in held), state):
        path.mkdir()
    RobustTrainer.fn(
        examples,
        *held,
        state,
        previous,
        model_name="convnet",
        model_options={"width": 0.5},
        recipe={"batch_size": 64},
        epochs=epochs,
        seed=3,
        row_parameters={"train_size": 256},
        adversary={"epsilon": 0.1, "num_steps": 1, **adversary},
    )
    return held


def test_rows_of_the_component_record_the_adversary_and_epochs_chain(tmp_path, monkeypatch):
    # A SavedModel takes seconds to export, and is no matter here.
    monkeypatch.setattr(artifacts, "save_classifier", artifacts.save_unexported_classifier)
    whole, _ = _run(tmp_path, "whole", 2, method="trades", beta=2.0)
    _, run = _run(tmp_path, "first", 1, method="trades", beta=2.0)
    then, _ = _run(tmp_path, "then", 2, run, method="trades", beta=2.0)
    assert then.get_identity() == whole.get_identity()
    subject = artifacts.load_model_info(whole.path)
    assert subject.parameters == {
        "train_size": 256,
        "method": "trades",
        "adversary_beta": 2.0,
        "adversary_epsilon": 0.1,
        "adversary_num_steps": 1,
        "adversary_step_size": 0.25,
    }
    assert (subject.epochs, subject.seed) == (2, 3)


@pytest.mark.parametrize(
    "options,words",
    [
        ({"method": "trade"}, "Did you mean 'trades'"),
        ({"epsilon": 0}, "epsilon must be a finite number above 0"),
        ({"num_steps": 0}, "num_steps must be a finite number of at least 1"),
        ({"step_size": -0.1}, "step_size must be"),
        ({"beta": float("nan")}, "beta must be"),
    ],
)
def test_options_out_of_range_are_reported(options, words):
    with pytest.raises(InputError, match=words):
        AdversarialTraining(**{"method": "pgd_at", "epsilon": 0.1, **options})


def test_the_papers_training_depends_on_no_adversary():
    parameters = {"model_name": "convnet"}
    plain, robust = (
        {module for module, _ in pipelines_run.CODE.list_reached(component.fn, parameters)}
        for component in (Trainer, RobustTrainer)
    )
    assert not [name for name in plain if name.startswith("qup.attacks")]
    assert "qup.training.adversarial" in robust - plain
    assert "qup.attacks.pgd" not in robust
