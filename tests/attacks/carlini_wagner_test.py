"""Carlini-Wagner and EAD: exact distances, naive loops, constants."""

import math

import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.attacks import engine, stages
from qup.attacks import inputs as attacks_inputs
from qup.attacks.batch_sizes import BatchSizes
from qup.attacks.method import Examples
from qup.core.classifier import inspect_classifier

_DISTANCES = np.float32([0.1, 0.15, 0.2, 0.3])


def _run(name, logits_fn, images, labels, **options):
    count = len(labels)
    examples = attacks_inputs.ExampleBatch(
        images, np.asarray(labels, np.int32), np.arange(count), np.full(count, np.nan, np.float32)
    )
    return stages.run_stages(
        attacks.build_method(name, **options),
        stages.ClassifierPair(logits_fn, logits_fn),
        examples,
        sizes=BatchSizes(count),
    )


def _linear(shape, seed=0, scale=1.0):
    """Two classes, and images whose L2 distances are `_DISTANCES`.

    Returns:
      (logits_fn, weights, images, labels): half the images on either side.
    """
    size = math.prod(shape)
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=size).astype(np.float32) * scale
    unit = weights / np.linalg.norm(weights)
    noise = rng.uniform(-0.05, 0.05, (4, size)).astype(np.float32)
    noise -= (noise @ unit)[:, None] * unit
    sides = np.float32([1, -1, 1, -1])
    images = 0.5 + noise + (sides * _DISTANCES)[:, None] * unit

    def logits_fn(inputs):
        score = tf.linalg.matvec(tf.reshape(inputs, (-1, size)) - 0.5, weights)
        return tf.stack([score, tf.zeros_like(score)], 1)

    labels = np.where(sides > 0, 0, 1)
    return logits_fn, weights, images.reshape(4, *shape), labels


def _corners(images):
    """Four classes; the logits are the first four elements."""
    return images[:, :4]


@pytest.mark.parametrize(
    "shape,bounds", [((8,), (0, 1)), ((4, 6), None), ((5, 7, 3), (0, 1)), ((5, 7, 3), None)]
)
def test_l2_distance_of_a_linear_model(shape, bounds):
    logits_fn, _, images, labels = _linear(shape)
    result = _run(
        "carlini_wagner",
        logits_fn,
        images,
        labels,
        bounds=bounds,
        num_steps=150,
        search_steps=6,
        initial_constant=0.01,
    )
    assert result.success.all()
    ratio = result.distances["l2"] / _DISTANCES
    assert (ratio >= 1 - 1e-4).all() and (ratio <= 1.05).all()


@pytest.mark.parametrize("rule,factor", [("elastic_net", 1.7), ("l1", 1.3)])
def test_l1_distance_of_a_linear_model(rule, factor):
    logits_fn, weights, images, labels = _linear((5, 7, 3))
    result = _run(
        "elastic_net", logits_fn, images, labels, decision_rule=rule, num_steps=100, beta=1e-2
    )
    exact = _DISTANCES * np.linalg.norm(weights) / np.abs(weights).max()
    ratio = result.distances["l1"] / exact
    assert result.success.all()
    assert (ratio >= 1 - 1e-4).all() and (ratio <= factor).all()
    # Carlini and Wagner's attack moves all 105 elements.
    assert (result.distances["l0"] <= 40).all()


def _naive_carlini_wagner(weights, image, sign, settings):
    """The definition, one image of a model w (x - .5), in float64."""
    steps, searches, rate, constant = settings
    start = np.arctanh(0.999999 * (2 * image - 1))
    origin = (np.tanh(start) + 1) / 2
    best, found_image = np.inf, image
    lower, upper = 0.0, 1e10
    for _ in range(searches):
        variable, first, second = start, 0.0, 0.0
        before, result = np.inf, False
        for step in range(steps):
            adversarial = (np.tanh(variable) + 1) / 2
            miss = sign * weights @ (adversarial - 0.5)
            distances = np.sum((adversarial - origin) ** 2)
            if miss < 0:
                result = True
                if distances < best:
                    best, found_image = distances, adversarial
            loss = distances + constant * max(miss, 0)
            if step % (steps // 10) == 0:
                if loss > 0.9999 * before:
                    break
                before = loss
            gradient = 2 * (adversarial - origin) + constant * sign * weights * (miss >= 0)
            gradient = gradient * (1 - np.tanh(variable) ** 2) / 2
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            unbiased = second / (1 - 0.999 ** (step + 1))
            move = first / (1 - 0.9 ** (step + 1))
            variable = variable - rate * move / (np.sqrt(unbiased) + 1e-8)
        lower, upper, constant = _naive_constant(lower, upper, constant, result)
    return found_image


def _naive_constant(lower, upper, constant, found):
    if found:
        upper = min(upper, constant)
    else:
        lower = max(lower, constant)
    if upper < 1e9:
        return lower, upper, (lower + upper) / 2
    return lower, upper, min(constant * 10, 1e10)


@pytest.mark.parametrize("steps", [20, 45])
def test_carlini_wagner_follows_the_definition(steps):
    logits_fn, weights, images, labels = _linear((12,), seed=3)
    settings = steps, 5, 0.02, 0.01
    adversarial = attacks.get("carlini_wagner")(
        logits_fn,
        images,
        labels,
        num_steps=steps,
        search_steps=5,
        learning_rate=0.02,
        initial_constant=0.01,
    )
    for i, label in enumerate(labels):
        expected = _naive_carlini_wagner(
            weights.astype(float), images[i].astype(float), 1 - 2 * label, settings
        )
        assert (expected != images[i]).any()
        np.testing.assert_allclose(adversarial[i], expected, atol=1e-4)


def _naive_elastic_net(weights, image, sign, settings):
    """The definition, one image of a model w (x - .5), in float64."""
    steps, searches, rate, constant, beta = settings
    best, found_image = np.inf, image
    lower, upper = 0.0, 1e10
    for _ in range(searches):
        point, ahead, result = image, image, False
        for step in range(steps):
            gradient = 2 * (ahead - image) + constant * sign * weights * (
                sign * weights @ (ahead - 0.5) >= 0
            )
            adversarial = ahead - rate * math.sqrt(1 - step / steps) * gradient
            new = np.where(adversarial - image > beta, np.minimum(adversarial - beta, 1), image)
            new = np.where(adversarial - image < -beta, np.maximum(adversarial + beta, 0), new)
            ahead = new + step / (step + 3) * (new - point)
            point = new
            distances = beta * np.sum(np.abs(point - image))
            distances += np.sum((point - image) ** 2)
            if sign * weights @ (point - 0.5) < 0:
                result = True
                if distances < best:
                    best, found_image = distances, point
        lower, upper, constant = _naive_constant(lower, upper, constant, result)
    return found_image


def test_elastic_net_follows_the_definition():
    logits_fn, weights, images, labels = _linear((12,), seed=4)
    settings = 40, 4, 0.02, 0.1, 5e-3
    adversarial = attacks.get("elastic_net")(
        logits_fn,
        images,
        labels,
        num_steps=40,
        search_steps=4,
        learning_rate=0.02,
        initial_constant=0.1,
        beta=5e-3,
        abort_early=False,
    )
    for i, label in enumerate(labels):
        expected = _naive_elastic_net(
            weights.astype(float), images[i].astype(float), 1 - 2 * label, settings
        )
        assert (expected != images[i]).any()
        np.testing.assert_allclose(adversarial[i], expected, atol=1e-4)


@pytest.mark.parametrize("search_steps", [6, 12])
def test_constants_are_searched_row_by_row(search_steps):
    result = np.random.default_rng(2).random((search_steps, 64)) < 0.3
    method = attacks.build_method("carlini_wagner", search_steps=search_steps)
    zeros = tf.zeros(64)
    state = {
        "constant": zeros + 1e-3,
        "lower": zeros,
        "upper": zeros + 1e10,
        "search": tf.zeros(64, tf.int32),
    }
    images = tf.zeros((64, 2))
    examples = Examples(images, tf.zeros(64, tf.int32), None, zeros, 0)
    naive = [(0.0, 1e10, 1e-3)] * 64
    for i in range(search_steps - 1):
        state |= {"success": tf.constant(result[i])}
        state |= method._start_next_constant(examples, state)
        naive = [
            _naive_constant(*ends, success) for ends, success in zip(naive, result[i], strict=True)
        ]
        expected = np.array(naive)[:, 2]
        if search_steps >= 10 and i == search_steps - 2:
            expected = np.array(naive)[:, 1]
        np.testing.assert_allclose(state["constant"], expected, rtol=1e-5)
        assert not state["success"].numpy().any()
    assert (state["search"] == search_steps - 1).numpy().all()


@pytest.mark.parametrize("name", ["carlini_wagner", "elastic_net"])
def test_rows_end_at_constants_of_their_own(name):
    logits_fn, _, images, labels = _linear((5, 7, 3), scale=0.3)
    method = attacks.build_method(name, num_steps=60, initial_constant=0.01)
    images, labels = tf.constant(images), tf.constant(labels, tf.int32)
    compiled, scalars = engine.compile_attack(
        logits_fn, method, inspect_classifier(logits_fn, images)
    )
    examples = Examples(
        images, labels, tf.range(4, dtype=tf.int64), tf.fill([4], np.nan), tf.constant(0)
    )
    state, done = compiled.init(examples, scalars)
    while not done.numpy().all():
        state, done, _, _ = compiled.masked_steps(
            examples, state, done, scalars, tf.constant(1), tf.constant(0)
        )
    upper = state["upper"].numpy()
    assert (upper < 1e9).all() and len(set(upper)) == 4
    # The farther an image is from the boundary, the larger the constant.
    assert (np.diff(upper) > 0).all()


@pytest.mark.parametrize("name", ["carlini_wagner", "elastic_net"])
@pytest.mark.parametrize("targeted", [False, True])
def test_confidence_raises_the_margin(name, targeted):
    images = np.random.default_rng(0).random((6, 12), np.float32) * 0.5
    labels = np.argmax(_corners(tf.constant(images)), 1)
    aims = (labels + 1) % 4 if targeted else labels
    distances = []
    for confidence in (0.0, 0.3):
        result = _run(
            name,
            _corners,
            images,
            aims,
            targeted=targeted,
            num_steps=60,
            search_steps=5,
            confidence=confidence,
            initial_constant=0.1,
            learning_rate=0.05,
        )
        assert result.success.all()
        logits = np.array(_corners(tf.constant(result.images)))
        rows = np.arange(6)
        own = logits[rows, aims]
        logits[rows, aims] = -np.inf
        lead = (own - logits.max(1)) * (1 if targeted else -1)
        assert (lead >= confidence - 1e-6).all()
        assert (lead <= confidence + 0.1).all()
        distances.append(result.distances["l2"])
    assert (distances[1] > distances[0]).all()


def test_an_image_without_the_confidence_asked_for_is_moved_on():
    images = np.float32([[0.5, 0.4, 0.0, 0.0, 0.1]])
    attack = attacks.get("carlini_wagner")
    (moved,) = attack(_corners, images, [1], confidence=0.3, num_steps=100).numpy()
    assert moved[0] - moved[1] >= 0.3 - 1e-6
    assert (attack(_corners, images, [1], num_steps=100).numpy() == images).all()
    # As a result, an image that is misclassified as it is is broken at distance 0.
    result = _run("carlini_wagner", _corners, images, [1], confidence=0.3, num_steps=100)
    assert result.success.all() and (result.images == images).all()


def test_a_tie_is_no_end():
    images = np.float32([[0.5, 0.5, 0.0, 0.0, 0.1]])
    result = _run("carlini_wagner", _corners, images, [0], num_steps=50)
    assert result.success.all() and result.distances["l2"][0] < 0.1


@pytest.mark.parametrize("name", ["carlini_wagner", "elastic_net"])
def test_aborting_early_saves_calls(name):
    logits_fn, _, images, labels = _linear((4, 6))
    calls = {}
    for early in (True, False):
        result = _run(
            name, logits_fn, images, labels, num_steps=100, search_steps=3, abort_early=early
        )
        calls[early] = result.gradient_calls
    assert (calls[False] == 3 * 100).all()
    assert (calls[True] < 0.7 * calls[False]).all()


def test_many_search_steps_stay_finite():
    images = np.float32([[0.9, 0.1, 0.0, 0.0, 0.1]])

    def logits_fn(inputs):
        # The label wins by a logit that no change of the image lowers.
        return _corners(inputs) + tf.constant([100.0, 0, 0, 0])

    for name in ("carlini_wagner", "elastic_net"):
        adversarial = attacks.get(name)(logits_fn, images, [0], num_steps=4, search_steps=45)
        assert (adversarial == images).numpy().all()
