"""The epsilon search of Su et al.: exact distances, a naive search, calls."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.attacks import inputs as attacks_inputs
from qup.attacks import stages
from qup.attacks.batch_sizes import BatchSizes
from qup.attacks.method import Examples

_NAME = "iterative_fgsm_search"
_DISTANCES = np.float32([0.004, 0.03, 0.1, 0.27])


def _run(logits_fn, images, labels, **options):
    count = len(labels)
    examples = attacks_inputs.ExampleBatch(
        images, np.asarray(labels, np.int32), np.arange(count), np.full(count, np.nan, np.float32)
    )
    return stages.run_stages(
        attacks.build_method(_NAME, **options),
        stages.ClassifierPair(logits_fn, logits_fn),
        examples,
        sizes=BatchSizes(count),
    )


def _linear(shape):
    """Two classes, and images whose L-inf distances are `_DISTANCES`."""
    size = math.prod(shape)
    rng = np.random.default_rng(2)
    weights = rng.normal(size=size).astype(np.float32)
    noise = rng.uniform(-0.1, 0.1, (4, size)).astype(np.float32)
    noise -= (noise @ weights)[:, None] * weights / (weights @ weights)
    sides = np.float32([1, -1, 1, -1])
    # Moving every element by d along its sign costs d ||w||_1 of the score.
    score = sides * _DISTANCES * np.abs(weights).sum()
    images = 0.5 + noise + score[:, None] * weights / (weights @ weights)

    def logits_fn(inputs):
        flat = tf.reshape(inputs, (-1, size)) - 0.5
        score = tf.linalg.matvec(flat, weights)
        return tf.stack([score, tf.zeros_like(score)], 1)

    labels = np.where(sides > 0, 0, 1)
    return logits_fn, images.reshape(4, *shape), labels


@pytest.mark.parametrize("initial", [None, 4e-3, 0.9])
@pytest.mark.parametrize("shape", [(8,), (4, 6), (5, 7, 3)])
def test_linf_distance_of_a_linear_model(shape, initial):
    logits_fn, images, labels = _linear(shape)
    result = _run(logits_fn, images, labels, initial_epsilon=initial, bounds=(-1, 2))
    ratio = result.distances["linf"] / _DISTANCES
    assert result.success.all()
    assert (ratio >= 1 - 1e-4).all() and (ratio <= 1.05).all()
    # The 51st call of an attempt looks at its end.
    assert (result.gradient_calls <= 9 * 51).all()


@pytest.mark.parametrize("targeted", [False, True])
def test_no_box_and_targets(targeted):
    logits_fn, images, labels = _linear((6, 4))
    result = _run(
        logits_fn, images, 1 - labels if targeted else labels, bounds=None, targeted=targeted
    )
    ratio = result.distances["linf"] / _DISTANCES
    assert result.success.all() and (ratio <= 1.05).all()


def _naive(weights, image, settings):
    """The search on one image of a model w x, label where w x > 0."""
    initial, steps, attempts = settings
    epsilon, failed, nearest, best = initial, 0.0, np.inf, image
    for _ in range(attempts):
        current, success = image, False
        for step in range(steps + 1):
            if weights @ current <= 0:
                success = True
                distance = np.abs(current - image).max()
                if distance < nearest:
                    nearest, best = distance, current
                break
            if step < steps:
                delta = current - epsilon / steps * np.sign(weights) - image
                current = image + np.clip(delta, -epsilon, epsilon)
                current = np.clip(current, -1, 1)
        if not success:
            failed = epsilon
            if epsilon >= 2:
                break
        epsilon = (failed + nearest) / 2 if nearest < np.inf else min(2 * epsilon, 2)
    return best


@pytest.mark.parametrize("settings", [(0.02, 3, 7), (1.5, 4, 6), (0.3, 1, 9)])
def test_follows_the_naive_search(settings):
    rng = np.random.default_rng(7)
    weights = rng.normal(size=5)
    images = rng.uniform(-1, 1, (40, 5)).astype(np.float32)

    def logits_fn(inputs):
        score = tf.linalg.matvec(inputs, tf.constant(weights, tf.float32))
        # A tie goes to the lower class, as in the naive search.
        return tf.stack([tf.zeros_like(score), score], 1)

    labels = (images @ weights > 0).astype(np.int32)
    images, labels = images[labels == 1], labels[labels == 1]
    initial, steps, attempts = settings
    adversarial = attacks.get(_NAME)(
        logits_fn,
        images,
        labels,
        bounds=(-1, 1),
        initial_epsilon=initial,
        num_steps=steps,
        max_attempts=attempts,
    )
    expected = [_naive(weights, image, settings) for image in images]
    np.testing.assert_allclose(adversarial, expected, atol=1e-5)
    assert (np.abs(adversarial - images).max(1) > 0).sum() >= 10


def test_what_the_whole_box_cannot_break_is_given_up():
    images = np.float32([[0.5, 0.5]])

    def logits_fn(inputs):
        return inputs * 0.1 + tf.constant([1.0, 0.0])

    result = _run(logits_fn, images, [0])
    assert not result.success.any() and (result.images == images).all()
    # Epsilons 0.1, 0.2, 0.4, 0.8 and 1.
    assert (result.gradient_calls == 5 * 51).all()


@pytest.mark.parametrize(
    "epsilon,failed,nearest,hit,following",
    [
        (0.2, 0.0, np.inf, False, 0.4),
        (0.8, 0.4, np.inf, False, 1.0),
        (0.4, 0.2, 0.3, True, 0.25),
        (0.25, 0.2, 0.3, False, 0.275),
        # Met nearer than at an epsilon that failed: that one says nothing.
        (0.4, 0.2, 0.1, True, 0.05),
    ],
)
def test_the_next_epsilon(epsilon, failed, nearest, hit, following):
    state = {
        "epsilon": tf.constant([epsilon]),
        "failed_epsilon": tf.constant([failed]),
        "closest_distance": tf.constant([nearest], tf.float32),
        "attempt": tf.constant([2]),
    }
    examples = Examples(tf.zeros((1, 3)), None, None, None, None)
    after = attacks.build_method(_NAME)._start_next_attempt(examples, state, tf.constant([hit]))
    np.testing.assert_allclose(after["epsilon"], [following], rtol=1e-6)
    assert after["attempt"].numpy() == [3]


def test_more_attempts_are_never_farther():
    logits_fn, images, labels = _linear((5, 7, 3))
    distances = [
        _run(logits_fn, images, labels, max_attempts=attempts, num_steps=5)
        for attempts in (2, 4, 8)
    ]
    for less, more in itertools.pairwise(distances):
        both = less.success
        assert more.success[both].all()
        nearer = more.distances["linf"] <= less.distances["linf"]
        assert nearer[both].all()
    assert distances[-1].success.all()
