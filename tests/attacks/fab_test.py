"""FAB: exact projections, closed forms, invariances."""

import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.attacks import engine, fab
from qup.attacks.method import Examples
from qup.core.classifier import inspect_classifier
from qup.core.errors import InputError
from tests.attacks.linear_distances import ORDERS, LinearClassifier, solve_smallest_perturbation

every_norm = pytest.mark.parametrize("norm", sorted(ORDERS))
both = pytest.mark.parametrize("name", ["fab", "fab_t"])
some = pytest.mark.parametrize("name,norm", [("fab", "linf"), ("fab_t", "l2"), ("fab", "l1")])
# Enough for a linear model, where the first step is nearly the last.
_SHORT = {"num_steps": 10}


def _planes(seed=0):
    """Images, slopes and values: easy, beyond the box, and degenerate."""
    rng = np.random.default_rng(seed)
    x = rng.random((12, 5, 3, 2)).astype(np.float32)
    gradients = rng.normal(size=x.shape).astype(np.float32)
    gradients[1] *= 1e-12
    gradients[2] *= 1e9
    gradients[3, :, :, 0] = 0.0
    gradients[4] = np.sign(gradients[4])
    x[5] = rng.integers(0, 2, x[5].shape)
    gradients[6] *= 10.0 ** rng.uniform(-6, 3, gradients[6].shape)
    total = np.abs(gradients).sum((1, 2, 3))
    share = np.array([0.1, 0.05, 0.2, 0.1, 0.1, 0.1, 0.2, 0.3, 0.01, 9, 0, 0.4])
    values = (rng.choice([-1, 1], 12) * share * total).astype(np.float32)
    return x, gradients, values


@every_norm
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-0.5, 3.0), None])
def test_projection_is_that_of_a_bisection(norm, bounds):
    x, gradients, values = _planes()
    result = fab.project_onto_hyperplane(x, gradients, values, norm, bounds)
    for i, d in enumerate(result.numpy()):
        flat = x[i].ravel().astype(float)
        gradient, value = gradients[i].ravel().astype(float), float(values[i])
        best = solve_smallest_perturbation(flat, gradient, value, norm, bounds)
        np.testing.assert_allclose(
            np.linalg.norm(d.ravel(), ORDERS[norm]),
            np.linalg.norm(best, ORDERS[norm]),
            rtol=2e-5,
            atol=1e-7,
        )
        # As near to the plane, and in the box.
        scale = np.abs(gradient).sum()
        np.testing.assert_allclose(
            value + gradient @ d.ravel(), value + gradient @ best, atol=2e-6 * scale
        )
        if bounds is not None:
            assert (flat + d.ravel() >= bounds[0] - 1e-6).all()
            assert (flat + d.ravel() <= bounds[1] + 1e-6).all()


@every_norm
@pytest.mark.parametrize("bounds", [(0.0, 1.0), None])
def test_projection_without_a_slope_is_no_move(norm, bounds):
    x, gradients, values = _planes()
    gradients = np.zeros_like(gradients)
    result = fab.project_onto_hyperplane(x, gradients, values, norm, bounds)
    assert (result.numpy() == 0).all()


@both
@pytest.mark.parametrize("bounds", [(0.0, 1.0), None])
@pytest.mark.parametrize("norm,shape", [("linf", (8,)), ("l2", (4, 6)), ("l1", (5, 7, 3))])
def test_finds_the_exact_distance_of_a_linear_model(name, norm, shape, bounds):
    model = LinearClassifier(shape, classes=4)
    exact = model.compute_distances(norm, bounds)
    # One target after the other finds the nearest; all at once, the class
    # that would be the nearest without a box.
    nearest = exact if name == "fab_t" else model.compute_distances(norm, None)
    exact = exact[np.arange(8), nearest.argmin(1)]
    result = attacks.run(
        name, model, model.images, model.labels, norm=norm, bounds=bounds, batch_size=3, **_SHORT
    )
    found = result.distances[norm]
    assert result.success.all()
    assert (found <= 1.01 * exact).all() and (found >= 0.999 * exact).all()


@every_norm
def test_finds_the_distance_to_a_sphere(norm):
    # Class 1 is outside the sphere of radius 1 about the origin.
    def logits_fn(images):
        square = tf.reduce_sum(tf.square(images), -1)
        return tf.stack([1.0 - square, tf.zeros_like(square)], -1)

    images = np.array([[0.5, 0.2], [0.1, -0.3], [-0.4, -0.4]], np.float32)
    x, y = np.abs(images.T)
    exact = {
        "l2": 1 - np.hypot(x, y),
        # Along the longer element; along both.
        "l1": np.sqrt(1 - np.minimum(x, y) ** 2) - np.maximum(x, y),
        "linf": (np.sqrt(2 - (x - y) ** 2) - (x + y)) / 2,
    }[norm]
    result = attacks.run("fab", logits_fn, images, np.zeros(3, int), norm=norm, bounds=(-2.0, 2.0))
    assert (result.distances[norm] >= 0.999 * exact).all()
    assert (result.distances[norm] <= 1.03 * exact).all()


def _naive_fab(differences, x0, norm, steps):
    """Algorithm 1 of arXiv 1907.02044 for one image in [0, 1]: x, best."""
    x, best = x0, np.inf
    dual = {"linf": 1, "l2": 2, "l1": np.inf}[norm]
    for _ in range(steps):
        values, gradients = differences(x)
        distances = np.abs(values) / np.linalg.norm(gradients, dual, axis=1)
        w, value = gradients[distances.argmin()], values[distances.argmin()]
        first = solve_smallest_perturbation(x, w, value, norm, (0, 1))
        second = solve_smallest_perturbation(x0, w, value + w @ (x0 - x), norm, (0, 1))
        near, wide = (np.linalg.norm(d, ORDERS[norm]) for d in (first, second))
        alpha = min(near / (near + wide), 0.1)
        x = (1 - alpha) * (x + 1.05 * first) + alpha * (x0 + 1.05 * second)
        x = np.clip(x, 0, 1)
        if differences(x)[0].max() > 0:
            best = min(best, np.linalg.norm(x - x0, ORDERS[norm]))
            x = x0 + 0.9 * (x - x0)
        yield x, best


def _program(logits_fn, images, labels, epsilon=np.nan, **options):
    """The compiled attack, its scalars, and the examples."""
    answers = inspect_classifier(logits_fn, tf.constant(images))
    method = attacks.build_method("fab", **options)
    compiled, scalars = engine.compile_attack(logits_fn, method, answers)
    count = len(labels)
    examples = Examples(
        tf.constant(images),
        tf.constant(labels, tf.int32),
        tf.range(count, dtype=tf.int64),
        tf.constant(np.broadcast_to(epsilon, count), tf.float32),
        tf.constant(0),
    )
    return compiled, scalars, examples


@every_norm
def test_takes_the_steps_of_algorithm_1(norm):
    rng = np.random.default_rng(4)
    first, second = rng.normal(size=(6, 16)), rng.normal(size=(16, 4))

    def logits_fn(images):
        hidden = tf.tanh(images @ tf.constant(first, tf.float32))
        return hidden @ tf.constant(second, tf.float32)

    images = rng.random((3, 6)).astype(np.float32)
    labels = np.argmax(logits_fn(images), -1)
    compiled, scalars, examples = _program(logits_fn, images, labels, norm=norm)

    def naive(image, label):
        heads = np.delete(second - second[:, [label]], label, axis=1)

        def differences(x):
            hidden = np.tanh(x @ first)
            return hidden @ heads, heads.T @ ((1 - hidden**2) * first).T

        return _naive_fab(differences, image.astype(float), norm, 12)

    state, _ = compiled.init(examples, scalars)
    trajectories = [naive(*row) for row in zip(images, labels, strict=True)]
    for points in zip(*trajectories, strict=True):
        state = compiled.step(examples, state, scalars)
        for row, (x, best) in enumerate(points):
            np.testing.assert_allclose(state["images"][row], x, atol=1e-5)
            np.testing.assert_allclose(state["distance"][row], best, rtol=1e-4)
    assert np.isfinite(state["distance"]).all()


@some
def test_is_done_once_inside_epsilon(name, norm):
    model = LinearClassifier((4, 6), classes=4)
    exact = model.compute_distances(norm, (0.0, 1.0)).min(1)
    epsilon = exact * np.where(np.arange(8) % 2, 1.2, 0.8)
    result = attacks.run(
        name, model, model.images, model.labels, norm=norm, epsilon=epsilon, **_SHORT
    )
    assert result.success.tolist() == [False, True] * 4
    assert (result.images[::2] == model.images[::2]).all()
    calls = result.forward_calls
    assert calls[1::2].max() < calls[::2].min()


def test_does_not_depend_on_batching():
    model = LinearClassifier((4, 6), classes=4)
    order = np.random.default_rng(0).permutation(8)
    options = {"norm": "l2", "restarts": 2, "seed": 3, **_SHORT}
    whole = attacks.run("fab", model, model.images, model.labels, **options)
    single = attacks.run(
        "fab", model, model.images[order], model.labels[order], ids=order, batch_size=1, **options
    )
    np.testing.assert_allclose(single.images, whole.images[order], atol=1e-5)


@some
def test_neither_the_box_nor_the_scale_of_the_logits_counts(name, norm):
    model = LinearClassifier((4, 6), classes=4)

    def wide(images):
        return 1024.0 * model(images / 255.0)

    options = {"norm": norm, "restarts": 2, **_SHORT}
    unit = attacks.run(name, model, model.images, model.labels, **options)
    bytes_ = attacks.run(
        name, wide, 255.0 * model.images, model.labels, bounds=(0.0, 255.0), **options
    )
    np.testing.assert_allclose(bytes_.distances[norm] / 255.0, unit.distances[norm], rtol=1e-4)


@both
def test_more_restarts_are_never_worse(name):
    # Many local minima: a sum of waves.
    rng = np.random.default_rng(0)
    waves = tf.constant(rng.normal(size=(6, 20)) * 5, tf.float32)
    heads = tf.constant(rng.normal(size=(20, 4)), tf.float32)

    def logits_fn(images):
        return tf.sin(images @ waves) @ heads

    images = rng.random((30, 6)).astype(np.float32)
    labels = np.argmax(logits_fn(images), -1)
    one, four = (
        attacks.run(
            name, logits_fn, images, labels, norm="l2", restarts=restarts, **_SHORT
        ).distances["l2"]
        for restarts in (1, 4)
    )
    assert (four <= one).all() and four.sum() < one.sum()


@every_norm
def test_restarts_at_half_the_best_distance(norm):
    model = LinearClassifier((4, 6), classes=4)
    compiled, scalars, examples = _program(
        model,
        model.images,
        model.labels,
        epsilon=[np.nan] * 4 + [1e-3] * 4,
        norm=norm,
        num_steps=3,
        restarts=2,
        bounds=None,
    )
    state, _ = compiled.init(examples, scalars)
    for _ in range(3):
        state = compiled.step(examples, state, scalars)
    delta = np.reshape(state["images"] - model.images, (8, -1))
    radius = np.linalg.norm(delta, ORDERS[norm], axis=1)
    half = np.minimum(state["distance"], [np.inf] * 4 + [1e-3] * 4) / 2
    np.testing.assert_allclose(radius, half, rtol=1e-3)


@every_norm
def test_restarts_where_no_distance_is_known(norm):
    def flat(images):
        return 0.0 * images[:, :2] + [1.0, 0.0]

    images = np.zeros((2, 6), np.float32)
    compiled, scalars, examples = _program(
        flat,
        images,
        [0, 0],
        epsilon=[np.nan, 0.02],
        norm=norm,
        num_steps=1,
        restarts=2,
        bounds=None,
    )
    state, _ = compiled.init(examples, scalars)
    state = compiled.step(examples, state, scalars)
    radius = np.linalg.norm(state["images"], ORDERS[norm], axis=1)
    unknown = {"linf": 0.3, "l2": 1.0, "l1": 5.0}[norm]
    np.testing.assert_allclose(radius, [unknown / 2, 0.01], rtol=1e-3)


@some
def test_a_flat_classifier_withstands(name, norm):
    def flat(images):
        return 0.0 * images[:, :4] + [1.0, 0.0, 0.0, 0.0]

    images = np.random.default_rng(0).random((5, 6)).astype(np.float32)
    labels = np.array([0, 0, 0, 0, 1])
    result = attacks.run(name, flat, images, labels, norm=norm, restarts=2, **_SHORT)
    # The last is misclassified as it is: its own answer.
    assert result.success.tolist() == [False] * 4 + [True]
    assert (result.images == images).all()
    assert result.gradient_calls[4] == 0


def test_targets_that_are_not_there_cost_nothing():
    model = LinearClassifier((8,), classes=3, count=4)
    result = attacks.run("fab_t", model, model.images, model.labels, **_SHORT)
    # Two targets, one gradient a step; each part classifies the image.
    assert (result.gradient_calls == 2 * 10).all()
    assert (result.forward_calls == 9 + 2 * 10).all()


@both
@pytest.mark.parametrize(
    "option,value",
    [
        ("restarts", 0),
        ("eta", 0.5),
        ("alpha_max", 1.5),
        ("beta", -0.1),
        ("num_steps", 0),
        ("norm", "l0"),
        ("epsilon", -1.0),
    ],
)
def test_bad_options(name, option, value):
    model = LinearClassifier((8,), classes=4)
    with pytest.raises(InputError, match=option):
        attacks.run(name, model, model.images, model.labels, **{option: value})


def test_bad_number_of_targets():
    with pytest.raises(InputError, match="num_targets"):
        attacks.build_method("fab_t", num_targets=0)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_many_classes_are_attacked_by_the_most_likely_ones(norm):
    model = LinearClassifier((4, 6), classes=1000, count=4, seed=2)
    exact = model.compute_distances(norm, (0.0, 1.0)).min(1)
    result = attacks.run("fab", model, model.images, model.labels, norm=norm, num_steps=15)
    assert result.success.all()
    assert (result.distances[norm] <= exact * 1.15).all(), result.distances[norm] / exact
    # One gradient for each of the 99 most likely other classes.
    assert result.gradient_calls.max() == 99 * 15
