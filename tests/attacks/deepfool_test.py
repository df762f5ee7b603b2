"""DeepFool and SparseFool: closed forms, naive versions, invariances."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.attacks import engine, inputs, sparsefool, stages
from qup.attacks.batch_sizes import BatchSizes
from qup.core.classifier import inspect_classifier
from qup.core.errors import InputError

_ATTACKS = [("deepfool", {"norm": "linf"}), ("sparsefool", {})]
_DUAL = {"l2": 2, "linf": 1}


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((6, 5, 2)),
            keras.layers.Conv2D(6, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(5),
        ]
    )


@pytest.fixture(scope="module")
def batch(classifier):
    images = tf.random.stateless_uniform((11, 6, 5, 2), (1, 2))
    return images.numpy(), np.argmax(classifier(images), -1).astype(np.int32)


def _run(name, logits_fn, images, labels, batch_size=None, **options):
    count = len(labels)
    examples = inputs.ExampleBatch(
        np.asarray(images, np.float32),
        np.asarray(labels, np.int32),
        np.arange(count),
        np.full(count, np.nan, np.float32),
    )
    return stages.run_stages(
        attacks.build_method(name, **options),
        stages.ClassifierPair(logits_fn, logits_fn),
        examples,
        sizes=BatchSizes(batch_size or count),
    )


def _conjugate(name, logits_fn, images, labels, **options):
    images = tf.constant(images, tf.float32)
    compiled, scalars = engine.compile_attack(
        logits_fn, attacks.build_method(name, **options), inspect_classifier(logits_fn, images)
    )
    count = len(labels)
    examples = attacks.Examples(
        images,
        tf.constant(labels, tf.int32),
        tf.range(count, dtype=tf.int64),
        tf.fill([count], np.nan),
        tf.constant(0),
    )
    return compiled.compute_last_conjugate(examples, scalars).numpy()


class _Linear:
    """Logits W x of images of any shape, and what is known of them."""

    def __init__(self, shape, classes):
        self._size = int(np.prod(shape))
        rng = np.random.default_rng(self._size)
        self.weights = rng.normal(size=(self._size, classes))
        self.images = rng.uniform(size=(8, *shape)).astype(np.float32)
        self.labels = np.argmax(self._flat() @ self.weights, -1)

    def _flat(self):
        return self.images.reshape(8, -1).astype(np.float64)

    def __call__(self, images):
        flat = tf.reshape(images, (-1, self._size))
        return flat @ tf.constant(self.weights, tf.float32)

    def slopes(self):
        """W_k - W_label: [8, classes, size]."""
        return self.weights.T - self.weights.T[self.labels][:, None]

    def distances(self, order):
        """To the boundary of each class, infinite for the label's."""
        gaps = -np.einsum("bkd,bd->bk", self.slopes(), self._flat())
        size = np.linalg.norm(self.slopes(), order, axis=2)
        own = np.eye(size.shape[1], dtype=bool)[self.labels]
        return np.where(own, np.inf, gaps / np.where(own, 1, size))


@pytest.mark.parametrize("shape,batch_size", [((8,), 1), ((4, 6), 3), ((5, 7, 3), 8)])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_deepfool_reaches_a_linear_boundary_in_one_step(norm, shape, batch_size):
    model = _Linear(shape, 4)
    result = _run("deepfool", model, model.images, model.labels, batch_size, norm=norm, bounds=None)
    assert result.success.all()
    best = model.distances(_DUAL[norm]).min(1)
    np.testing.assert_allclose(result.distances[norm], 1.02 * (best + 1e-4), rtol=1e-4)
    assert (result.gradient_calls == 3).all()
    assert (result.forward_calls == 2).all()


def test_deepfool_looks_at_the_likeliest_classes_only():
    model = _Linear((8,), 6)
    options = {"bounds": None, "num_classes": 2}
    result = _run("deepfool", model, model.images, model.labels, **options)
    logits = model(tf.constant(model.images)).numpy()
    runner_up = np.argsort(logits, 1)[:, -2]
    distances = model.distances(2)
    wanted = distances[np.arange(8), runner_up]
    assert (wanted > distances.min(1) + 1e-3).any()
    np.testing.assert_allclose(result.distances["l2"], 1.02 * (wanted + 1e-4), rtol=1e-4)


def test_deepfool_of_another_overshoot():
    model = _Linear((8,), 4)
    options = {"bounds": None, "overshoot": 0.5}
    result = _run("deepfool", model, model.images, model.labels, **options)
    np.testing.assert_allclose(
        result.distances["l2"], 1.5 * (model.distances(2).min(1) + 1e-4), rtol=1e-4
    )


@functools.cache
def _compiled(logits_fn):
    @tf.function
    def slope(image, label, other):
        with tf.GradientTape() as tape:
            tape.watch(image)
            logits = logits_fn(image[None])[0]
            gap = logits[other] - logits[label]
        return gap, tape.gradient(gap, image)

    return slope


def _slope(logits_fn, image, label, other):
    image = tf.constant(image, tf.float32)
    classes = tf.constant(label), tf.constant(other)
    gap, gradient = _compiled(logits_fn)(image, *classes)
    return float(gap), gradient.numpy().astype(float)


def _top(logits_fn, image):
    logits = logits_fn(image[None].astype(np.float32))
    return int(np.argmax(logits[0]))


@functools.cache
def _curved():
    """Eight classes whose boundaries are far from planes."""
    keras.utils.set_random_seed(5)
    wide = keras.initializers.RandomNormal(stddev=2.0)
    return keras.Sequential(
        [
            keras.Input((6, 5, 2)),
            keras.layers.Flatten(),
            keras.layers.Dense(30, "tanh", kernel_initializer=wide),
            keras.layers.Dense(8),
        ]
    )


def _others(logits_fn, image, label, num_classes):
    logits = logits_fn(image[None].astype(np.float32))[0]
    order = np.argsort(-logits)
    return order[order != label][: num_classes - 1]


def _nearest(logits_fn, image, label, others):
    result = [_slope(logits_fn, image, label, other) for other in others]
    return min(result, key=lambda each: abs(each[0]) / np.linalg.norm(each[1]))


def _naive_deepfool(logits_fn, clean, label, num_classes):
    """Returns the image found, and the last slope."""
    total, image = np.zeros(clean.shape), clean.astype(float)
    others = _others(logits_fn, image, label, num_classes)
    while _top(logits_fn, image) == label:
        gap, gradient = _nearest(logits_fn, image, label, others)
        size = np.linalg.norm(gradient)
        total = total + (abs(gap) / size + 1e-4) * gradient / size
        image = clean + 1.02 * total
    return image, gradient


def _naive_solver(image, normal, corner, low, high, width=1.0):
    """One element after another, as the paper's algorithm 1."""
    image, normal = image.astype(float), normal / np.linalg.norm(normal)
    left = normal.copy()
    while np.sum(normal * (image - corner)) < 0 and left.any():
        place = np.unravel_index(np.argmax(np.abs(left)), left.shape)
        gap = abs(np.sum(normal * (image - corner)) - 1e-3 * width)
        move = max(gap / abs(left[place]), 1e-4 * width)
        image[place] += move * np.sign(left[place])
        image = np.clip(image, low, high)
        left[place] = 0
    return image


def _naive_sparsefool(logits_fn, clean, label, num_classes):
    """Returns the image found, and the last normal."""
    image = fooling = clean.astype(float)
    while _top(logits_fn, fooling) == label:
        total, here = np.zeros(clean.shape), label
        others = _others(logits_fn, image, label, num_classes)
        while here == label:
            gap, gradient = _nearest(logits_fn, image + total, label, others)
            size = np.linalg.norm(gradient)
            total = total + max(abs(gap) / size, 1e-4) * gradient / size
            here = _top(logits_fn, image + 1.02 * total)
        _, normal = _slope(logits_fn, image + total, label, here)
        image = _naive_solver(image, normal, image + total, 0, 1)
        fooling = np.clip(clean + 1.02 * (image - clean), 0, 1)
    return fooling, normal


@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize(
    "name,naive,options",
    [
        ("deepfool", _naive_deepfool, {"bounds": None}),
        ("sparsefool", _naive_sparsefool, {"lambda_": 1.0}),
    ],
)
def test_equals_one_image_at_a_time(name, naive, options, num_classes, batch):
    images, classifier = batch[0], _curved()
    labels = np.argmax(classifier(images), -1)
    options = options | {"num_classes": num_classes}
    result = _run(name, classifier, images, labels, **options)
    fields = _conjugate(name, classifier, images, labels, **options)
    # Some take more than one step, or cross more than one plane.
    steps = result.gradient_calls / (num_classes - 1)
    assert steps.max() > (1 if name == "deepfool" else 10)
    for i in range(len(labels)):
        image, field = naive(classifier, images[i], labels[i], num_classes)
        np.testing.assert_allclose(result.images[i], image, atol=1e-3)
        near = 0.02 * np.abs(field).max()
        np.testing.assert_allclose(fields[i], field, atol=near)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.0, 255.0), None])
@pytest.mark.parametrize("reach", [0.01, 0.3, 3.0])
def test_linear_solver_equals_one_element_at_a_time(bounds, reach):
    rng = np.random.default_rng(3)
    low, high = bounds or (-np.inf, np.inf)
    width = high - low if bounds else 1.0
    images = rng.uniform(size=(9, 4, 6)) * width
    normal = rng.normal(size=images.shape)
    # Equal elements, and elements of zero.
    normal[:3] = np.round(normal[:3])
    normal[3:6, :2] = 0
    offset = reach * width * normal / 5
    solved = sparsefool.cross_plane(
        *(tf.constant(each, tf.float32) for each in (images, normal, offset)), bounds
    )
    for i in range(9):
        corner = images[i] + offset[i]
        naive = _naive_solver(images[i], normal[i], corner, low, high, width)
        np.testing.assert_allclose(solved[i], naive, rtol=1e-5, atol=1e-3 * width)


def test_linear_solver_stays_where_there_is_no_normal():
    images = tf.fill((2, 3), 0.5)
    nothing = tf.zeros_like(images)
    for bounds in ((0.0, 1.0), None):
        solved = sparsefool.cross_plane(images, nothing, nothing, bounds)
        np.testing.assert_array_equal(solved, images)


@pytest.mark.parametrize("shape", [(8,), (4, 6), (5, 7, 3)])
def test_sparsefool_changes_the_fewest_elements_of_a_linear_model(shape):
    model = _Linear(shape, 2)
    grey = np.full((1, *shape), 0.5, np.float32)
    weights = model.weights / 8
    gradient = np.sort(np.abs(weights[:, 1] - weights[:, 0]))[::-1]
    # So far that the 0.5 of the three steepest elements is just not enough.
    gap = 0.5 * gradient[:4].sum() - 0.1 * gradient[3]
    offset = gap + 0.5 * (weights[:, 1] - weights[:, 0]).sum()

    def logits_fn(images):
        flat = tf.reshape(images, (-1, weights.shape[0]))
        lead = tf.constant([offset, 0.0], tf.float32)
        return flat @ tf.constant(weights, tf.float32) + lead

    result = _run("sparsefool", logits_fn, grey, [0], lambda_=1.0)
    assert result.success.all()
    assert result.distances["l0"][0] == 4
    assert np.abs(result.images - grey).max() <= 0.5


def test_sparsefool_goes_on_where_the_slope_ends_at_the_boundary():
    def shelf(images):
        height = tf.reduce_mean(images, 1)
        flat = 0 * height
        beyond = tf.where(height < 0.402, flat - 0.005, flat + 1)
        gap = tf.where(height < 0.395, height - 0.4, beyond)
        return tf.stack([flat, gap], 1)

    images = np.full((1, 4), 0.2, np.float32)
    result = _run("sparsefool", shelf, images, [0], lambda_=3.0)
    assert result.success.all()
    # The plane is 3 (0.4 - 0.2) away, and an element adds 0.8 / 4.
    assert result.distances["l0"][0] == 3


@pytest.mark.parametrize("name,options", _ATTACKS)
class TestInvariances:
    def test_finds_inside_the_box(self, name, options, classifier, batch):
        images, labels = batch
        result = _run(name, classifier, images, labels, **options)
        assert result.success.all()
        assert result.images.min() >= 0 and result.images.max() <= 1
        norm = options.get("norm", "l0")
        assert (result.distances[norm] > 0).all()

    def test_neither_batch_nor_order_matter(self, name, options, classifier, batch):
        images, labels = batch
        whole = _run(name, classifier, images, labels, **options)
        order = np.random.default_rng(0).permutation(len(labels))
        for size in (1, 4):
            other = _run(name, classifier, images[order], labels[order], size, **options)
            np.testing.assert_allclose(other.images, whole.images[order], atol=1e-5)
            np.testing.assert_array_equal(other.gradient_calls, whole.gradient_calls[order])

    def test_the_units_of_the_pixels_do_not_matter(self, name, options, classifier, batch):
        images, labels = batch
        one = attacks.get(name)(classifier, images, labels, **options)

        def bytes_fn(images):
            return classifier(images / 255)

        many = attacks.get(name)(bytes_fn, images * 255, labels, bounds=(0, 255), **options)
        np.testing.assert_allclose(many / 255, one, atol=1e-4)

    def test_the_scale_of_the_logits_does_not_matter(self, name, options, classifier, batch):
        images, labels = batch
        one = attacks.get(name)(classifier, images, labels, **options)

        def scaled(images):
            return 30 * classifier(images)

        many = attacks.get(name)(scaled, images, labels, **options)
        np.testing.assert_allclose(many, one, atol=1e-4)

    def test_a_misclassified_image_is_its_own_answer(self, name, options, classifier, batch):
        images, labels = batch
        wrong = np.where(np.arange(len(labels)) < 2, (labels + 1) % 5, labels)
        result = _run(name, classifier, images, wrong, **options)
        assert result.success.all()
        np.testing.assert_array_equal(result.images[:2], images[:2])
        assert (result.gradient_calls[:2] == 0).all()
        assert (result.gradient_calls[2:] > 0).all()

    def test_no_gradient_fails_cleanly(self, name, options):
        images = np.linspace(0, 1, 24, dtype=np.float32).reshape(3, 8)

        def constant(images):
            lead = tf.constant([0.0, 2.0, 1.0])
            return lead + 0 * tf.reduce_sum(images, 1, keepdims=True)

        for logits_fn, label in ((constant, 1), (lambda images: 0 * images[:, :3], 0)):
            result = _run(name, logits_fn, images, [label] * 3, **options)
            assert not result.success.any()
            end = attacks.get(name)(logits_fn, images, [label] * 3, **options)
            np.testing.assert_array_equal(end, images)
            # Seen at once, not after every step.
            assert (result.gradient_calls <= 2 * 2).all()

    def test_a_failure_is_the_input(self, name, options, batch):
        images = batch[0].reshape(11, -1)
        # Class 1 is reached by no image of the box.
        model = _wall(images.shape[1])
        options = options | {"num_steps": 3}
        result = _run(name, model, images, [0] * 11, **options)
        assert not result.success.any() and (result.gradient_calls > 0).all()
        end = attacks.get(name)(model, images, [0] * 11, **options)
        np.testing.assert_array_equal(end, images)

    def test_equal_logits_are_left_behind(self, name, options):
        images = np.full((2, 6), 0.5, np.float32)

        def tied(images):
            gap = tf.reduce_sum(images - 0.5, 1)
            return tf.stack([-gap, gap], 1)

        result = _run(name, tied, images, [0, 0], **options)
        assert result.success.all()
        assert (result.distances["l2"] < 0.02).all()

    def test_a_sweep_traces_once(self, name, options):
        model, traces = _Linear((8,), 3), []

        def logits_fn(images):
            traces.append(images.shape)
            return model(images)

        def attack(**more):
            return attacks.get(name)(logits_fn, model.images, model.labels, **options, **more)

        first = attack()
        before = len(traces)
        other = attack(num_steps=7, overshoot=0.3)
        assert len(traces) == before
        assert np.abs(first - other).max() > 0

    def test_the_conjugate_of_a_linear_model(self, name, options):
        model = _Linear((4, 6), 4)
        order = _DUAL[options.get("norm", "l2")]
        near = model.distances(order).argmin(1)
        field = _conjugate(name, model, model.images, model.labels, bounds=None, **options)
        wanted = model.slopes()[np.arange(8), near].reshape(8, 4, 6)
        np.testing.assert_allclose(field, wanted, atol=1e-5)

    def test_the_conjugate_of_a_misclassified_image(self, name, options, classifier, batch):
        images, labels = batch
        field = _conjugate(name, classifier, images, (labels + 1) % 5, **options)
        assert np.isfinite(field).all()
        assert (np.abs(field).reshape(11, -1).max(1) > 0).all()


def _wall(size):
    """Two classes of a curved gap that is nowhere closed."""

    def logits_fn(images):
        gap = tf.nn.softplus(tf.reduce_sum(images, 1) / size) + 0.1
        return tf.stack([gap, 0 * gap], 1)

    return logits_fn


@pytest.mark.parametrize(
    "name,options,message",
    [
        ("deepfool", {"norm": "l1"}, "norm"),
        ("deepfool", {"num_classes": 1}, "num_classes must be"),
        ("deepfool", {"num_classes": 2.5}, "num_classes must be an integer"),
        ("deepfool", {"overshoot": -0.1}, "overshoot must be"),
        ("deepfool", {"num_steps": 0}, "num_steps must be"),
        ("sparsefool", {"lambda_": 0.5}, "lambda_ must be"),
        ("sparsefool", {"num_classes": "all"}, "num_classes must be"),
        ("sparsefool", {"overshoot": float("nan")}, "overshoot must be"),
        ("sparsefool", {"lamda": 1.0}, "Did you mean 'lambda_'"),
    ],
)
def test_bad_options(name, options, message):
    with pytest.raises(InputError, match=message):
        attacks.build_method(name, **options)
