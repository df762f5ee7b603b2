"""APGD: closed forms, Algorithm 1 in NumPy, invariances."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.attacks import apgd, engine, losses
from qup.attacks.apgd import compute_targeted_dlr
from qup.attacks.method import Examples
from qup.core.classifier import inspect_classifier
from qup.core.errors import InputError
from tests.attacks.linear_distances import ORDERS, LinearClassifier

names = pytest.mark.parametrize("name", ["apgd_ce", "apgd_dlr", "apgd_t"])
some = pytest.mark.parametrize(
    "name,norm", [("apgd_ce", "linf"), ("apgd_t", "l2"), ("apgd_dlr", "l1")]
)


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((6, 5, 2)),
            keras.layers.Conv2D(6, 3, activation="tanh"),
            keras.layers.Flatten(),
            keras.layers.Dense(5, kernel_initializer="random_normal"),
        ]
    )


@pytest.fixture(scope="module")
def batch(classifier):
    images = np.random.default_rng(0).random((9, 6, 5, 2)).astype(np.float32)
    return images, np.argmax(classifier(images), -1)


@pytest.mark.parametrize("norm", sorted(ORDERS))
@pytest.mark.parametrize("name,classes", [("apgd_ce", 2), ("apgd_t", 5)])
def test_reaches_the_optimum_of_a_linear_model(name, classes, norm):
    shape = {"linf": (8,), "l2": (4, 6), "l1": (5, 7, 3)}[norm]
    model = LinearClassifier(shape, classes)
    exact = model.compute_distances(norm, (0.0, 1.0)).min(1)
    share = np.array([0.98, 1.02] * 4)
    result = attacks.run(
        name, model, model.images, model.labels, norm=norm, epsilon=share * exact, batch_size=8
    )
    assert result.success.tolist() == (share > 1).tolist()
    assert (result.images[share < 1] == model.images[share < 1]).all()
    assert (result.distances[norm] <= share * exact * (1 + 1e-5)).all()


def _program(name, classifier, images, labels, epsilon, **options):
    """The compiled attack, its scalars, and the examples."""
    method = attacks.build_method(name, epsilon=epsilon, **options).stages()[0]
    images = tf.constant(images)
    answers = inspect_classifier(classifier, images)
    compiled, scalars = engine.compile_attack(classifier, method, answers)
    count = len(labels)
    examples = Examples(
        images,
        tf.constant(labels, tf.int32),
        tf.range(count, dtype=tf.int64),
        tf.fill([count], epsilon),
        tf.constant(0),
    )
    return compiled, scalars, examples


def _naive_apgd(gradient, clean, start, epsilon, norm, steps, rho=0.75):
    """Algorithm 1 of arXiv 2003.01690 for one image: x_1, x_2, ..."""

    def project(x):
        delta = x - clean
        if norm == "linf":
            delta = np.clip(delta, -epsilon, epsilon)
        else:
            delta = delta * min(1, epsilon / np.linalg.norm(delta))
        return np.clip(clean + delta, 0, 1)

    def unit(slope):
        return np.sign(slope) if norm == "linf" else (slope / np.linalg.norm(slope))

    points, width = [0.0], 0.22
    while points[-1] + width < 1:
        points.append(points[-1] + width)
        width = max(width - 0.03, 0.06)
    checkpoints = [int(np.ceil(p * steps - 1e-9)) for p in points]
    eta, x, old = 2 * epsilon, start, start
    f, slope = gradient(x)
    best = (f, x, slope)
    rises, halved, best_then, last = 0, True, f, 0
    for k in range(steps):
        z = project(x + eta * unit(slope))
        a = 1.0 if k == 0 else 0.75
        new = project(x + a * (z - x) + (1 - a) * (x - old))
        old, x, before = x, new, f
        f, slope = gradient(x)
        yield x, eta
        rises += f > before
        best = max(best, (f, x, slope), key=lambda point: point[0])
        if k + 1 in checkpoints:
            few = rises <= rho * (k + 1 - last)
            still = best[0] <= best_then and not halved
            halved, rises, last = few or still, 0, k + 1
            best_then = best[0]
            if halved:
                eta /= 2
                f, x, slope = best


@pytest.mark.parametrize("norm,epsilon", [("linf", 0.01), ("l2", 0.05)])
def test_takes_the_steps_of_algorithm_1(norm, epsilon, classifier, batch):
    images, labels = batch[0][:3], batch[1][:3]
    compiled, scalars, examples = _program(
        "apgd_ce", classifier, images, labels, epsilon, norm=norm
    )
    state, done = compiled.init(examples, scalars)
    assert not done.numpy().any()
    starts = state["images"].numpy()
    distances = np.linalg.norm((starts - images).reshape(3, -1), ORDERS[norm], axis=1)
    assert (distances <= epsilon * 1.00001).all() and (distances > 0.5 * epsilon).all()
    trajectories = []
    for image, label, start in zip(images, labels, starts, strict=True):

        @tf.function
        def gradient(x, label=label):
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = losses.cross_entropy(classifier(x[None]), [label])[0]
            return loss, tape.gradient(loss, x)

        def values(x, gradient=gradient):
            return [value.numpy() for value in gradient(tf.constant(x, tf.float32))]

        trajectories.append(list(_naive_apgd(values, image, start, epsilon, norm, 100)))
    for step in range(60):
        state = compiled.step(examples, state, scalars)
        for row, trajectory in enumerate(trajectories):
            x, eta = trajectory[step]
            assert abs(state["eta"][row] / eta - 1) < 1e-6
            np.testing.assert_allclose(state["images"][row], x, atol=0.02 * epsilon)
    assert np.max(state["eta"]) < epsilon


def test_checkpoints_of_one_hundred_steps():
    state = apgd.get_initial_step(tf.ones(1), tf.constant([100]))
    ends, interval = [], state["interval"]
    while sum(ends) < 100:
        ends.append(int(interval[0]))
        state = {
            "interval": interval,
            "num_increases": interval,
            "eta": tf.ones(1),
            "f_max": tf.ones(1),
            "f_max_checkpoint": tf.zeros(1),
            "eta_halved": tf.constant([False]),
        }
        after, _ = apgd.halve_eta(state, 0.75, tf.constant(100))
        interval = after["interval"]
    # The published p_j: 0, 0.22, 0.41, 0.57, 0.7, 0.8, 0.87, 0.93, 0.99.
    assert np.cumsum(ends)[:8].tolist() == [22, 41, 57, 70, 80, 87, 93, 99]


def test_halves_where_the_loss_ceased_to_rise():
    # Rose often; too seldom; stood still; stood still but just halved.
    state = {
        "interval": tf.fill([4], 20),
        "num_increases": tf.constant([16, 15, 16, 16]),
        "f_max": tf.constant([2.0, 2.0, 1.0, 1.0]),
        "f_max_checkpoint": tf.ones(4),
        "eta_halved": tf.constant([False, False, False, True]),
        "eta": tf.ones(4),
    }
    after, back = apgd.halve_eta(state, 0.75, tf.constant(100))
    assert back.numpy().tolist() == [False, True, True, False]
    assert after["eta"].numpy().tolist() == [1, 0.5, 0.5, 1]


def test_l1_steps_along_the_steepest_elements():
    gradient = tf.constant([[[3.0, -1.0], [0.0, -4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    for share, signs in ((0.25, [0, 0, 0, -1]), (0.5, [0.5, 0, 0, -0.5])):
        step = apgd.compute_l1_direction(gradient, tf.fill([2], share))
        np.testing.assert_allclose(tf.reshape(step[0], -1), signs)
        assert not np.any(step[1])


def test_l1_goes_back_where_the_best_grew_sparser():
    images = tf.zeros((3, 20))
    examples = Examples(images, None, None, None, None)
    # The best has 10 elements, 19 or 20, where there were 20.
    best = tf.cast(tf.range(20) < [[10], [19], [20]], tf.float32)
    state = {"x_best": best, "support": tf.fill([3], 20.0)}
    longest = tf.fill([3], 6.0)
    for size, next_size in ((3.0, 2.0), (0.7, 0.6)):
        now = state | {"eta": tf.fill([3], size)}
        after, back = apgd.update_l1_eta(examples, now, longest)
        assert back.numpy().tolist() == [True, False, False]
        np.testing.assert_allclose(after["eta"], [6, next_size, next_size])
        np.testing.assert_allclose(after["sparsity"], np.array([10, 19, 20]) / 20 / 1.5, rtol=1e-6)


def test_l1_narrows_its_ball_in_three_stages(classifier, batch):
    images, labels = batch
    compiled, scalars, examples = _program(
        "apgd_ce", classifier, images, labels, 0.02, norm="l1", num_steps=20
    )
    state, done = compiled.init(examples, scalars)
    radii = []
    while not done.numpy().all():
        delta = np.reshape(state["images"] - images, (9, -1))
        radii.append(np.abs(delta).sum(1).max() / 0.02)
        state, done, _, _ = compiled.masked_steps(
            examples, state, done, scalars, tf.constant(1), tf.constant(0)
        )
    # 6, 6 and 8 steps, each stage with a first point of its own.
    assert len(radii) == 7 + 7 + 9
    np.testing.assert_allclose(radii[1:7], 3, atol=0.01)
    np.testing.assert_allclose(radii[7:14], 2, atol=0.01)
    np.testing.assert_allclose(radii[14:], 1, atol=0.01)


def test_targeted_dlr_is_its_definition():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(7, 6)).astype(np.float32)
    labels, targets = rng.permuted([range(6)] * 7, axis=1)[:, :2].T
    rows = np.arange(7)
    top = -np.sort(-logits, axis=1)
    value = -(logits[rows, labels] - logits[rows, targets]) / (
        top[:, 0] - (top[:, 2] + top[:, 3]) / 2
    )
    result = compute_targeted_dlr(logits, tf.constant(labels), tf.constant(targets))
    np.testing.assert_allclose(result, value, rtol=1e-5)


@pytest.mark.parametrize("name", ["apgd_dlr", "apgd_t"])
def test_the_scale_of_the_logits_does_not_count(name, classifier, batch):
    def louder(images):
        return 1024.0 * classifier(images)

    options = {"epsilon": 0.03, "num_steps": 20}
    once = attacks.run(name, classifier, *batch, **options)
    again = attacks.run(name, louder, *batch, **options)
    assert 0 < once.success.sum() < 9
    # A power of two changes no digit.
    assert (again.images == once.images).all()


@some
def test_neither_the_box_nor_the_batch_counts(name, norm):
    model = LinearClassifier((4, 6), classes=5)
    exact = model.compute_distances(norm, (0.0, 1.0)).min(1)
    epsilon = exact * np.array([0.9, 1.3] * 4)
    options = {"norm": norm, "num_steps": 30}

    def wide(images):
        return model(images / 255.0)

    whole = attacks.run(name, model, model.images, model.labels, epsilon=epsilon, **options)
    bytes_ = attacks.run(
        name,
        wide,
        255 * model.images,
        model.labels,
        epsilon=255 * epsilon,
        bounds=(0, 255),
        **options,
    )
    order = np.random.default_rng(0).permutation(8)
    single = attacks.run(
        name,
        model,
        model.images[order],
        model.labels[order],
        ids=order,
        epsilon=epsilon[order],
        batch_size=1,
        **options,
    )
    assert (whole.success == bytes_.success).all()
    assert (whole.success[order] == single.success).all()
    np.testing.assert_allclose(bytes_.images / 255, whole.images, atol=1e-3)
    np.testing.assert_allclose(single.images, whole.images[order], atol=1e-3)


def test_targeted():
    model = LinearClassifier((4, 6), classes=4)
    targets = np.argsort(model.logits(), -1)[:, 0]
    result = attacks.run("apgd_ce", model, model.images, model.labels, targets=targets, epsilon=0.6)
    assert result.success.all()
    assert (np.argmax(model(result.images), -1) == targets).all()


def test_restarts_break_no_less(classifier, batch):
    one, three = (
        attacks.run("apgd_dlr", classifier, *batch, epsilon=0.025, num_steps=6, restarts=restarts)
        for restarts in (1, 3)
    )
    assert (three.success >= one.success).all()
    # Each restart is another walk.
    left = ~three.success
    assert left.any() and (three.gradient_calls[left] == 3 * 7).all()


@some
def test_a_flat_classifier_withstands(name, norm):
    def flat(images):
        return 0.0 * images[:, :5] + [1.0, 0.0, 0.0, 0.0, 0.0]

    images = np.random.default_rng(0).random((5, 6)).astype(np.float32)
    labels = np.array([0, 0, 0, 0, 1])
    result = attacks.run(name, flat, images, labels, norm=norm, epsilon=0.3, num_steps=12)
    # The last is misclassified as it is.
    assert result.success.tolist() == [False] * 4 + [True]
    assert (result.images == images).all()
    assert result.gradient_calls[4] == 0


@some
def test_no_budget_is_no_change(name, norm, classifier, batch):
    result = attacks.run(name, classifier, *batch, norm=norm, epsilon=0.0, num_steps=5)
    assert not result.success.any() and (result.images == batch[0]).all()


def test_targets_that_are_not_there_cost_nothing():
    model = LinearClassifier((8,), classes=4, count=4)
    result = attacks.run("apgd_t", model, model.images, model.labels, epsilon=1e-3, num_steps=5)
    # Three targets, a gradient at the start and after each step.
    assert (result.gradient_calls == 3 * 6).all()


def test_expectation_aims_at_every_pass_of_a_random_classifier():
    weights = tf.constant([[1.0, -1.0]] * 16)

    def noisy(images):
        noise = tf.random.normal(tf.shape(images), stddev=0.3)
        return (images - 0.6 + noise) @ weights

    tf.random.set_seed(0)
    # Class 0 by 16 x 0.02; the noise has a deviation of 1.2.
    images = np.full((64, 16), 0.62, np.float32)
    labels = np.zeros(64, int)
    wrong = {}
    for passes in (1, 10):
        adversarial = attacks.get("apgd_ce")(
            noisy, images, labels, epsilon=0.15, expectation=passes, num_steps=20
        )
        assert np.abs(adversarial - images).max() <= 0.15 * 1.00001
        answers = [np.argmax(noisy(adversarial), -1) != 0 for _ in range(10)]
        wrong[passes] = np.mean(answers)
    # One stops at a lucky pass, the other goes to the optimum, 16 x 0.13.
    assert wrong[10] > 0.93 > 0.85 > wrong[1]


@names
@pytest.mark.parametrize(
    "option,value",
    [
        ("restarts", 0),
        ("expectation", 0),
        ("rho", -0.1),
        ("num_steps", 0),
        ("norm", "l0"),
        ("epsilon", -1.0),
    ],
)
def test_bad_options(name, option, value):
    with pytest.raises(InputError, match=option):
        attacks.build_method(name, **{"epsilon": 0.1, option: value})


def test_bad_options_of_one_alone():
    with pytest.raises(InputError, match="Did you mean 'cross_entropy'"):
        attacks.build_method("apgd_ce", epsilon=0.1, loss="crossentropy")
    with pytest.raises(InputError, match="num_targets"):
        attacks.build_method("apgd_t", epsilon=0.1, num_targets=0)


@pytest.mark.parametrize("name,least", [("apgd_dlr", 3), ("apgd_t", 4)])
def test_too_few_classes(name, least):
    model = LinearClassifier((8,), classes=least - 1)
    with pytest.raises(InputError, match=f"at least {least} classes"):
        attacks.run(name, model, model.images, model.labels, epsilon=0.1)
