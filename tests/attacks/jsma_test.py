"""JSMA: the exact pair search, its stops, and known answers."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.attacks import engine, jsma, stages
from qup.attacks import inputs as attacks_inputs
from qup.attacks.batch_sizes import BatchSizes
from qup.attacks.method import Examples
from qup.core.classifier import inspect_classifier


def _run(logits_fn, images, labels, **options):
    count = len(labels)
    examples = attacks_inputs.ExampleBatch(
        np.asarray(images, np.float32),
        np.asarray(labels, np.int32),
        np.arange(count),
        np.full(count, np.nan, np.float32),
    )
    return stages.run_stages(
        attacks.build_method("jsma", **options),
        stages.ClassifierPair(logits_fn, logits_fn),
        examples,
        sizes=BatchSizes(count),
    )


def _naive_pair(rise, fall, allowed):
    """All pairs p < q in turn; None where no product is positive."""
    best, pair = 0.0, None
    for p in range(len(rise)):
        for q in range(p + 1, len(rise)):
            up, down = rise[p] + rise[q], fall[p] + fall[q]
            good = allowed[p] and allowed[q] and up > 0 and down > 0
            if good and up * down > best:
                best, pair = up * down, (p, q)
    return pair


def _slopes(kind, size, rng):
    rise, fall = rng.normal(size=(2, 6, size)).astype(np.float32)
    return {
        "random": (rise, fall),
        # Ties everywhere: products of small integers.
        "integers": (np.round(rise * 2), np.round(fall * 2)),
        # No feature is much better than another: all pairs are compared.
        "opposed": (rise, 0.01 * fall - rise),
        "equal": (0 * rise + 1, 0 * fall + np.float32([[2], [0], [-1]] * 2)),
        "zero": (0 * rise, 0 * fall),
        "one alone": (rise * (np.arange(size) == 3), np.abs(fall)),
        "tiny": (rise * 1e-9, fall * 1e9),
    }[kind]


@pytest.mark.parametrize("size", [1, 2, 9, 32, 33, 90])
@pytest.mark.parametrize(
    "kind", ["random", "integers", "opposed", "equal", "zero", "one alone", "tiny"]
)
def test_the_pair_is_that_of_the_naive_search(size, kind):
    rng = np.random.default_rng(size)
    rise, fall = _slopes(kind, size, rng)
    allowed = rng.random((6, size)) < 0.8
    pairs, result = jsma.find_best_pairs(rise, fall, allowed)
    for row in range(6):
        pair = _naive_pair(rise[row], fall[row], allowed[row])
        assert bool(result[row]) == (pair is not None)
        if pair:
            assert tuple(pairs[row].numpy()) == pair


@pytest.mark.parametrize("factor", [0.9, 0.0, -0.9])
def test_the_pair_is_exact_for_the_features_of_mnist(factor):
    rng = np.random.default_rng(4)
    rise, fall = rng.normal(size=(2, 3, 784)).astype(np.float32)
    fall = factor * rise + 0.1 * fall
    pairs, result = tf.function(jsma.find_best_pairs, autograph=False)(
        tf.constant(rise), tf.constant(fall), tf.ones((3, 784), tf.bool)
    )
    for row in range(3):
        up = rise[row][:, None] + rise[row]
        down = fall[row][:, None] + fall[row]
        product = np.where((up > 0) & (down > 0), up * down, 0)
        product = np.triu(product, 1)
        best = np.unravel_index(np.argmax(product), product.shape)
        assert result[row] and tuple(pairs[row].numpy()) == best


@pytest.mark.parametrize("num_values", [1, 3, 40, pytest.param(1500, marks=pytest.mark.slow)])
def test_equal_features_of_a_large_image_are_compared_once(num_values, monkeypatch):
    rng = np.random.default_rng(num_values)
    size = 64 * 64 * 3
    values = rng.uniform(0.3, 0.7, (2, 2, num_values)).astype(np.float32)
    # A narrow band, in which the bound excludes few.
    values[1] = 1 - values[0] + 1e-3 * values[1]
    which = rng.integers(0, num_values, (2, size))
    rise, fall = (np.take_along_axis(v, which, 1) for v in values)
    compared = []
    compare_all = jsma._compare_all

    def count_compared(rise, fall):
        compared.append(rise.shape[1])
        return compare_all(rise, fall)

    monkeypatch.setattr(jsma, "_compare_all", count_compared)
    pairs, has_pair = jsma.find_best_pairs(
        tf.constant(rise), tf.constant(fall), tf.ones((2, size), tf.bool)
    )
    assert has_pair.numpy().all()
    if num_values < 100:
        # Eager: only what is needed is computed.
        assert max(compared) <= 1024
    for row in range(2):
        first_two = np.concatenate([np.flatnonzero(which[row] == i)[:2] for i in range(num_values)])
        first_two.sort()
        up, down = (v[row][first_two][:, None] + v[row][first_two] for v in (rise, fall))
        product = np.triu(np.where((up > 0) & (down > 0), up * down, 0), 1)
        best = np.unravel_index(np.argmax(product), product.shape)
        assert pairs[row].numpy().tolist() == first_two[list(best)].tolist()


def test_few_features_pass_the_bound():
    rng = np.random.default_rng(0)
    rise, fall = rng.normal(size=(2, 32, 784)).astype(np.float32)
    margins = jsma._compute_margins(tf.constant(rise), tf.constant(fall))
    assert np.sum(margins.numpy() >= 0, 1).mean() < 10


def _sum_model(weights, offset):
    """Two classes: class 1 leads once the weighted sum passes `offset`."""
    flat = tf.constant(np.ravel(weights), tf.float32)

    def logits_fn(images):
        inputs = tf.reshape(images, (-1, flat.shape[0]))
        lead = tf.linalg.matvec(inputs, flat) - offset
        return tf.stack([-lead, lead], 1)

    return logits_fn


@pytest.mark.parametrize("shape", [(10,), (4, 6), (5, 7, 3)])
def test_the_smallest_number_of_pairs_on_a_linear_model(shape):
    rng = np.random.default_rng(1)
    weights = np.abs(rng.normal(size=shape)).astype(np.float32)
    falling = np.sort(np.ravel(weights))[::-1]
    gained = np.cumsum(falling)[1::2]
    for pairs in (1, 4):
        logits_fn = _sum_model(weights, gained[pairs - 1] - 0.1 * falling[-1])
        result = _run(logits_fn, np.zeros((2, *shape)), [0, 0], gamma=1)
        assert result.success.all()
        assert (result.distances["l0"] == 2 * pairs).all()
        assert (result.distances["linf"] == 1).all()
        chosen = np.ravel(result.images[0]) > 0
        assert np.ravel(weights)[chosen].min() == falling[2 * pairs - 1]
        # Two slopes for each pair, and two at the end.
        assert (result.gradient_calls == 2 * (pairs + 1)).all()


@pytest.mark.parametrize("bounds", [(0, 1), (-2, 3), None])
@pytest.mark.parametrize("theta", [0.4, -0.4, 1.0])
def test_theta_has_a_sign_and_units(theta, bounds):
    width = bounds[1] - bounds[0] if bounds else 1
    middle = sum(bounds) / 2 if bounds else 0.5
    sign = np.sign(theta)
    weights = sign * np.float32([3, 1, 2, 4, -9, -9])
    images = np.full((1, 6), middle, np.float32)
    logits_fn = _sum_model(weights, float(weights @ images[0]) + 1e-3)
    result = _run(logits_fn, images, [0], theta=theta, bounds=bounds, gamma=1)
    step = theta * width
    if bounds:
        step = np.clip(middle + step, *bounds) - middle
    np.testing.assert_allclose(result.images - images, [[step, 0, 0, step, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize("gamma,size,pairs", [(0.145, 33, 2), (0.45, 33, 7), (0.58, 100, 29)])
def test_gamma_bounds_the_number_of_pairs(gamma, size, pairs):
    ones, images = np.ones(size), np.zeros((1, size))
    result = _run(_sum_model(ones, 2 * pairs + 0.5), images, [0], gamma=gamma)
    assert not result.success.any() and (result.images == 0).all()
    assert (result.gradient_calls == 2 * (pairs + 1)).all()
    result = _run(_sum_model(ones, 2 * pairs - 0.5), images, [0], gamma=gamma)
    # Of equal features the first are taken.
    assert (result.images[0] == (np.arange(size) < 2 * pairs)).all()


def test_features_at_the_bound_and_a_single_one_left_are_not_used():
    # Of five features two stand at 1; of the three others a pair is taken,
    # and the odd one cannot be.
    weights = np.float32([9, 9, 1, 1, 1])
    images = np.float32([[1, 1, 0, 0, 0]])
    result = _run(_sum_model(weights, 19.5), images, [0], gamma=1)
    assert (result.images == [[1, 1, 1, 1, 0]]).all()
    result = _run(_sum_model(weights, 20.5), images, [0], gamma=1)
    assert not result.success.any()
    assert (result.gradient_calls == 4).all()


def test_a_feature_is_changed_once():
    weights = np.float32([5, 4, 3, 2])
    # Twice the first pair would be enough; with each once, all are needed.
    result = _run(_sum_model(weights, 1.2), np.zeros((1, 4)), [0], theta=0.1, gamma=1)
    np.testing.assert_allclose(result.images, [[0.1] * 4], rtol=1e-6)


def _three_classes(images):
    """Class 0 leads; class 1 is next, and class 2 rises fastest."""
    first = -images[:, 0] - images[:, 1] - 10 * (images[:, 2] + images[:, 3])
    second = images[:, 0] + images[:, 1] - 0.5
    third = 9 * (images[:, 2] + images[:, 3]) - 4.0
    return tf.stack([first, second, third], 1)


def test_the_target_is_the_second_class_or_the_label():
    images = np.zeros((1, 6))
    free = _run(_three_classes, images, [0], gamma=1)
    assert (free.images == [[1, 1, 0, 0, 0, 0]]).all()
    aimed = _run(_three_classes, images, [2], gamma=1, targeted=True)
    assert (aimed.images == [[0, 0, 1, 1, 0, 0]]).all()


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            keras.Input((7, 5, 1)),
            keras.layers.Conv2D(8, 3, activation="tanh"),
            keras.layers.Flatten(),
            keras.layers.Dense(4),
        ]
    )


def _prepared(model, **options):
    images = np.random.default_rng(0).random((8, 7, 5, 1), np.float32) * 0.9
    labels = np.argmax(model(images), 1).astype(np.int32)
    method = attacks.build_method("jsma", **options)
    compiled, scalars = engine.compile_attack(
        model, method, inspect_classifier(model, tf.constant(images))
    )
    examples = Examples(
        tf.constant(images),
        tf.constant(labels),
        tf.range(8, dtype=tf.int64),
        tf.fill([8], np.nan),
        tf.constant(0),
    )
    return compiled, scalars, examples


@functools.cache
def _slopes_of(model):
    @tf.function
    def slopes(image):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(image)
            logits = tf.unstack(model(image)[0])
        rows = [tf.reshape(tape.gradient(z, image), [-1]) for z in logits]
        return tf.stack(logits), tf.stack(rows)

    return slopes


def _jacobian(model, flat):
    """Logits [4] and slopes [4, 35] at one image."""
    image = tf.constant(flat.reshape(1, 7, 5, 1))
    return [value.numpy() for value in _slopes_of(model)(image)]


def _naive(model, image, label, theta, pairs):
    """The whole attack on one image; returns it and each image before."""
    flat = image.ravel().copy()
    others = np.where(np.arange(4) == label, -np.inf, _jacobian(model, flat)[0])
    target, sign = np.argmax(others), np.sign(theta)
    free = flat < 1 if theta > 0 else flat > 0
    path = []
    for _ in range(pairs):
        logits, gradients = _jacobian(model, flat)
        if np.argmax(logits) != label:
            return flat, path, target
        rise = sign * gradients[target]
        fall = sign * (gradients[target] - gradients.sum(0))
        pair = _naive_pair(rise, fall, free)
        if pair is None:
            break
        path.append(flat.copy())
        flat[list(pair)] = np.clip(flat[list(pair)] + theta, 0, 1)
        free[list(pair)] = False
    won = np.argmax(_jacobian(model, flat)[0]) != label
    return (flat if won else image.ravel()), path, target


@pytest.mark.parametrize("theta", [1.0, -1.0, 0.3])
def test_follows_the_naive_attack(model, theta):
    compiled, scalars, examples = _prepared(model, theta=theta, gamma=0.5)
    adversarial = compiled.run_to_end(examples, scalars, None)
    field = compiled.compute_last_conjugate(examples, scalars)
    changed = 0
    for row, (image, label) in enumerate(
        zip(examples.images.numpy(), examples.labels.numpy(), strict=True)
    ):
        expected, path, target = _naive(model, image, label, theta, 8)
        np.testing.assert_allclose(np.ravel(adversarial[row]), expected, atol=1e-6)
        changed += (expected != image.ravel()).any()
        # Eq. 8 of Papernot et al., where the last pair was chosen.
        _, gradients = _jacobian(model, path[-1])
        own = np.sign(theta) * gradients[target]
        rest = np.sign(theta) * (gradients.sum(0) - gradients[target])
        saliency = np.where((own < 0) | (rest > 0), 0, own * np.abs(rest))
        np.testing.assert_allclose(np.ravel(field[row]), saliency, atol=1e-5)
        assert saliency.any()
    assert changed >= 4
