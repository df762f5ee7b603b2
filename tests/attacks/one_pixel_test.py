"""One-pixel: its evolution, closed forms, invariances, failures, digits."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.attacks import one_pixel
from qup.core import prng
from qup.core.errors import InputError
from tests.attacks import black_box


def _best_gains(weights, images, labels, channels):
    """How far one pixel can lower each margin of a linear model in [0, 1].

    Returns:
      float64 [n]: the best other logit less the label's after the best
      change of one pixel; positive where one pixel is enough.
    """
    matrix = weights.reshape(-1, channels, weights.shape[-1])
    best = np.full(len(labels), -np.inf)
    for row, label in enumerate(labels):
        pixels = images[row].reshape(-1, channels).astype(float)
        logits = np.einsum("pc,pck->k", pixels, matrix)
        for other in np.delete(np.arange(matrix.shape[-1]), label):
            gradients = matrix[..., other] - matrix[..., label]
            # The best colour is 0 or 1 in each channel.
            gains = np.maximum(gradients * (1 - pixels), -gradients * pixels).sum(1)
            margin = logits[other] - logits[label] + gains.max()
            best[row] = max(best[row], margin)
    return best


@pytest.mark.parametrize("size", [4, 7])
def test_partners_are_four_different_members(size):
    keys = prng.make_keys(1, tf.range(300))
    members = tf.tile(tf.range(size)[None], (300, 1))
    others = one_pixel.sample_partners(keys, members, size).numpy()
    assert others.min() == 0 and others.max() == size - 1
    four = np.concatenate([members.numpy()[..., None], others], -1)
    assert (np.diff(np.sort(four, -1), axis=-1) > 0).all()
    # Each of the others is as likely as the next.
    counts = np.stack([np.sum(others == i, (0, 2)) for i in range(size)])
    away = counts[~np.eye(size, dtype=bool)]
    np.testing.assert_allclose(away, 900 / (size - 1), rtol=0.25)


def test_mutants_equal_the_naive_ones():
    random = np.random.default_rng(0)
    population = random.random((5, 9, 2, 3)).astype(np.float32)
    members = np.array([[8, 0, 3]] * 5, np.int32)
    keys = prng.make_keys(1, tf.range(5))
    result = one_pixel.build_mutants(
        tf.constant(population), tf.constant(members), 0.5, keys
    ).numpy()
    others = one_pixel.sample_partners(keys, members, 9).numpy()
    for row in range(5):
        for k in range(3):
            a, b, c = (population[row, other] for other in others[row, k])
            np.testing.assert_allclose(result[row, k], a + (b - c) / 2, 1e-5)


def _run(method, victim, examples, steps):
    """The states after init and after each step, none of them frozen."""
    states = [method.init(victim, examples)]
    for _ in range(steps):
        states.append(method.step(victim, examples, states[-1]))
    return states


def _examples(images, labels):
    count = len(labels)
    return attacks.Examples(
        tf.constant(images),
        tf.constant(labels),
        tf.range(count, dtype=tf.int64),
        tf.fill([count], np.nan),
        tf.constant(0),
    )


def test_generations():
    """What lives on is never less fit, and the next breed waits its turn."""
    shape = (6, 5, 3)
    logits_fn, _ = black_box.build_linear_classifier(shape)
    images = black_box.build_grid_images(4, shape)
    labels = black_box.predict_classes(logits_fn, images)
    method = attacks.build_method("one_pixel", population=60, num_pixels=2, exhaustive=False)
    classifier = attacks.QueryCounter(logits_fn, 4)
    # Three turns of 20 are a generation.
    states = _run(method, classifier, _examples(images, labels), 12)
    assert classifier.forward_calls == 1 + 12 * 20
    first = states[0]["parents"].numpy()
    assert first.shape == (4, 60, 2, 5)
    assert first.min() == 0 and first.max() == 1 and first[..., :2].max() < 1
    assert np.isfinite(states[3]["fitness"]).all()
    for turn, (old, new) in enumerate(itertools.pairwise(states)):
        assert (new["fitness"] >= old["fitness"]).numpy().all()
        bred = np.any(new["parents"] != old["parents"])
        assert bred == (turn in (5, 8, 11))
        places = new["children"][..., :2].numpy()
        assert places.min() >= 0 and places.max() < 1
        assert np.any(np.isneginf(new["fitness"])) == (turn < 2)
    means = [state["fitness"].numpy().mean(1) for state in states[3::3]]
    assert (means[-1] > means[0]).all()


def test_first_colours_are_normal_and_places_uniform():
    images = np.full((40, 8, 8, 1), 0.5, np.float32)
    method = attacks.build_method("one_pixel")
    examples = _examples(images, np.zeros(40, np.int32))
    state = method.init(attacks.QueryCounter(black_box.build_constant_classifier(), 40), examples)
    drawn = state["parents"].numpy()
    places, colours = drawn[..., :2], drawn[..., 2]
    np.testing.assert_allclose(places.mean(), 1 / 2, atol=0.01)
    np.testing.assert_allclose(places.std(), 12**-0.5, atol=0.01)
    # N(128, 127) is below 0 with probability 0.157, above 255 with 0.159.
    np.testing.assert_allclose(np.mean(colours == 0), 0.157, atol=0.015)
    np.testing.assert_allclose(np.mean(colours == 1), 0.159, atol=0.015)


@pytest.mark.parametrize("shape", [(28, 28, 1), (3, 7), (11,)])
def test_last_place_is_the_last_pixel(shape):
    """A place that rounds to 1 is inside: no index equals the height."""
    images = np.zeros((1, *shape), np.float32)
    seen = []

    def logits_fn(images):
        seen.append(images)
        return tf.zeros((images.shape[0], 2))

    method = attacks.build_method("one_pixel", population=4, exhaustive=False)
    classifier = attacks.QueryCounter(logits_fn, 1)
    examples = _examples(images, [0])
    state = method.init(classifier, examples)
    last = np.full(state["parents"].shape, np.nextafter(np.float32(1), 0))
    state["parents"] = tf.constant(last, tf.float32)
    method.step(classifier, examples, state)
    wanted = np.zeros(shape, np.float32)
    wanted[(-1,) * len(shape)] = 1
    np.testing.assert_allclose(seen[-1].numpy(), [wanted] * 4, atol=1e-6)


@pytest.mark.parametrize("shape", [(8,), (4, 6), (5, 7, 3)])
def test_linear_model_is_broken_where_it_can_be(shape):
    logits_fn, weights = black_box.build_linear_classifier(shape)
    images = black_box.build_grid_images(48, shape)
    labels = black_box.predict_classes(logits_fn, images)
    channels = shape[-1] if len(shape) > 2 else 1
    gains = _best_gains(weights, images, labels, channels)
    result = black_box.run_attack(
        "one_pixel", logits_fn, images, labels, population=100, num_steps=15
    )
    assert not result.success[gains < -1e-4].any()
    # The best colour is among the three levels of each channel.
    assert result.success[gains > 1e-4].all()
    assert np.sum(gains > 0.5) > 10
    won = result.success
    assert (result.distances["l0"][won] <= channels).all()
    assert (result.distances["l0"][won] >= 1).all()
    assert result.images.min() >= 0 and result.images.max() <= 1
    np.testing.assert_array_equal(result.images[~won], images[~won])
    # The image, all pixels and colours if they are at most 1,600, and 16 generations of 100, in
    # turns of 25.
    num_listed = int(np.prod(shape)) // channels * 3**channels
    listed_calls = -(-num_listed // 25) * 25 if num_listed <= 1600 else 0
    assert (result.forward_calls[~won] == 1601 + listed_calls).all()
    assert ((result.forward_calls[won] - 1) % 25 == 0).all()


@pytest.mark.parametrize("shape", [(8,), (4, 6), (5, 4, 2), (3, 3, 3)])
@pytest.mark.parametrize("num_pixels", [1, 3])
def test_all_pixels_and_levels_are_tried_once(shape, num_pixels):
    images = np.full((1, *shape), 0.25, np.float32)
    seen = []

    def constant(images):
        tf.py_function(lambda images: seen.extend(images.numpy()), [images], [])
        return tf.tile([[1.0, 0.0]], (images.shape[0], 1))

    channels = shape[-1] if len(shape) > 2 else 1
    num_listed = int(np.prod(shape)) // channels * 3**channels
    options = {"population": 20, "num_steps": -(-num_listed // 20) - 1, "num_pixels": num_pixels}
    result = attacks.run("one_pixel", constant, images, [0], batch_size=1, **options)
    # As many as the evolution asks about, rounded up to turns of 20, and the clean image.
    assert result.forward_calls == 1 + 2 * (-(-num_listed // 20) * 20)
    pixels = {
        (int(place), *row[place])
        for row in np.reshape(seen, (len(seen), -1, channels))
        for place in np.flatnonzero((row != 0.25).any(1))
        if np.isin(row, (0, 0.25, 0.5, 1)).all() and (row != 0.25).any(1).sum() == 1
    }
    levels = list(itertools.product((0, 0.5, 1), repeat=channels))
    places = range(int(np.prod(shape)) // channels)
    assert pixels >= {(place, *colour) for place in places for colour in levels}
    # One step less makes the evolution the cheaper one.
    options["num_steps"] = max(options["num_steps"] - 1, 1)
    if num_listed > 40:
        result = attacks.run("one_pixel", constant, images, [0], batch_size=1, **options)
        assert result.forward_calls == 1 + 20 * (options["num_steps"] + 1)


def _setting():
    shape = (6, 5, 2)
    logits_fn, _ = black_box.build_linear_classifier(shape)
    images = black_box.build_grid_images(24, shape)
    labels = black_box.predict_classes(logits_fn, images)
    # 33 candidates are asked about in two turns of 17: one is asked twice.
    return logits_fn, images, labels, {"population": 33, "num_steps": 3, "exhaustive": False}


def test_rows_depend_on_nothing_but_themselves():
    logits_fn, images, labels, options = _setting()
    ids = np.arange(24) + 9
    attack = attacks.get("one_pixel")
    whole = attack(logits_fn, images, labels, ids=ids, **options).numpy()
    order = np.random.default_rng(0).permutation(24)
    mixed = attack(logits_fn, images[order], labels[order], ids=ids[order], **options)
    np.testing.assert_allclose(mixed, whole[order], atol=1e-6)
    for size in (1, 9):
        result = black_box.run_attack(
            "one_pixel", logits_fn, images, labels, ids=ids, batch_size=size, **options
        )
        assert 0 < result.success.sum() < 24
        np.testing.assert_allclose(result.images, whole, atol=1e-6)
    other = attack(logits_fn, images, labels, ids=ids, seed=1, **options)
    assert np.any(np.abs(other - whole) > 1e-3)


def test_scales_of_box_and_logits_change_nothing():
    logits_fn, images, labels, options = _setting()
    attack = attacks.get("one_pixel")
    whole = attack(logits_fn, images, labels, **options)
    wide = attack(
        lambda images: logits_fn(images / 256), images * 256, labels, bounds=(0, 256), **options
    )
    np.testing.assert_allclose(wide / 256, whole, atol=1e-6)
    adversarial = attack(
        lambda images: logits_fn(images + 3), images - 3, labels, bounds=(-3, -2), **options
    )
    np.testing.assert_allclose(adversarial + 3, whole, atol=1e-5)


def test_without_bounds_colours_are_those_of_the_image():
    logits_fn, images, labels, options = _setting()
    images = images * 5 - 2
    labels = black_box.predict_classes(logits_fn, images)
    result = black_box.run_attack("one_pixel", logits_fn, images, labels, bounds=None, **options)
    assert result.success.any()
    for end in (np.min, np.max):
        inside = end([end(result.images, (1, 2, 3)), end(images, (1, 2, 3))], 0)
        np.testing.assert_allclose(inside, end(images, (1, 2, 3)), atol=1e-5)


def test_more_pixels_break_more():
    logits_fn, images, labels, options = _setting()
    broken = []
    for num_pixels in (1, 4):
        result = black_box.run_attack(
            "one_pixel", logits_fn, images, labels, num_pixels=num_pixels, **options
        )
        assert result.distances["l0"].max() <= 2 * num_pixels
        broken.append(result.success.sum())
    assert broken[1] > broken[0]


def test_targets_are_reached():
    logits_fn, images, labels, _ = _setting()
    targets = (labels + 1) % 3
    result = black_box.run_attack(
        "one_pixel",
        logits_fn,
        images,
        targets,
        targeted=True,
        num_pixels=8,
        population=100,
        num_steps=15,
    )
    assert result.success.mean() > 0.5
    reached = black_box.predict_classes(logits_fn, result.images) == targets
    np.testing.assert_array_equal(reached, result.success)


def test_misclassified_images_are_their_own_answers():
    logits_fn, images, labels, options = _setting()
    result = black_box.run_attack("one_pixel", logits_fn, images, (labels + 1) % 3, **options)
    assert result.success.all() and (result.forward_calls == 0).all()
    assert (result.distances["l0"] == 0).all()
    np.testing.assert_array_equal(result.images, images)


@pytest.mark.parametrize("bounds", [(0, 1), None])
def test_constant_model_and_constant_image(bounds):
    _, images, labels, options = _setting()
    images[0] = 0
    options |= {"bounds": bounds}
    labels = np.zeros_like(labels)
    constant = black_box.build_constant_classifier()
    still = attacks.get("one_pixel")(constant, images, labels, **options)
    np.testing.assert_array_equal(still, images)
    result = black_box.run_attack("one_pixel", constant, images, labels, **options)
    assert not result.success.any()


def test_a_sweep_traces_once():
    logits_fn, images, labels, options = _setting()
    traces = []

    def counted(images):
        traces.append(images.shape)
        return logits_fn(images)

    attack = attacks.get("one_pixel")
    attack(counted, images, labels, **options)
    first = len(traces)
    options |= {"num_steps": 1, "mutation": 0.8, "seed": 5}
    attack(counted, images, labels, **options)
    assert len(traces) == first


@pytest.mark.parametrize(
    "options,message",
    [
        ({"num_pixels": 0}, "num_pixels must be"),
        ({"num_pixels": 1.5}, "num_pixels must be an integer"),
        ({"population": 3}, "population must be"),
        ({"num_steps": 0}, "num_steps must be"),
        ({"mutation": -1}, "mutation must be"),
        ({"epsilon": 1}, "epsilon"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        attacks.build_method("one_pixel", **options)


@pytest.fixture(scope="module")
def digits():
    return black_box.train_digits_classifier()


def test_beats_random_pixels(digits):
    network, images, labels = digits
    result = black_box.run_attack(
        "one_pixel", network, images, labels, num_pixels=3, population=50, num_steps=10
    )
    random = np.random.default_rng(0)
    noisy = images.reshape(60, 64).copy()
    for row in noisy:
        row[random.choice(64, 3, replace=False)] = random.integers(0, 2, 3)
    by_noise = np.mean(black_box.predict_classes(network, noisy.reshape(images.shape)) != labels)
    assert result.success.mean() > by_noise + 0.3


def test_trying_all_pixels_first_loses_nothing(digits):
    fast, slow = (
        black_box.run_attack(
            "one_pixel", *digits, population=50, num_steps=10, exhaustive=exhaustive
        )
        for exhaustive in (True, False)
    )
    # The same evolution follows.
    assert slow.success.any() and fast.success[slow.success].all()
    # 64 pixels at three levels in turns of 25, before 550 candidates.
    assert (fast.forward_calls[~fast.success] == 1 + 200 + 550).all()


def test_needs_no_gradient(digits):
    network, images, labels = digits
    rounded = black_box.add_rounding(network)
    labels = black_box.predict_classes(rounded, images)
    with pytest.raises(InputError, match="no gradient"):
        attacks.get("pgd")(rounded, images, labels, epsilon=0.2)
    result = black_box.run_attack(
        "one_pixel", rounded, images, labels, num_pixels=3, population=50, num_steps=5
    )
    assert result.success.mean() > 0.3
