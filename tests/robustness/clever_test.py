"""CLEVER: closed forms, SciPy's Weibull fit, invariances."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import optimize, stats

from qup.core import norms, prng
from qup.core.errors import InputError
from qup.robustness import clever, compute_clever

_QUICK = {"num_batches": 6, "num_samples": 8, "batch_size": 32}
_ORDER = {"l2": 2, "linf": 1, "l1": np.inf}


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((6, 5, 2)),
            keras.layers.Conv2D(6, 3, activation="tanh"),
            keras.layers.Flatten(),
            keras.layers.Dense(4),
        ]
    )


@pytest.fixture(scope="module")
def batch(classifier):
    images = np.random.default_rng(0).random((5, 6, 5, 2), np.float32)
    return images, np.argmax(classifier(images), -1)


def _linear(shape, classes=4):
    """A linear model, images, labels, gaps and differences of weights."""
    size, rng = int(np.prod(shape)), np.random.default_rng(2)
    weights = rng.normal(size=(size, classes))

    def logits_fn(images):
        flat = tf.reshape(images, (-1, size))
        return flat @ tf.constant(weights, tf.float32)

    images = rng.uniform(size=(5, *shape)).astype(np.float32)
    logits = images.reshape(5, -1) @ weights
    labels = np.argmax(logits, 1)
    gaps = logits.max(1, keepdims=True) - logits
    slope = weights.T[labels][:, None] - weights.T
    return logits_fn, images, labels, gaps, slope


@pytest.mark.parametrize("shape", [(8,), (4, 6), (5, 7, 3)])
@pytest.mark.parametrize("norm", ["l2", "linf", "l1"])
def test_linear_model_gives_the_exact_distance(norm, shape):
    logits_fn, images, labels, gaps, slope = _linear(shape)
    size = np.linalg.norm(slope, _ORDER[norm], axis=2)
    rows = np.arange(5)[:, None]
    others = np.sort((labels[:, None] + np.arange(1, 4)) % 4, 1)
    exact = gaps[rows, others] / size[rows, others]
    # Some are nearer than the radius, some are not.
    radius = float(np.median(exact))
    result = compute_clever(logits_fn, images, labels, norm=norm, radius=radius, **_QUICK)
    np.testing.assert_array_equal(result.targets, others)
    np.testing.assert_allclose(result.scores, np.minimum(exact, radius), rtol=1e-4)
    np.testing.assert_allclose(result.lipschitz, size[rows, others], rtol=1e-5)
    assert not result.fitted.any() and np.isnan(result.p_values).all()
    assert result.gradient_calls == 6 * 8 * 3
    np.testing.assert_array_equal(result.untargeted, result.scores.min(1))


@pytest.mark.parametrize("columns", [None, 1, 2])
def test_scores_of_targets_are_those_among_all(columns, classifier, batch):
    images, labels = batch
    complete = compute_clever(classifier, images, labels, **_QUICK)
    targets = complete.targets[:, 0 if columns is None else slice(columns)]
    result = compute_clever(classifier, images, labels, targets=targets, **_QUICK)
    count = columns or 1
    assert result.scores.shape == (5, count)
    assert result.gradient_calls == 6 * 8 * count
    np.testing.assert_allclose(result.scores, complete.scores[:, :count], rtol=1e-3)


def test_samples_are_those_of_the_ball_and_the_box(classifier, batch):
    images, labels = batch
    targets = (labels[:, None] + [[1, 3]]) % 4
    ids = np.arange(5) + 40
    for norm in ("l2", "linf", "l1"):
        result = clever.compute_max_gradients(
            classifier,
            clever.TargetedExamples(images, labels, targets.astype(np.int32), ids),
            clever.SampleBall(norm, 0.7, (0.0, 1.0), 3),
            clever.SampleSizes(num_batches=3, num_samples=4, batch_size=7),
            "off",
        )
        for i in range(5):
            keys = prng.make_keys(3, np.full(12, ids[i]), np.arange(12))
            like = tf.repeat(images[i : i + 1], 12, axis=0)
            points = like + norms.sample(like, 0.7, norm, keys)
            points = tf.clip_by_value(points, 0, 1)
            for k in range(2):
                with tf.GradientTape() as tape:
                    tape.watch(points)
                    logits = classifier(points)
                    gap = logits[:, labels[i]] - logits[:, targets[i, k]]
                slope = tape.gradient(gap, points).numpy().reshape(12, -1)
                size = np.linalg.norm(slope, _ORDER[norm], axis=1)
                np.testing.assert_allclose(result[i, :, k], size.reshape(3, 4).max(1), rtol=1e-4)


def test_a_parabola_gives_the_end_point():
    def parabola(images):
        fall = 2 - tf.reduce_sum(tf.square(images), 1) / 2
        return tf.stack([fall, 0 * fall], 1)

    # The gradient norm of 2 - |x|^2 / 2 is |x|: at most the radius.
    result = compute_clever(
        parabola,
        np.zeros((2, 3), np.float32),
        [0, 0],
        radius=1.5,
        bounds=None,
        num_samples=64,
        batch_size=640,
    )
    assert result.fitted.all() and (result.p_values > 0.01).all()
    np.testing.assert_allclose(result.lipschitz, 1.5, rtol=2e-3)
    np.testing.assert_allclose(result.scores, 2 / 1.5, rtol=2e-3)


def test_a_sample_without_a_fit_gives_its_maximum():
    def kink(images):
        rise = images[:, 0] + 30 * tf.nn.relu(images[:, 0] - 0.9)
        return tf.stack([2 - rise, 0 * rise], 1)

    # A batch either meets the kink, or does not: two values alone.
    result = compute_clever(
        kink,
        np.full((1, 1), 0.5, np.float32),
        [0],
        radius=0.5,
        norm="linf",
        num_samples=7,
        batch_size=350,
    )
    assert not result.fitted.any()
    assert result.p_values[0, 0] < 1e-3
    np.testing.assert_allclose(result.lipschitz, 31)


@pytest.mark.parametrize("shape", [1, 2.5, 6])
def test_the_fit_recovers_the_end_point(shape):
    ends = []
    for seed in range(5):
        gaps = stats.weibull_min.rvs(shape, size=400, random_state=seed)
        end, p_value = clever.fit_reverse_weibull(7 - gaps / 5)
        assert end >= (7 - gaps / 5).max() and p_value > 0.05
        ends.append(end)
    assert abs(np.mean(ends) - 7) < 0.04


@pytest.mark.parametrize("shape", [2, 6, 15])
def test_the_fit_is_that_of_scipy(shape):
    gaps = stats.weibull_min.rvs(shape, size=50, random_state=4)
    sample = 3 - gaps
    inside = (sample.max() - sample) / np.ptp(sample)

    def penalised(function, start, args, disp):
        return optimize.fmin(
            lambda arguments, *rest: function(arguments, *rest) + 0.01 * arguments[0] ** 2,
            start,
            args=args,
            disp=False,
        )

    fits = [stats.weibull_min.fit(inside, start, optimizer=penalised) for start in (1, 5, 20)]
    p_values = [stats.kstest(inside, "weibull_min", args=fit).pvalue for fit in fits]
    best = int(np.argmax(p_values))
    end, p_value = clever.fit_reverse_weibull(sample)
    expected = sample.max() - np.ptp(sample) * fits[best][1]
    np.testing.assert_allclose(end, expected, atol=1e-3)
    np.testing.assert_allclose(p_value, p_values[best], atol=1e-3)


def test_neither_batch_nor_order_matter(classifier, batch):
    images, labels = batch
    options = _QUICK | {"radius": 0.5}
    complete = compute_clever(classifier, images, labels, **options)
    assert complete.fitted.any()
    order = np.array([3, 1, 4, 0, 2])
    other = compute_clever(
        classifier, images[order], labels[order], ids=order, **options | {"batch_size": 13}
    )
    np.testing.assert_array_equal(other.targets, complete.targets[order])
    np.testing.assert_allclose(other.scores, complete.scores[order], rtol=1e-3)


def test_the_seed_chooses_the_samples(classifier, batch):
    one, same, other = (
        compute_clever(classifier, *batch, seed=seed, **_QUICK).scores for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).all()


def test_units_and_scales_do_not_matter(classifier, batch):
    images, labels = batch
    one = compute_clever(classifier, images, labels, **_QUICK)

    def bytes_fn(images):
        return 20 * classifier(images / 255)

    many = compute_clever(bytes_fn, images * 255, labels, bounds=(0, 255), **_QUICK)
    np.testing.assert_allclose(many.scores, 255 * one.scores, rtol=1e-3)


def test_a_misclassified_image_scores_nothing(classifier, batch):
    images, labels = batch
    logits = classifier(images).numpy()
    incorrect = np.argsort(logits, 1)[:, -2]
    result = compute_clever(classifier, images, incorrect, **_QUICK)
    np.testing.assert_array_equal(result.untargeted, 0)
    assert (result.scores[result.targets != labels[:, None]] > 0).all()


def test_a_zero_gradient_scores_the_radius():
    def flat(images):
        return tf.constant([0.0, 2.0, 2.0]) + 0 * images[:, :3]

    images = np.full((2, 4), 0.5, np.float32)
    result = compute_clever(flat, images, [1, 0], radius=0.7, **_QUICK)
    np.testing.assert_allclose(result.scores, [[0.7, 0], [0, 0]])
    assert (result.lipschitz == 0).all() and not result.fitted.any()


def test_xla_scores_the_same():
    logits_fn, images, labels, *_ = _linear((8,))
    scores = [
        compute_clever(logits_fn, images, labels, xla=xla, **_QUICK).scores for xla in ("on", "off")
    ]
    np.testing.assert_allclose(*scores, rtol=1e-5)


def test_a_classifier_without_gradient_is_reported():
    images = np.ones((2, 3), np.float32)
    with pytest.raises(InputError, match="no gradient"):
        compute_clever(tf.round, images, [0, 1], **_QUICK)


def test_a_gradient_that_is_not_finite_is_reported():
    def steep(images):
        root = tf.sqrt(tf.reduce_sum(images, 1) * 0)
        return tf.stack([1 + root, root], 1) * (1 + root)[:, None]

    with pytest.raises(InputError, match="NaN or infinite"):
        compute_clever(steep, np.ones((1, 3), np.float32), [0], **_QUICK)


@pytest.mark.parametrize(
    "change,message",
    [
        ({"norm": "l0"}, "norm"),
        ({"radius": 0}, "radius must be"),
        ({"num_batches": 0}, "num_batches must be"),
        ({"num_samples": 1.5}, "num_samples must be an integer"),
        ({"batch_size": None}, "batch_size must be"),
        ({"bounds": (1, 0)}, "bounds must be"),
        ({"bounds": 1}, "bounds must be"),
        ({"bounds": (0, 0.1)}, "outside the bounds"),
        ({"images": np.zeros((5, 3), np.int32)}, "floating point"),
        ({"images": np.zeros((0, 3), np.float32), "labels": np.zeros(0, int)}, "At least one"),
        ({"labels": np.zeros(4, int)}, "one per image"),
        ({"labels": np.full(5, 4)}, "Labels must be 0 to 3"),
        ({"targets": [0, 1, 2, 3]}, "Targets must be classes"),
        ({"targets": np.zeros((5, 0), int)}, "Targets must be classes"),
        ({"targets": np.full(5, 9)}, "Targets must be classes"),
        ({"targets": "all"}, "Targets must be classes"),
    ],
)
def test_bad_options(change, message, classifier, batch):
    arguments = {"images": batch[0], "labels": batch[1]} | _QUICK | change
    with pytest.raises(InputError, match=message):
        compute_clever(classifier, **arguments)


def test_a_target_is_not_the_label(classifier, batch):
    with pytest.raises(InputError, match="different from the image"):
        compute_clever(classifier, *batch, targets=batch[1], **_QUICK)
