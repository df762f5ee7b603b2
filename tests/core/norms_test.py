"""Norms, projections and samples of perturbations."""

import numpy as np
import pytest
import tensorflow as tf

from qup.core import norms, prng


@pytest.mark.parametrize("norm", norms.NAMES)
def test_samples_fill_the_ball_and_do_not_depend_on_the_batch(norm):
    images, keys = tf.zeros((2000, 3, 2)), prng.make_keys(0, tf.range(2000))
    delta = norms.sample(images, 0.5, norm, keys)
    sizes = norms.compute_norm(delta, norm).numpy()
    assert sizes.max() <= 0.5 * 1.00001
    # The volume below radius r is (r / 0.5)^6: the median of a uniform point is 0.5^(1 / 6).
    assert abs(np.median(sizes) / 0.5 - 0.5 ** (1 / 6)) < 0.01
    first = norms.sample(images[:7], 0.5, norm, keys[:7])
    np.testing.assert_allclose(first, delta[:7], rtol=1e-6)


def test_a_direction_of_any_length_is_scaled():
    delta = tf.constant([[3.0, 4.0], [3e-25, 4e-25], [3e25, 4e25], [0.0, 0.0]])
    expected = np.array([[0.6, 0.8]] * 3 + [[0, 0]])
    np.testing.assert_allclose(norms.scale_to_norm(delta, 1.0, "l2"), expected, rtol=1e-5)


def _naive_projection(delta, image, epsilon, low, high):
    """Bisection for the level, in float64."""
    room = np.where(delta > 0, high - image, image - low)

    def shrink(level):
        return np.clip(np.abs(delta) - level, 0, room)

    if shrink(0).sum() <= epsilon:
        return np.sign(delta) * shrink(0)
    bottom, top = 0.0, np.abs(delta).max()
    for _ in range(100):
        middle = (bottom + top) / 2
        over = shrink(middle).sum() > epsilon
        bottom, top = (middle, top) if over else (bottom, middle)
    return np.sign(delta) * shrink(top)


@pytest.mark.parametrize("epsilon", [0.0, 1e-3, 2.0, 40.0])
@pytest.mark.parametrize("high", [1.0, 255.0])
def test_projection_to_ball_and_box(epsilon, high):
    random = np.random.default_rng(0)
    images = random.random((20, 6, 5, 2)).astype(np.float32) * high
    images[0] = 0
    delta = random.normal(size=images.shape).astype(np.float32) * high
    delta[1] = 0
    delta[2] = high
    proposal = norms.project_in_box(
        tf.constant(delta), epsilon * high, tf.constant(images), (0, high)
    ).numpy()
    total = np.abs(proposal.astype(np.float64)).sum((1, 2, 3))
    assert (total <= epsilon * high * (1 + 1e-6)).all()
    for row in range(20):
        expected = _naive_projection(delta[row].astype(float), images[row], epsilon * high, 0, high)
        np.testing.assert_allclose(proposal[row], expected, atol=2e-6 * high)
