"""SPSA: its gradient, closed forms, invariances, failures, real digits."""

import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.core import norms, prng
from qup.core.errors import InputError
from tests.attacks import black_box

_DUALS = {"linf": 1, "l2": 2}


def _examples(images, labels, epsilon=0.1):
    count = len(labels)
    return attacks.Examples(
        tf.constant(images),
        tf.constant(labels),
        tf.range(count, dtype=tf.int64),
        tf.fill([count], epsilon),
        tf.constant(0),
    )


def _one_gradient(logits_fn, images, labels, **options):
    """Runs the steps that end with Adam's first; returns what they counted.

    Returns:
      (gradients, batches, calls of one batch).
    """
    method = attacks.build_method("spsa", epsilon=0.1, **options)
    examples = _examples(images, labels)
    state = method.init(attacks.QueryCounter(logits_fn, len(labels)), examples)
    for batches in range(1, 20):
        classifier = attacks.QueryCounter(logits_fn, len(labels))
        state = method.step(classifier, examples, state)
        if np.any(state["mean"]):
            # Adam's first mean is a tenth of the first gradient.
            return state["mean"].numpy() * 10, batches, classifier.forward_calls
    raise AssertionError("No gradient after 19 batches.")


@pytest.mark.parametrize("shape", [(8,), (4, 6), (5, 7, 2)])
def test_estimates_the_gradient(shape):
    logits_fn, weights = black_box.build_linear_classifier(shape, classes=2)
    images = black_box.build_grid_images(20, shape)
    labels = black_box.predict_classes(logits_fn, images)
    result, batches, calls = _one_gradient(logits_fn, images, labels)
    # 128 samples in four batches, each with the image itself.
    assert (batches, calls) == (4, 33)
    gradients = (weights[..., 1] - weights[..., 0]).reshape(-1)
    gradients = np.where(labels == 0, 1, -1)[:, None] * gradients
    result = result.reshape(20, -1)
    inner = np.sum(result * gradients, 1)
    cosine = inner / np.linalg.norm(result, axis=1)
    cosine /= np.linalg.norm(gradients, axis=1)
    assert (cosine > 0.5).all()
    # Unbiased: along the gradient it has the gradient's length.
    ratio = inner / np.sum(gradients**2, 1)
    np.testing.assert_allclose(ratio.mean(), 1, atol=0.15)


@pytest.mark.parametrize(
    "num_samples,batches,calls", [(2, 1, 3), (32, 1, 33), (34, 2, 19), (128, 4, 33)]
)
def test_samples_come_in_batches(num_samples, batches, calls):
    logits_fn, _ = black_box.build_linear_classifier((4, 6))
    images = black_box.build_grid_images(3, (4, 6))
    labels = black_box.predict_classes(logits_fn, images)
    counted = _one_gradient(logits_fn, images, labels, num_samples=num_samples)[1:]
    assert counted == (batches, calls)


def test_adam_equals_the_naive_one():
    """Two steps on a model of one pixel, whose gradients are known."""
    gradients, rate, at = (3.0, 0.5), 0.02, 0.5

    def logits_fn(images):
        # The first step crosses the edge, where the slope changes.
        steep = tf.where(images > 0.51, gradients[1], gradients[0])
        rise = steep * (images - 0.51)
        return tf.concat([tf.ones_like(rise), rise], 1)

    method = attacks.build_method(
        "spsa", epsilon=1.0, learning_rate=rate, delta=1e-3, num_samples=2
    )
    examples = _examples(np.full((1, 1), at, np.float32), [0], 1.0)
    classifier = attacks.QueryCounter(logits_fn, 1)
    state = method.init(classifier, examples)
    state["images"] = examples.images
    mean = square = 0.0
    for t, gradient in enumerate(gradients, 1):
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        size = np.sqrt(square / (1 - 0.999**t))
        at += rate * mean / (1 - 0.9**t) / size
        state = method.step(classifier, examples, state)
        np.testing.assert_allclose(state["images"], [[at]], atol=1e-5)


@pytest.mark.parametrize("shape", [(8,), (4, 6), (5, 7, 3)])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_linear_model_is_broken_where_it_can_be(norm, shape):
    logits_fn, weights = black_box.build_linear_classifier(shape)
    images = black_box.build_grid_images(32, shape)
    labels = black_box.predict_classes(logits_fn, images)
    distances = black_box.compute_linear_distances(weights, images, labels, _DUALS[norm])
    epsilon = 1.2 * float(np.median(distances))
    result = black_box.run_attack(
        "spsa",
        logits_fn,
        images,
        labels,
        epsilon=epsilon,
        norm=norm,
        bounds=None,
        num_steps=60,
        learning_rate=epsilon / 8,
    )
    assert not result.success[distances > epsilon * (1 + 1e-4)].any()
    assert result.success[distances < epsilon / 1.2].mean() > 0.9
    # The clean image once, then 60 gradients of 4 x 33 images.
    assert result.forward_calls[~result.success] == pytest.approx(7921)
    assert result.forward_calls[result.success].mean() < 4000
    assert (result.gradient_calls == 0).all()
    lengths = black_box.compute_norms(result.images, images, norm)
    assert (lengths <= epsilon * (1 + 1e-5)).all()
    np.testing.assert_array_equal(result.images[~result.success], images[~result.success])


@pytest.mark.parametrize("width", [1.0, 256.0])
def test_stays_inside_box_and_ball(width):
    logits_fn, _ = black_box.build_linear_classifier((4, 6))
    images = black_box.build_grid_images(32, (4, 6)) * width
    labels = black_box.predict_classes(logits_fn, images)
    for norm, epsilon in (("linf", 0.05 * width), ("l2", 0.2 * width)):
        adversarial = attacks.get("spsa")(
            logits_fn, images, labels, epsilon=epsilon, norm=norm, bounds=(0, width), num_steps=4
        )
        lengths = black_box.compute_norms(adversarial, images, norm)
        assert (lengths <= epsilon * (1 + 1e-5)).all() and (lengths > 0).all()
        assert np.min(adversarial) >= 0 and np.max(adversarial) <= width


def _setting():
    shape = (4, 6)
    logits_fn, _ = black_box.build_linear_classifier(shape, exact=False)
    images = black_box.build_grid_images(16, shape)
    labels = black_box.predict_classes(logits_fn, images)
    options = {"epsilon": 1 / 16, "num_steps": 6, "num_samples": 40}
    return logits_fn, images, labels, options


def test_rows_depend_on_nothing_but_themselves():
    logits_fn, images, labels, options = _setting()
    ids = np.arange(16) + 9
    attack = attacks.get("spsa")
    whole = attack(logits_fn, images, labels, ids=ids, **options).numpy()
    order = np.random.default_rng(0).permutation(16)
    mixed = attack(logits_fn, images[order], labels[order], ids=ids[order], **options)
    np.testing.assert_allclose(mixed, whole[order], atol=1e-5)
    for size in (1, 6):
        result = black_box.run_attack(
            "spsa", logits_fn, images, labels, ids=ids, batch_size=size, **options
        )
        success = result.success
        assert 0 < success.sum() < 16
        np.testing.assert_allclose(result.images[success], whole[success], atol=1e-5)
    other = attack(logits_fn, images, labels, ids=ids, seed=1, **options)
    assert (np.abs(other - whole).max((1, 2)) > 1e-3).all()


def test_scales_of_box_and_logits_change_nothing():
    logits_fn, images, labels, options = _setting()
    attack = attacks.get("spsa")
    whole = attack(logits_fn, images, labels, **options)
    louder = attack(lambda images: 8 * logits_fn(images), images, labels, **options)
    np.testing.assert_allclose(louder, whole, atol=1e-5)
    options |= {"bounds": (0, 256), "epsilon": 16.0}
    wide = attack(lambda images: logits_fn(images / 256), images * 256, labels, **options)
    np.testing.assert_allclose(wide / 256, whole, atol=1e-5)


def test_targets_are_reached():
    logits_fn, images, labels, _ = _setting()
    targets = (labels + 1) % 3
    result = black_box.run_attack(
        "spsa",
        logits_fn,
        images,
        targets,
        epsilon=0.5,
        targeted=True,
        learning_rate=0.1,
        num_steps=20,
    )
    assert result.success.mean() > 0.8
    reached = black_box.predict_classes(logits_fn, result.images) == targets
    np.testing.assert_array_equal(reached, result.success)


def test_misclassified_images_are_their_own_answers():
    logits_fn, images, labels, options = _setting()
    result = black_box.run_attack("spsa", logits_fn, images, (labels + 1) % 3, **options)
    assert result.success.all() and (result.forward_calls == 0).all()
    np.testing.assert_array_equal(result.images, images)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_constant_model_and_no_budget(norm):
    logits_fn, images, labels, options = _setting()
    options["norm"] = norm
    constant = black_box.build_constant_classifier()
    labels = np.zeros_like(labels)
    adversarial = attacks.get("spsa")(constant, images, labels, **options)
    assert np.isfinite(adversarial).all()
    result = black_box.run_attack("spsa", constant, images, labels, **options)
    assert not result.success.any()
    np.testing.assert_array_equal(result.images, images)
    options["epsilon"] = 0.0
    still = attacks.get("spsa")(logits_fn, images, labels, **options)
    np.testing.assert_array_equal(still, images)


def test_a_sweep_traces_once():
    logits_fn, images, labels, options = _setting()
    traces = []

    def counted(images):
        traces.append(images.shape)
        return logits_fn(images)

    attack = attacks.get("spsa")
    options |= {"delta": 0.01}
    attack(counted, images, labels, **options)
    first = len(traces)
    options |= {"delta": 0.02, "epsilon": 0.2, "num_steps": 2}
    attack(counted, images, labels, **options)
    assert len(traces) == first


@pytest.mark.parametrize(
    "options,message",
    [
        ({"num_samples": 0}, "num_samples must be"),
        ({"num_samples": 7}, "even"),
        ({"num_samples": 2.5}, "must be an integer"),
        ({"num_steps": 0}, "num_steps must be"),
        ({"learning_rate": 0}, "learning_rate must be"),
        ({"delta": -0.1}, "delta must be"),
        ({"loss": "hinge"}, "Unknown loss"),
        ({"norm": "l1"}, "Unknown norm"),
        ({"restarts": 2}, "restarts"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        attacks.build_method("spsa", **{"epsilon": 0.1} | options)


@pytest.fixture(scope="module")
def digits():
    return black_box.train_digits_classifier()


@pytest.mark.parametrize("norm,epsilon", [("linf", 0.15), ("l2", 0.9)])
def test_beats_noise_of_the_same_size(norm, epsilon, digits):
    network, images, labels = digits
    result = black_box.run_attack(
        "spsa", network, images, labels, epsilon=epsilon, norm=norm, num_steps=20
    )
    keys = prng.make_keys(1, tf.range(len(labels)))
    noise = norms.normalise(prng.normal(keys, (8, 8, 1)), norm)
    noisy = np.clip(images + epsilon * noise, 0, 1)
    by_noise = np.mean(black_box.predict_classes(network, noisy) != labels)
    assert result.success.mean() > by_noise + 0.3


def test_needs_no_gradient(digits):
    network, images, labels = digits
    rounded = black_box.add_rounding(network)
    labels = black_box.predict_classes(rounded, images)
    with pytest.raises(InputError, match="no gradient"):
        attacks.get("pgd")(rounded, images, labels, epsilon=0.2)
    # Samples less than half a level away would all be rounded alike.
    result = black_box.run_attack(
        "spsa", rounded, images, labels, epsilon=0.2, delta=0.05, num_steps=20
    )
    assert result.success.mean() > 0.5
