"""Attacks: conformance over every name, closed forms, cleverhans."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from cleverhans.tf2.attacks import (
    fast_gradient_method,
    projected_gradient_descent,
)

from qup import attacks, draws, norms
from qup.attacks import losses
from qup.errors import InputError

_EPSILON = 0.1


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((9, 6, 2)),
            keras.layers.Conv2D(6, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(5),
        ]
    )


@pytest.fixture(scope="module")
def batch(classifier):
    images = tf.random.stateless_uniform((17, 9, 6, 2), (1, 2))
    return images, tf.argmax(classifier(images), -1, tf.int32)


def _linear(shape, classes=3):
    """Logits W x of images of any shape, and float64 [size, classes]."""
    size = int(np.prod(shape))
    weights = np.random.default_rng(0).normal(size=(size, classes))

    def logits_fn(images):
        flat = tf.reshape(images, (-1, size))
        return flat @ tf.constant(weights, tf.float32)

    return logits_fn, weights


def _pairs(option=None, **wanted):
    """Every (attack, norm) that takes the option and has the traits."""
    return [
        (name, norm)
        for name in attacks.names()
        for norm in attacks.traits(name)["norms"]
        if option is None
        or option in inspect.signature(attacks.get(name)).parameters
        if wanted.items() <= attacks.traits(name).items()
    ]


class TestConformance:
    @pytest.mark.parametrize("name,norm", _pairs(kind="budget"))
    def test_stays_inside_box_and_ball(self, name, norm, classifier, batch):
        images, labels = batch
        attack = attacks.get(name)
        moved = attack(classifier, images, labels, epsilon=_EPSILON, norm=norm)
        assert moved.shape == images.shape and moved.dtype == tf.float32
        assert np.isfinite(moved).all()
        assert np.min(moved) >= 0 and np.max(moved) <= 1
        delta = np.reshape(moved - images, (17, -1))
        order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
        length = np.linalg.norm(delta, order, axis=1)
        assert (length <= _EPSILON * (1 + 1e-5)).all() and (length > 0).all()

    @pytest.mark.parametrize("name,norm", _pairs(kind="budget", gradients=True))
    def test_raises_the_loss(self, name, norm, classifier, batch):
        images, labels = batch
        attack = attacks.get(name)
        moved = attack(classifier, images, labels, epsilon=_EPSILON, norm=norm)
        before = losses.cross_entropy(classifier(images), labels)
        after = losses.cross_entropy(classifier(moved), labels)
        assert (after > before).numpy().all()

    @pytest.mark.parametrize("name,norm", _pairs("targeted"))
    def test_targeted_lowers_the_loss_of_the_target(
        self, name, norm, classifier, batch
    ):
        images, labels = batch
        targets = (labels + 1) % 5
        moved = attacks.get(name)(
            classifier, images, targets, epsilon=_EPSILON, norm=norm,
            targeted=True,
        )  # fmt: skip
        before = losses.cross_entropy(classifier(images), targets)
        after = losses.cross_entropy(classifier(moved), targets)
        assert (after < before).numpy().all()

    @pytest.mark.parametrize("name,norm", _pairs())
    def test_does_not_depend_on_batching(self, name, norm, classifier, batch):
        images, labels = batch
        ids = tf.range(17, dtype=tf.int64) + 100
        options = {"epsilon": _EPSILON, "norm": norm}
        if name == "pgd":
            options |= {"random_start": True, "restarts": 2, "seed": 3}
        attack = attacks.bind(name, **options)
        whole = attack(classifier, images, labels, ids=ids)
        order = np.random.default_rng(0).permutation(17)
        mixed = attack(
            classifier,
            tf.gather(images, order),
            tf.gather(labels, order),
            ids=tf.gather(ids, order),
        )
        np.testing.assert_allclose(mixed, tf.gather(whole, order), atol=1e-5)

    @pytest.mark.parametrize("name,norm", _pairs("xla"))
    def test_xla_agrees_in_loss(self, name, norm, classifier, batch):
        images, labels = batch
        ends = [
            attacks.get(name)(
                classifier, images, labels, epsilon=_EPSILON, norm=norm,
                xla=xla,
            )
            for xla in ("on", "off")
        ]  # fmt: skip
        values = [losses.cross_entropy(classifier(end), labels) for end in ends]
        np.testing.assert_allclose(*values, rtol=1e-2)

    @pytest.mark.parametrize("name,norm", _pairs())
    def test_a_sweep_over_epsilon_traces_once(self, name, norm, batch):
        images, labels = batch
        traces = []

        def logits_fn(inputs):
            traces.append(inputs.shape)
            return tf.reduce_sum(inputs, [1, 2])

        labels = labels % 2
        attack = attacks.get(name)
        attack(logits_fn, images, labels, epsilon=0.1, norm=norm)
        first = len(traces)
        for epsilon in (0.2, 0.3, 0.05):
            attack(logits_fn, images, labels, epsilon=epsilon, norm=norm)
        assert len(traces) == first

    @pytest.mark.parametrize("epsilon", [-0.1, float("nan"), "big"])
    @pytest.mark.parametrize("name,norm", _pairs())
    def test_bad_epsilon(self, name, norm, epsilon, classifier, batch):
        with pytest.raises(InputError, match="epsilon must be"):
            attacks.get(name)(classifier, *batch, epsilon=epsilon, norm=norm)


@pytest.mark.parametrize("shape", [(8,), (4, 6), (5, 7, 3)])
@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_linear_model_gives_the_dual_norm_optimum(name, shape):
    logits_fn, weights = _linear(shape, classes=2)
    images = tf.random.stateless_uniform((3, *shape), (5, 6))
    labels = tf.constant([0, 1, 0])
    slope = (weights[:, 1] - weights[:, 0])[None] * [[1], [-1], [1]]
    best = {
        "linf": np.sign(slope),
        "l2": slope / np.linalg.norm(slope, axis=1, keepdims=True),
    }
    for norm, direction in best.items():
        # Cross-entropy would round p_y to 1 on such wide logits.
        moved = attacks.get(name)(
            logits_fn, images, labels, epsilon=0.3, norm=norm, bounds=None,
            loss="log_odds",
        )  # fmt: skip
        delta = np.reshape(moved - images, (3, -1))
        np.testing.assert_allclose(delta, 0.3 * direction, atol=1e-5)


@pytest.mark.parametrize("norm,order", [("linf", np.inf), ("l2", 2)])
def test_equals_cleverhans(norm, order, classifier, batch):
    images, labels = batch
    tolerance = 0.0 if norm == "linf" else 2e-7
    box = {"clip_min": 0.0, "clip_max": 1.0}
    ours = attacks.get("fgsm")(
        classifier, images, labels, epsilon=_EPSILON, norm=norm, xla="off"
    )
    theirs = fast_gradient_method.fast_gradient_method(
        classifier, images, _EPSILON, order, y=labels, **box
    )
    assert np.abs(ours - theirs).max() <= tolerance
    ours = attacks.get("pgd")(
        classifier, images, labels, epsilon=_EPSILON, num_steps=10,
        step_size=0.03, norm=norm, xla="off",
    )  # fmt: skip
    theirs = projected_gradient_descent.projected_gradient_descent(
        classifier, images, _EPSILON, 0.03, 10, order, y=labels,
        rand_init=False, sanity_checks=False, **box,
    )  # fmt: skip
    assert np.abs(ours - theirs).max() <= tolerance


def test_log_odds_keeps_the_gradient_where_cross_entropy_loses_it():
    logits = tf.constant([[130.0, 0.0, 3.0]])
    labels = tf.constant([0])
    for loss, alive in ((losses.log_odds, True), (losses.cross_entropy, False)):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(logits, labels)
        assert (np.abs(tape.gradient(value, logits)).max() > 0) == alive


def test_log_odds_is_cross_entropy_before_softplus():
    logits = tf.random.stateless_normal((20, 4), (1, 1))
    labels = tf.range(20) % 4
    np.testing.assert_allclose(
        tf.nn.softplus(losses.log_odds(logits, labels)),
        losses.cross_entropy(logits, labels),
        rtol=1e-5,
    )


@pytest.mark.parametrize("norm", norms.NAMES)
def test_random_points_fill_the_ball(norm):
    like = tf.zeros((4000, 3))
    ids = tf.range(4000, dtype=tf.int64)
    rows = draws.keys(1, ids)
    points = norms.sample(like, tf.constant(0.5), norm, rows).numpy()
    order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
    radius = np.linalg.norm(points, order, axis=1) / 0.5
    assert radius.max() <= 1 + 1e-6
    # Uniform in a ball of dimension 3: P(radius < r) = r^3.
    assert abs(np.mean(radius < 0.5) - 0.125) < 0.03
    assert np.abs(points.mean(0)).max() < 0.02


def test_more_restarts_never_lower_the_loss(classifier, batch):
    images, labels = batch
    values = []
    for restarts in (1, 4):
        moved = attacks.get("pgd")(
            classifier, images, labels, epsilon=0.05, restarts=restarts,
            random_start=True, num_steps=2,
        )  # fmt: skip
        wrong = tf.argmax(classifier(moved), -1, tf.int32) != labels
        values.append(np.sum(wrong))
    assert values[1] >= values[0]


@pytest.mark.parametrize(
    "change,message",
    [
        ({"images": np.full((17, 9, 6, 2), np.nan, np.float32)}, "NaN"),
        ({"images": np.full((17, 9, 6, 2), 255.0, np.float32)}, "outside"),
        ({"images": np.zeros((17, 9, 6, 2), np.uint8)}, "floating point"),
        ({"labels": np.zeros((17, 5), np.int32)}, "one an image"),
        ({"labels": np.full(17, -1)}, "negative"),
    ],
)
def test_bad_batches_are_told_in_words(change, message, classifier, batch):
    given = {"images": batch[0], "labels": batch[1]} | change
    with pytest.raises(InputError, match=message):
        attacks.get("pgd")(classifier, **given, epsilon=0.1)


def test_unknown_words_name_the_nearest(classifier, batch):
    with pytest.raises(InputError, match="Did you mean 'pgd'"):
        attacks.get("pdg")
    with pytest.raises(InputError, match="Did you mean 'num_steps'"):
        attacks.bind("pgd", num_step=3)
    with pytest.raises(InputError, match="linf"):
        attacks.get("pgd")(classifier, *batch, epsilon=0.1, norm="inf")
    with pytest.raises(InputError, match="random_start"):
        attacks.get("pgd")(classifier, *batch, epsilon=0.1, restarts=2)
