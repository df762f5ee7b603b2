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
        victim = attacks.QueryCounter(logits_fn, len(labels))
        state = method.step(victim, examples, state)
        if np.any(state["mean"]):
            # Adam's first mean is a tenth of the first gradient.
            return state["mean"].numpy() * 10, batches, victim.forward_calls
    raise AssertionError("No gradient after 19 batches.")


@pytest.mark.parametrize("shape", [(8,), (4, 6), (5, 7, 2)])
def test_estimates_the_gradient(shape):
    logits_fn, weights = black_box.linear(shape, classes=2)
    images = black_box.grid_images(20, shape)
    labels = black_box.classes(logits_fn, images)
    found, batches, calls = _one_gradient(logits_fn, images, labels)
    # 128 samples in four batches, each with the image itself.
    assert (batches, calls) == (4, 33)
    slopes = (weights[..., 1] - weights[..., 0]).reshape(-1)
    slopes = np.where(labels == 0, 1, -1)[:, None] * slopes
    found = found.reshape(20, -1)
    inner = np.sum(found * slopes, 1)
    cosine = inner / np.linalg.norm(found, axis=1)
    cosine /= np.linalg.norm(slopes, axis=1)
    assert (cosine > 0.5).all()
    # Unbiased: along the gradient it has the gradient's length.
    ratio = inner / np.sum(slopes**2, 1)
    np.testing.assert_allclose(ratio.mean(), 1, atol=0.15)


@pytest.mark.parametrize(
    "num_samples,batches,calls", [(2, 1, 3), (32, 1, 33), (34, 2, 19), (128, 4, 33)]
)
def test_samples_come_in_batches(num_samples, batches, calls):
    logits_fn, _ = black_box.linear((4, 6))
    images = black_box.grid_images(3, (4, 6))
    labels = black_box.classes(logits_fn, images)
    counted = _one_gradient(logits_fn, images, labels, num_samples=num_samples)[1:]
    assert counted == (batches, calls)


def test_adam_equals_the_naive_one():
    """Two steps on a model of one pixel, whose gradients are known."""
    slopes, rate, at = (3.0, 0.5), 0.02, 0.5

    def logits_fn(images):
        # The first step crosses the edge, where the slope changes.
        steep = tf.where(images > 0.51, slopes[1], slopes[0])
        rise = steep * (images - 0.51)
        return tf.concat([tf.ones_like(rise), rise], 1)

    method = attacks.build_method(
        "spsa", epsilon=1.0, learning_rate=rate, delta=1e-3, num_samples=2
    )
    examples = _examples(np.full((1, 1), at, np.float32), [0], 1.0)
    victim = attacks.QueryCounter(logits_fn, 1)
    state = method.init(victim, examples)
    state["images"] = examples.images
    mean = square = 0.0
    for t, slope in enumerate(slopes, 1):
        mean = 0.9 * mean + 0.1 * slope
        square = 0.999 * square + 0.001 * slope**2
        size = np.sqrt(square / (1 - 0.999**t))
        at += rate * mean / (1 - 0.9**t) / size
        state = method.step(victim, examples, state)
        np.testing.assert_allclose(state["images"], [[at]], atol=1e-5)


@pytest.mark.parametrize("shape", [(8,), (4, 6), (5, 7, 3)])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_linear_model_is_broken_where_it_can_be(norm, shape):
    logits_fn, weights = black_box.linear(shape)
    images = black_box.grid_images(32, shape)
    labels = black_box.classes(logits_fn, images)
    far = black_box.linear_distances(weights, images, labels, _DUALS[norm])
    epsilon = 1.2 * float(np.median(far))
    found = black_box.run(
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
    assert not found.success[far > epsilon * (1 + 1e-4)].any()
    assert found.success[far < epsilon / 1.2].mean() > 0.9
    # The clean image once, then 60 gradients of 4 x 33 images.
    assert found.forward_calls[~found.success] == pytest.approx(7921)
    assert found.forward_calls[found.success].mean() < 4000
    assert (found.gradient_calls == 0).all()
    lengths = black_box.lengths(found.images, images, norm)
    assert (lengths <= epsilon * (1 + 1e-5)).all()
    np.testing.assert_array_equal(found.images[~found.success], images[~found.success])


@pytest.mark.parametrize("width", [1.0, 256.0])
def test_stays_inside_box_and_ball(width):
    logits_fn, _ = black_box.linear((4, 6))
    images = black_box.grid_images(32, (4, 6)) * width
    labels = black_box.classes(logits_fn, images)
    for norm, epsilon in (("linf", 0.05 * width), ("l2", 0.2 * width)):
        moved = attacks.get("spsa")(
            logits_fn, images, labels, epsilon=epsilon, norm=norm, bounds=(0, width), num_steps=4
        )
        lengths = black_box.lengths(moved, images, norm)
        assert (lengths <= epsilon * (1 + 1e-5)).all() and (lengths > 0).all()
        assert np.min(moved) >= 0 and np.max(moved) <= width


def _setting():
    shape = (4, 6)
    logits_fn, _ = black_box.linear(shape, exact=False)
    images = black_box.grid_images(16, shape)
    labels = black_box.classes(logits_fn, images)
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
        found = black_box.run(
            "spsa", logits_fn, images, labels, ids=ids, batch_size=size, **options
        )
        hit = found.success
        assert 0 < hit.sum() < 16
        np.testing.assert_allclose(found.images[hit], whole[hit], atol=1e-5)
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
    found = black_box.run(
        "spsa",
        logits_fn,
        images,
        targets,
        epsilon=0.5,
        targeted=True,
        learning_rate=0.1,
        num_steps=20,
    )
    assert found.success.mean() > 0.8
    reached = black_box.classes(logits_fn, found.images) == targets
    np.testing.assert_array_equal(reached, found.success)


def test_misclassified_images_are_their_own_answers():
    logits_fn, images, labels, options = _setting()
    found = black_box.run("spsa", logits_fn, images, (labels + 1) % 3, **options)
    assert found.success.all() and (found.forward_calls == 1).all()
    np.testing.assert_array_equal(found.images, images)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_constant_model_and_no_budget(norm):
    logits_fn, images, labels, options = _setting()
    options["norm"] = norm
    constant = black_box.constant()
    labels = np.zeros_like(labels)
    moved = attacks.get("spsa")(constant, images, labels, **options)
    assert np.isfinite(moved).all()
    found = black_box.run("spsa", constant, images, labels, **options)
    assert not found.success.any()
    np.testing.assert_array_equal(found.images, images)
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
    return black_box.digits()


@pytest.mark.parametrize("norm,epsilon", [("linf", 0.15), ("l2", 0.9)])
def test_beats_noise_of_the_same_size(norm, epsilon, digits):
    network, images, labels = digits
    found = black_box.run("spsa", network, images, labels, epsilon=epsilon, norm=norm, num_steps=20)
    keys = prng.make_keys(1, tf.range(len(labels)))
    noise = norms.normalise(prng.normal(keys, (8, 8, 1)), norm)
    noisy = np.clip(images + epsilon * noise, 0, 1)
    by_noise = np.mean(black_box.classes(network, noisy) != labels)
    assert found.success.mean() > by_noise + 0.3


def test_needs_no_gradient(digits):
    network, images, labels = digits
    rounded = black_box.rounding(network)
    labels = black_box.classes(rounded, images)
    with pytest.raises(InputError, match="no gradient"):
        attacks.get("pgd")(rounded, images, labels, epsilon=0.2)
    # Samples less than half a level away would all be rounded alike.
    found = black_box.run("spsa", rounded, images, labels, epsilon=0.2, delta=0.05, num_steps=20)
    assert found.success.mean() > 0.5
