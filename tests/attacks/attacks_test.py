"""Attacks: cleverhans, losses, words."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.attacks import losses
from qup.core import norms, prng
from qup.core.errors import InputError

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


@pytest.mark.parametrize(
    "name,norm,options",
    [
        *(("fgsm", norm, {}) for norm in ("linf", "l2")),
        # The step in L1 stays inside the box, that of cleverhans does not.
        ("fgsm", "l1", {"bounds": None}),
        *(
            (name, norm, {"num_steps": 10, "step_size": 0.03})
            for name in ("pgd4", "momentum")
            for norm in ("linf", "l2")
        ),
    ],
)
def test_equals_cleverhans(name, norm, options, classifier, batch):
    arguments = (classifier, *batch)
    options = {"epsilon": _EPSILON, "norm": norm, **options}
    ours = attacks.get(name)(*arguments, xla="off", **options)
    theirs = attacks.get(f"cleverhans_{name.removesuffix('4')}")(*arguments, **options)
    # In L-inf to the last bit.
    tolerance = 0.0 if norm == "linf" else 5e-7
    assert np.abs(ours - theirs).max() <= tolerance
    assert np.abs(ours - batch[0]).max() > 0


def test_margin_and_dlr_do_not_see_the_scale_of_logits():
    logits = tf.random.stateless_normal((20, 4), (1, 1))
    labels = tf.range(20) % 4
    margin = losses.margin(logits, labels).numpy()
    others = logits.numpy().copy()
    own = others[np.arange(20), labels]
    others[np.arange(20), labels] = -np.inf
    np.testing.assert_allclose(margin, others.max(1) - own, rtol=1e-6)
    np.testing.assert_allclose(losses.margin(50 * logits, labels), 50 * margin, rtol=1e-5)
    np.testing.assert_allclose(
        losses.dlr(50 * logits + 3, labels), losses.dlr(logits, labels), rtol=1e-4
    )
    falling = np.sort(logits, 1)[:, ::-1]
    np.testing.assert_allclose(
        losses.dlr(logits, labels), margin / (falling[:, 0] - falling[:, 2]), rtol=1e-5
    )


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
    rows = prng.make_keys(1, ids)
    points = norms.sample(like, tf.constant(0.5), norm, rows).numpy()
    order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
    radius = np.linalg.norm(points, order, axis=1) / 0.5
    assert radius.max() <= 1 + 1e-6
    # Uniform in a ball of dimension 3: P(radius < r) = r^3.
    assert abs(np.mean(radius < 0.5) - 0.125) < 0.03
    assert np.abs(points.mean(0)).max() < 0.02


def test_l0_counts_no_rounding():
    delta = tf.constant([[0.0, 1e-9, -9e-7, 2e-6, -0.5], [1e-7, 0.0, 0.0, 0.0, 0.0]])
    assert norms.compute_norm(delta, "l0").numpy().tolist() == [2, 0]
    assert norms.compute_norm(255 * delta, "l0", width=255.0).numpy().tolist() == [2, 0]
    assert norms.compute_norm(delta, "l0", width=0.0).numpy().tolist() == [4, 1]


def test_fill_steepest_uses_the_room_of_the_steepest_elements():
    gradient = tf.constant([[3.0, -2.0, 0.0, 1.0, 1.0]] * 3)
    room = tf.constant([[0.25, 0.5, 1.0, 0.5, 0.5]] * 3)
    epsilon = tf.constant([[0.1], [1.0], [9.0]])
    step = norms.fill_steepest(gradient, epsilon, room)
    expected = [[0.1, 0, 0, 0, 0], [0.25, -0.5, 0, 0.25, 0], [0.25, -0.5, 0, 0.5, 0.5]]
    np.testing.assert_allclose(step, expected, atol=1e-6)
    unlimited = norms.fill_steepest(gradient, epsilon, tf.fill(room.shape, float("inf")))
    np.testing.assert_allclose(unlimited, [[e, 0, 0, 0, 0] for e in (0.1, 1, 9)], atol=1e-6)


def test_more_restarts_never_lower_the_loss(classifier, batch):
    images, labels = batch
    values = []
    for restarts in (1, 4):
        moved = attacks.get("pgd")(
            classifier,
            images,
            labels,
            epsilon=0.05,
            restarts=restarts,
            random_start=True,
            num_steps=2,
        )
        wrong = tf.argmax(classifier(moved), -1, tf.int32) != labels
        values.append(np.sum(wrong))
    assert values[1] >= values[0]


@pytest.mark.parametrize(
    "change,message",
    [
        ({"images": np.full((17, 9, 6, 2), np.nan, np.float32)}, "NaN"),
        ({"images": np.full((17, 9, 6, 2), 255.0, np.float32)}, "outside"),
        ({"images": np.zeros((17, 9, 6, 2), np.int32)}, "floating point or uint8"),
        ({"images": np.ones((17, 9, 6, 2), np.uint8)}, "0 and 1 alone"),
        ({"labels": np.zeros((17, 5), np.int32)}, "one per image"),
        ({"labels": np.full(17, -1)}, "negative"),
    ],
)
def test_refuses_invalid_batches(change, message, classifier, batch):
    arguments = {"images": batch[0], "labels": batch[1]} | change
    with pytest.raises(InputError, match=message):
        attacks.get("pgd")(classifier, **arguments, epsilon=0.1)


def test_unknown_names_suggest_the_closest(classifier, batch):
    with pytest.raises(InputError, match="Did you mean 'pgd'"):
        attacks.get("pgdd")
    with pytest.raises(InputError, match="Did you mean 'num_steps'"):
        attacks.bind("pgd", num_step=3)
    with pytest.raises(InputError, match="linf"):
        attacks.get("pgd")(classifier, *batch, epsilon=0.1, norm="inf")
    with pytest.raises(InputError, match="random_start"):
        attacks.get("pgd")(classifier, *batch, epsilon=0.1, restarts=2, random_start=False)
