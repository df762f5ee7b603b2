"""Square Attack: closed forms, invariances, failures, real digits."""

import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.attacks import losses
from qup.core import norms, prng
from qup.core.errors import InputError
from tests.attacks import black_box

_DUALS = {"linf": 1, "l2": 2, "l1": np.inf}


@pytest.mark.parametrize(
    "norm,room",
    [
        ("linf", 1.02),
        pytest.param("l2", 1.2, marks=pytest.mark.slow),
        pytest.param("l1", 2.0, marks=pytest.mark.slow),
    ],
)
def test_linear_model_is_broken_where_it_can_be(norm, room):
    shape = (4, 5, 1)
    logits_fn, weights = black_box.build_linear_classifier(shape)
    images = black_box.build_grid_images(48, shape)
    labels = black_box.predict_classes(logits_fn, images)
    distances = black_box.compute_linear_distances(weights, images, labels, _DUALS[norm])
    epsilon = 1.5 * float(np.median(distances))
    result = black_box.run_attack(
        "square",
        logits_fn,
        images,
        labels,
        epsilon=epsilon,
        norm=norm,
        bounds=None,
        num_queries=600,
    )
    assert not result.success[distances > epsilon * (1 + 1e-4)].any()
    # Windows of 3 x 3 leave some of an L2 or L1 ball's edge unused.
    assert np.sum(distances < epsilon / room) > 15
    assert result.success[distances < epsilon / room].mean() > 0.9
    # The clean image, and 600 queries.
    assert (result.forward_calls[~result.success] == 601).all()


@pytest.mark.parametrize(
    "norm,bounds",
    [
        ("linf", (0, 1)),
        ("linf", None),
        ("l2", (0, 255)),
        ("l2", None),
        ("l1", (0, 255)),
        ("l1", None),
    ],
)
def test_stays_inside_and_gives_failures_back(norm, bounds):
    width = 1.0 if bounds is None else float(bounds[1])
    shape = (5, 7, 3)
    logits_fn, _ = black_box.build_linear_classifier(shape, classes=4)
    images = black_box.build_grid_images(32, shape) * width
    labels = black_box.predict_classes(logits_fn, images)
    epsilon = {"linf": 0.05, "l2": 0.3, "l1": 2.0}[norm] * width
    options = {"epsilon": epsilon, "norm": norm, "bounds": bounds}
    options["num_queries"] = 40
    adversarial = attacks.get("square")(logits_fn, images, labels, **options)
    result = black_box.run_attack("square", logits_fn, images, labels, **options)
    for ends in (adversarial.numpy(), result.images):
        assert np.isfinite(ends).all()
        assert (black_box.compute_norms(ends, images, norm) <= epsilon * (1 + 1e-5)).all()
        if bounds:
            assert ends.min() >= 0 and ends.max() <= width
    assert 0 < result.success.sum() < 32
    np.testing.assert_array_equal(result.images[~result.success], images[~result.success])
    wrong = black_box.predict_classes(logits_fn, result.images) != labels
    np.testing.assert_array_equal(wrong, result.success)


def _exact():
    """A linear model whose sums are exact, so that results are too."""
    shape = (6, 5, 2)
    logits_fn, _ = black_box.build_linear_classifier(shape)
    images = black_box.build_grid_images(24, shape)
    labels = black_box.predict_classes(logits_fn, images)
    options = {"epsilon": 1 / 16, "num_queries": 30, "ids": np.arange(24) + 9}
    return logits_fn, images, labels, options


def test_rows_depend_on_nothing_but_themselves():
    logits_fn, images, labels, options = _exact()
    whole = attacks.get("square")(logits_fn, images, labels, **options)
    order = np.random.default_rng(0).permutation(24)
    ids = options.pop("ids")
    mixed = attacks.get("square")(
        logits_fn, images[order], labels[order], ids=ids[order], **options
    )
    np.testing.assert_array_equal(mixed, whole.numpy()[order])
    results = [
        black_box.run_attack(
            "square", logits_fn, images, labels, ids=ids, batch_size=size, **options
        )
        for size in (1, 9, 24)
    ]
    assert 0 < results[0].success.sum() < 24
    for other in results[1:]:
        np.testing.assert_array_equal(other.images, results[0].images)
        np.testing.assert_array_equal(other.forward_calls, results[0].forward_calls)


def test_scales_of_box_and_logits_change_nothing():
    logits_fn, images, labels, options = _exact()
    whole = attacks.get("square")(logits_fn, images, labels, **options)
    louder = attacks.get("square")(lambda images: 8 * logits_fn(images), images, labels, **options)
    np.testing.assert_array_equal(louder, whole)
    options |= {"bounds": (0, 256), "epsilon": 16.0}
    wide = attacks.get("square")(
        lambda images: logits_fn(images / 256), images * 256, labels, **options
    )
    np.testing.assert_array_equal(wide / 256, whole)


def test_seeds_and_restarts():
    logits_fn, images, labels, options = _exact()
    options = {"epsilon": 1 / 16, "num_queries": 12}

    def broken(**more):
        result = black_box.run_attack("square", logits_fn, images, labels, **options | more)
        return result.success, result.images

    once, ends = broken()
    np.testing.assert_array_equal(ends, broken(seed=0)[1])
    assert np.any(ends != broken(seed=1)[1])
    thrice, _ = broken(restarts=3)
    # The first search of three is the one alone; the others break more.
    assert (thrice >= once).all() and thrice.sum() > once.sum()


@pytest.mark.parametrize("targeted,loss", [(False, losses.margin), (True, losses.cross_entropy)])
def test_climbs_the_margin_or_descends_to_the_target(targeted, loss):
    logits_fn, images, labels, _ = _exact()
    examples = attacks.Examples(
        tf.constant(images),
        tf.constant(labels),
        tf.range(24, dtype=tf.int64),
        tf.fill([24], 0.1),
        tf.constant(0),
    )
    method = attacks.build_method("square", epsilon=0.1, targeted=targeted)
    state = method.init(attacks.QueryCounter(logits_fn, 24), examples)
    for _ in range(5):
        before = state
        state = method.step(attacks.QueryCounter(logits_fn, 24), examples, state)
        sign = -1 if targeted else 1
        value = sign * loss(logits_fn(state["images"]), labels)
        better = value > before["loss"]
        np.testing.assert_array_equal(state["loss"] > before["loss"], better)
        kept = ~better.numpy() & ~state["success"].numpy()
        np.testing.assert_array_equal(state["images"][kept], before["images"][kept])
        np.testing.assert_allclose(state["loss"], value, atol=1e-5)
    assert before["queries"].numpy().tolist() == [5] * 24


def test_targets_are_reached():
    logits_fn, images, labels, _ = _exact()
    targets = (labels + 1) % 3
    result = black_box.run_attack(
        "square", logits_fn, images, targets, epsilon=0.3, targeted=True, num_queries=400
    )
    assert result.success.mean() > 0.8
    reached = black_box.predict_classes(logits_fn, result.images) == targets
    np.testing.assert_array_equal(reached, result.success)


def test_misclassified_images_are_their_own_answers():
    logits_fn, images, labels, _ = _exact()
    result = black_box.run_attack("square", logits_fn, images, (labels + 1) % 3, epsilon=0.1)
    assert result.success.all() and (result.forward_calls == 0).all()
    np.testing.assert_array_equal(result.images, images)


@pytest.mark.parametrize("norm", norms.NAMES)
def test_constant_model_and_no_budget(norm):
    images = black_box.build_grid_images(6, (6, 6, 1))
    images[0] = 0
    options = {"norm": norm, "num_queries": 30}
    constant = black_box.build_constant_classifier()
    labels = np.zeros(6, np.int32)
    adversarial = attacks.get("square")(constant, images, labels, epsilon=0.3, **options)
    assert np.isfinite(adversarial).all()
    result = black_box.run_attack("square", constant, images, labels, epsilon=0.3, **options)
    assert not result.success.any() and (result.forward_calls == 31).all()
    np.testing.assert_array_equal(result.images, images)
    still = attacks.get("square")(constant, images, labels, epsilon=0.0, **options)
    np.testing.assert_array_equal(still, images)


def test_a_sweep_traces_once():
    logits_fn, images, labels, _ = _exact()
    traces = []

    def counted(images):
        traces.append(images.shape)
        return logits_fn(images)

    attack = attacks.get("square")
    attack(counted, images, labels, epsilon=0.1, num_queries=9)
    first = len(traces)
    attack(counted, images, labels, epsilon=0.2, num_queries=4, p_init=0.1)
    assert len(traces) == first


@pytest.mark.parametrize(
    "options,message",
    [
        ({"num_queries": 0}, "num_queries must be"),
        ({"p_init": 0}, "p_init is a share"),
        ({"p_init": 1.5}, "p_init is a share"),
        ({"p_init": "big"}, "p_init must be"),
        ({"restarts": 0}, "restarts must be"),
        ({"loss": "hinge"}, "Unknown loss"),
        ({"norm": "l0"}, "Unknown norm"),
        ({"epsilon": -1}, "epsilon must be"),
        ({"num_steps": 3}, "num_steps"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        attacks.build_method("square", **{"epsilon": 0.1} | options)


@pytest.mark.parametrize("shape", [(8,), (4, 6)])
def test_images_without_axes_are_refused(shape):
    logits_fn, _ = black_box.build_linear_classifier(shape)
    images = black_box.build_grid_images(3, shape)
    with pytest.raises(InputError, match="height, width, channels"):
        attacks.get("square")(logits_fn, images, [0, 1, 2], epsilon=0.1)


@pytest.fixture(scope="module")
def digits():
    return black_box.train_digits_classifier()


@pytest.mark.parametrize("norm,epsilon", [("linf", 0.15), ("l2", 0.9), ("l1", 4.0)])
def test_beats_noise_of_the_same_size(norm, epsilon, digits):
    network, images, labels = digits
    result = black_box.run_attack(
        "square", network, images, labels, epsilon=epsilon, norm=norm, num_queries=150
    )
    budget = tf.fill((60, 1, 1, 1), epsilon)
    keys = prng.make_keys(1, tf.range(60))
    noise = norms.sample(tf.constant(images), budget, norm, keys)
    # As long as the ball allows: at its corners, or on its sphere.
    longest = tf.sign(noise)
    if norm != "linf":
        longest = noise / norms.expand_like(norms.compute_norm(noise, norm), noise)
    noisy = np.clip(images + epsilon * longest, 0, 1)
    by_noise = np.mean(black_box.predict_classes(network, noisy) != labels)
    assert result.success.mean() > by_noise + 0.3


def test_needs_no_gradient(digits):
    network, images, labels = digits
    rounded = black_box.add_rounding(network)
    labels = black_box.predict_classes(rounded, images)
    with pytest.raises(InputError, match="no gradient"):
        attacks.get("pgd")(rounded, images, labels, epsilon=0.2)
    result = black_box.run_attack("square", rounded, images, labels, epsilon=0.2, num_queries=100)
    assert result.success.mean() > 0.5
