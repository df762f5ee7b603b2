"""MART, Free and Fast against references in NumPy; balls, warm-up and options of every method."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.core.errors import InputError
from qup.training import adversarial
from qup.training.adversarial import AdversarialTraining, FreeTraining, build_adversary
from qup.training.classifier import ClassifierLearner, check_replica_calls
from qup.training.precision import MixedPrecisionCall


def _build_linear(seed=0):
    """Logits W x of 2x2 images, and W, float64 [4, 3]."""
    image = keras.Input((2, 2, 1))
    layer = keras.layers.Dense(3, use_bias=False)
    model = keras.Model(image, layer(keras.layers.Flatten()(image)))
    weights = np.random.default_rng(seed).normal(size=(4, 3))
    layer.kernel.assign(weights)
    return model, weights


def _build_batch(count=6):
    random = np.random.default_rng(1)
    return {
        "image": tf.constant(random.uniform(0.3, 0.7, (count, 2, 2, 1)), tf.float32),
        "label": tf.constant(random.integers(0, 3, count), tf.int32),
        "id": tf.range(count, dtype=tf.int64) + 7,
    }


def _softmax(logits):
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def _compute_mart(logits, perturbed_logits, labels, weight):
    """MART, Eq. 8 to 11, in float64."""
    clean, perturbed = _softmax(logits), _softmax(perturbed_logits)
    rows = np.arange(len(labels))
    rivals = perturbed.copy()
    rivals[rows, labels] = 0
    boosted = -np.log(perturbed[rows, labels]) - np.log(1 - rivals.max(-1))
    divergence = (clean * np.log(clean / perturbed)).sum(-1)
    return boosted + weight * divergence * (1 - clean[rows, labels])


def test_mart_is_that_of_the_paper_with_its_gradient():
    model, weights = _build_linear()
    batch = _build_batch()
    images, labels = batch["image"], batch["label"].numpy()
    perturbed = images + 0.07

    def compute(kernel):
        clean, moved = (
            np.float64(x).reshape(len(labels), -1) @ kernel for x in (images, perturbed)
        )
        return _compute_mart(clean, moved, labels, 3.0)

    adversary = AdversarialTraining("mart", epsilon=0.1, beta=3.0)
    with tf.GradientTape() as tape:
        losses, logits = adversary.loss(model, images, batch["label"], perturbed)
        total = tf.reduce_sum(losses)
    np.testing.assert_allclose(losses, compute(weights), rtol=1e-5)
    np.testing.assert_array_equal(logits, model(images))
    (gradient,) = tape.gradient(total, model.trainable_variables)
    for index in np.ndindex(weights.shape):
        step = np.zeros_like(weights)
        step[index] = 1e-6
        slope = (compute(weights + step) - compute(weights - step)).sum() / 2e-6
        assert gradient.numpy()[index] == pytest.approx(slope, rel=1e-3, abs=1e-5)


def test_the_weight_of_mart_is_5_and_that_of_trades_6():
    assert AdversarialTraining("mart", epsilon=0.1).beta == 5
    assert AdversarialTraining("trades", epsilon=0.1).beta == 6


def test_mart_is_finite_for_a_certain_mistake():
    logits = tf.constant([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = adversarial._boosted_cross_entropy(logits, tf.constant([1, 1]))
    assert np.isfinite(losses).all() and losses[0] > 1e4 and losses[1] == 0
    assert np.isfinite(tape.gradient(losses, logits)).all()


def test_mart_and_fast_start_as_pgd_at():
    model, _ = _build_linear()
    batch = _build_batch()
    step = tf.constant(2)
    perturbed = {
        name: AdversarialTraining(name, epsilon=0.1, num_steps=1, step_size=0.125, seed=3).perturb(
            model, batch["image"], batch, step
        )
        for name in ("pgd_at", "mart", "fast")
    }
    np.testing.assert_array_equal(perturbed["mart"], perturbed["pgd_at"])
    np.testing.assert_array_equal(perturbed["fast"], perturbed["pgd_at"])


def test_fast_takes_one_step_of_five_quarters():
    model, weights = _build_linear()
    batch = _build_batch()
    images, labels = batch["image"].numpy().reshape(-1, 4), batch["label"].numpy()
    adversary = AdversarialTraining("fast", epsilon=0.1)
    assert adversary.effective_step_size == pytest.approx(0.125) and adversary.num_steps == 1
    step = tf.constant(0)
    start = AdversarialTraining("fast", epsilon=0.1, step_size=1e-9).perturb(
        model, batch["image"], batch, step
    )
    start = start.numpy().reshape(-1, 4)
    error = _softmax(start @ weights) - np.eye(3)[labels]
    moved = start + 0.125 * np.sign(error @ weights.T)
    expected = images + np.clip(moved - images, -0.1, 0.1)
    result = adversary.perturb(model, batch["image"], batch, step).numpy().reshape(-1, 4)
    np.testing.assert_allclose(result, expected, atol=1e-6)
    # A single step from a random start reaches a face, not always a corner.
    assert 0 < (np.abs(result - images) < 0.1 - 1e-4).sum() < result.size


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_free_is_algorithm_1(norm):
    model, weights = _build_linear()
    batch = _build_batch()
    images, labels = batch["image"].numpy().reshape(-1, 4).astype(float), batch["label"].numpy()
    adversary = FreeTraining(0.1, num_replays=2, norm=norm)
    adversary.build(batch["image"].shape)
    learner = ClassifierLearner(model, model, keras.optimizers.SGD(0.5), adversary)
    delta = np.zeros_like(images)
    for _ in range(4):
        moved = images + delta
        error = (_softmax(moved @ weights) - np.eye(3)[labels]) / len(labels)
        image_gradient = error @ weights.T
        # The gradients of the weights and of the images are those of one pass.
        weights = weights - 0.5 * moved.T @ error
        if norm == "linf":
            delta = np.clip(delta + 0.1 * np.sign(image_gradient), -0.1, 0.1)
        else:
            delta = delta + 0.1 * image_gradient / np.linalg.norm(image_gradient, axis=1)[:, None]
            length = np.linalg.norm(delta, axis=1, keepdims=True)
            delta = delta * np.minimum(1, 0.1 / length)
        learner.train_step(batch)
        np.testing.assert_allclose(model.get_weights()[0], weights, atol=1e-5)
        np.testing.assert_allclose(
            adversary.variables["delta"].numpy().reshape(-1, 4), delta, atol=1e-5
        )


def test_l2_equals_the_pgd_attack():
    model, _ = _build_linear()
    batch = _build_batch()
    options = {"epsilon": 0.2, "num_steps": 3, "step_size": 0.05, "norm": "l2", "seed": 4}
    adversary = AdversarialTraining("pgd_at", **options)
    expected = attacks.get("pgd")(
        model, batch["image"], batch["label"], ids=batch["id"], random_start=True, **options
    )
    perturbed = adversary.perturb(model, batch["image"], batch, tf.constant(0))
    np.testing.assert_allclose(perturbed, expected, atol=1e-6)
    assert adversary.describe()["adversary_norm"] == "l2"


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("method", ["pgd_at", "trades", "mart", "fast"])
def test_images_stay_in_the_ball_and_in_the_box(method, norm):
    model, _ = _build_linear()
    batch = _build_batch()
    batch["image"] = tf.round(batch["image"])  # At the ends of the box.
    adversary = build_adversary(method, epsilon=0.15, norm=norm)
    perturbed = adversary.perturb(model, batch["image"], batch, tf.constant(1)).numpy()
    assert perturbed.min() >= 0 and perturbed.max() <= 1
    delta = (perturbed - batch["image"].numpy()).reshape(len(perturbed), -1)
    order = np.inf if norm == "linf" else 2
    assert 0.01 < np.linalg.norm(delta, order, axis=1).max() <= 0.15 + 1e-6


@pytest.mark.parametrize("method", ["pgd_at", "trades", "mart", "free", "fast"])
def test_epsilon_grows_in_the_warmup(method):
    model, _ = _build_linear()
    batch = _build_batch()
    adversary = build_adversary(method, epsilon=0.1, warmup_steps=10, num_replays=None)
    adversary.build(batch["image"].shape)
    largest = []
    for step in (0, 4, 9, 30):
        perturbed = adversary.perturb(model, batch["image"], batch, tf.constant(step))
        if method == "free":
            adversary.update(tf.ones_like(perturbed))
            perturbed = adversary.perturb(model, batch["image"], batch, tf.constant(step))
        largest.append(float(tf.reduce_max(tf.abs(perturbed - batch["image"]))))
    np.testing.assert_allclose(largest, [0.01, 0.05, 0.1, 0.1], atol=5e-3)


def test_the_inner_maximisation_does_not_change_batch_statistics():
    image = keras.Input((2, 2, 1))
    tensor = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(image))
    model = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(tensor)))
    batch = _build_batch()
    for method in ("pgd_at", "trades"):
        before = [variable.numpy() for variable in model.variables]
        adversary = build_adversary(method, epsilon=0.1)
        perturbed = adversary.perturb(model, batch["image"], batch, tf.constant(0))
        for old, variable in zip(before, model.variables, strict=True):
            np.testing.assert_array_equal(old, variable)
        adversary.loss(model, batch["image"], batch["label"], perturbed)
        assert any(np.any(a != b) for a, b in zip(before, model.variables, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "pgdat"}, "Did you mean 'pgd_at'"),
        ({"method": "fast", "num_steps": 3}, "fast has no option num_steps; got 3. It belongs to"),
        ({"method": "pgd_at", "beta": 2.0}, "belongs to trades, mart"),
        ({"method": "pgd_at", "num_replays": 4}, "belongs to free"),
        ({"method": "free", "num_replays": 0}, "num_replays must be"),
        ({"method": "free", "epsilon": 0}, "epsilon must be a finite number above 0"),
        ({"method": "mart", "epsilon": None}, "mart needs epsilon"),
        ({"method": "mart", "epsilon": 8}, "Divide by 255"),
        ({"method": "trades", "norm": "l1"}, "Known: l2, linf"),
        ({"method": "trades", "warmup_steps": -1}, "warmup_steps must be"),
        ({"method": "standard", "num_steps": 3}, "standard has no option num_steps"),
    ],
)
def test_options_that_a_method_does_not_have_are_refused(options, message):
    with pytest.raises(InputError, match=message) as caught:
        build_adversary(**{"epsilon": 0.1, **options})
    assert "\n" not in str(caught.value)


def _build_network(*, has_norm, activation=None):
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten()]
    layers += [keras.layers.BatchNormalization()] * has_norm
    return keras.Sequential([*layers, keras.layers.Dense(3, activation=activation)])


@pytest.mark.parametrize(
    ("has_norm", "activation", "is_mixed", "num_workers", "message"),
    [
        (True, "softmax", False, 1, "Let the model end in logits"),
        (True, None, True, 1, "Train in float32"),
        (True, None, False, 1, None),
        (False, "softmax", False, 1, None),
        # One replica per process.
        (True, "softmax", True, 2, None),
    ],
)
def test_replicas_of_one_process_do_not_wait_for_each_others_lock(
    has_norm, activation, is_mixed, num_workers, message
):
    model = _build_network(has_norm=has_norm, activation=activation)
    call = MixedPrecisionCall(model, model, "mixed_bfloat16") if is_mixed else model
    group = types.SimpleNamespace(num_replicas=2, num_workers=num_workers)
    if message is None:
        check_replica_calls(model, call, group)
        return
    with pytest.raises(InputError, match=f"has batch normalisation.*{message}.*train-worker"):
        check_replica_calls(model, call, group)
