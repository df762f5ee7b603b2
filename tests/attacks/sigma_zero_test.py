"""sigma-zero: closed forms of linear models, its definition, invariances."""

import numpy as np
import pytest

from qup import attacks
from qup.core.errors import InputError
from tests.attacks import closest_searches as searches
from tests.attacks.linear_distances import LinearClassifier


@pytest.mark.parametrize("bounds", [(0.0, 1.0), None])
def test_finds_the_smallest_number_of_elements(bounds):
    assert (searches.measure_excess("sigma_zero", "l0", bounds) == 1).all()


def test_elements_that_are_not_counted_have_not_moved():
    result = searches.attack_linear_classifier("sigma_zero", "l0", (0.0, 1.0))
    delta = np.abs(result.images - searches.build_linear_classifier().images)
    assert ((delta == 0) | (delta > 1e-3)).all()


def _follow_definition(model, steps):
    """Algorithm 1 of arXiv 2402.01879 for two classes in [0, 1], in float64: best L0, delta."""
    x, label = model.images[0].astype(float), model.labels[0]
    sigma, tau, best = 1e-3, 0.3, np.inf
    slope = model.weights[:, label] - model.weights[:, 1 - label]
    delta, first, second = np.zeros_like(x), 0, 0
    for k in range(steps):
        margin = (x + delta) @ slope
        is_adversarial = margin < 0
        if is_adversarial:
            best = min(best, np.count_nonzero(delta))
        gradient = slope * (margin > 0) + 2 * sigma * delta / (delta**2 + sigma) ** 2 / x.size
        gradient /= np.abs(gradient).max()
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        eta = 0.1 + 0.9 * (1 + np.cos(np.pi * k / steps)) / 2
        update = first / (1 - 0.9 ** (k + 1))
        update /= np.sqrt(second / (1 - 0.999 ** (k + 1))) + 1e-8
        delta = np.clip(x + delta - eta * update, 0, 1) - x
        tau = np.clip(tau + (0.01 if is_adversarial else -0.01) * eta, 0, 1)
        delta[np.abs(delta) < tau] = 0
    return best


@pytest.mark.parametrize("steps", [3, 8, 20, 60])
def test_follows_the_definition(steps):
    model = LinearClassifier((12,), classes=2, count=1, seed=4)
    result = attacks.run("sigma_zero", model, model.images, model.labels, num_steps=steps)
    best = _follow_definition(model, steps)
    assert result.success[0] == np.isfinite(best)
    if result.success[0]:
        assert result.distances["l0"][0] == best
    assert result.gradient_calls[0] == steps


def test_rows_are_independent():
    searches.check_rows_are_independent("sigma_zero", "l0")


def test_stays_in_the_box_and_scales_with_it():
    searches.check_box("sigma_zero", "l0")


def test_reaches_targets():
    searches.check_targets("sigma_zero", "l0")


@pytest.mark.parametrize(
    "options,message",
    [
        ({"step_size": 0}, "step_size"),
        ({"sigma": 0}, "sigma"),
        ({"threshold": -1}, "threshold"),
        ({"threshold_step": 2}, "threshold_step"),
        ({"num_steps": 0}, "num_steps"),
    ],
)
def test_bad_options_are_told_in_words(options, message):
    with pytest.raises(InputError, match=message):
        attacks.build_method("sigma_zero", **options)
