"""The free coordinates of Markov chains, against their definitions."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from qup.core import prng
from qup.uncertainty import Box, GaussianWindow, SineWindow

_DOMAINS = [Box(-0.5, 1.5), GaussianWindow(np.array([0.5, 0.2, -0.1]), 0.4), SineWindow(-0.5, 1.5)]


def _make_keys(count):
    return prng.make_keys(0, tf.range(count, dtype=tf.int64), -1)


@pytest.mark.parametrize("domain", _DOMAINS, ids=lambda d: d.name)
def test_packet_gradient_is_that_of_the_points(domain):
    # ln l = a.x + sin(x_0 x_2), so that grad ln l is known.
    start = domain.sample_start(_make_keys(200), 3, tf.float64)
    # Beyond a face of the box and back.
    free = tf.constant(1.7, tf.float64) * start
    points = domain.fold(free).numpy()
    gradient = np.array([0.3, -2.0, 1.1])
    cosine = np.cos(points[:, 0] * points[:, 2])
    expected = np.stack(
        [
            gradient[0] + cosine * points[:, 2],
            np.full(200, gradient[1]),
            gradient[2] + cosine * points[:, 0],
        ],
        1,
    )

    with tf.GradientTape() as tape:
        tape.watch(free)
        folded = domain.fold(free)
        height = tf.linalg.matvec(folded, gradient)
        height += tf.sin(folded[:, 0] * folded[:, 2])
        target = 2.0 * height + domain.log_measure(free)
    result = domain.packet_gradient(free, tape.gradient(target, free))
    np.testing.assert_allclose(result, expected, rtol=1e-9)


@pytest.mark.parametrize("domain", _DOMAINS, ids=lambda d: d.name)
def test_starts_are_points_of_the_window(domain):
    starts = domain.fold(domain.sample_start(_make_keys(4000), 3, tf.float64)).numpy()
    samples = domain.sample(_make_keys(4000), 3, tf.float64).numpy()
    for one, other in zip(starts.T, samples.T, strict=True):
        assert stats.ks_2samp(one, other).pvalue > 1e-3


def test_angles_have_the_sine_squared_density():
    # Of vectors whose log density is `log_measure`, by weights.
    domain = SineWindow(-0.5, 1.5)
    normal = tf.cast(prng.normal(_make_keys(200_000), (4,)), tf.float64)
    free = 3.0 * normal
    log_proposal = -0.5 * tf.reduce_sum(normal**2, 1)
    weights = tf.exp(domain.log_measure(free) - log_proposal).numpy()
    angles = np.pi * (domain.fold(free).numpy()[:, 0] + 0.5) / 2.0
    # Means of cos(k angle) under the density 2 sin^2 / pi.
    for order, expected in ((1, 0.0), (2, -0.5), (3, 0.0), (4, 0.0)):
        mean = np.average(np.cos(order * angles), weights=weights)
        assert mean == pytest.approx(expected, abs=0.01), order
