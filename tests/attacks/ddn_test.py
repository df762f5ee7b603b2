"""DDN: closed forms of linear models, its losses, invariances."""

import numpy as np
import pytest

from qup import attacks
from qup.core.errors import InputError
from tests.attacks import closest_searches as searches
from tests.attacks.linear_distances import LinearClassifier

bounds_or_none = pytest.mark.parametrize("bounds", [(0.0, 1.0), None])


def _run(model, bounds=(0.0, 1.0), **options):
    return attacks.run("ddn", model, model.images, model.labels, bounds=bounds, **options)


@bounds_or_none
@pytest.mark.parametrize("shape", [(8,), (4, 6), (5, 7, 3)])
def test_finds_the_distance_of_two_classes(shape, bounds):
    model = LinearClassifier(shape, classes=2, count=5)
    exact = searches.compute_exact_distances(model, "l2", bounds)
    result = _run(model, bounds, num_steps=200)
    assert result.success.all()
    # The last lengths are gamma = 5 % apart.
    assert (result.distances["l2"] >= 0.999 * exact).all()
    assert (result.distances["l2"] <= 1.06 * exact).all()


@bounds_or_none
def test_margin_finds_the_distance_of_four_classes(bounds):
    model = searches.build_linear_classifier()
    exact = searches.compute_exact_distances(model, "l2", bounds)
    distances = _run(model, bounds, loss="margin", num_steps=200).distances["l2"]
    assert (distances >= 0.999 * exact).all() and (distances <= 1.06 * exact).all()


@bounds_or_none
def test_log_odds_mix_the_classes(bounds):
    excess = searches.measure_excess("ddn", "l2", bounds)
    assert excess.mean() >= 1.05 and excess.max() <= 1.25


def test_smaller_gamma_is_closer():
    model = LinearClassifier((4, 6), classes=2, count=5)
    exact = searches.compute_exact_distances(model, "l2", (0.0, 1.0))
    distances = _run(model, gamma=0.005, num_steps=600).distances["l2"]
    assert (distances <= 1.007 * exact).all()


def test_follows_the_definition():
    # Algorithm 1 of arXiv 1811.09600 for two classes without a box, in float64.
    model = LinearClassifier((6,), classes=2, count=1)
    x = model.images[0].astype(float)
    gradient = (model.weights[:, 1] - model.weights[:, 0]) * (1 if model.labels[0] == 0 else -1)
    delta, radius, best, steps = np.zeros(6), 1.0, np.inf, 7
    for k in range(steps):
        is_adversarial = np.argmax((x + delta) @ model.weights) != model.labels[0]
        if is_adversarial:
            best = min(best, np.linalg.norm(delta))
        alpha = 0.01 + 0.99 * (1 + np.cos(np.pi * k / steps)) / 2
        delta = delta + alpha * gradient / np.linalg.norm(gradient)
        radius *= 0.95 if is_adversarial else 1.05
        delta *= radius / np.linalg.norm(delta)
    result = _run(model, None, num_steps=steps)
    np.testing.assert_allclose(result.distances["l2"], best, rtol=1e-5)
    assert result.gradient_calls[0] == steps


def test_rows_are_independent():
    searches.check_rows_are_independent("ddn", "l2")


def test_stays_in_the_box_and_scales_with_it():
    searches.check_box("ddn", "l2")


def test_reaches_targets():
    searches.check_targets("ddn", "l2")


@pytest.mark.parametrize(
    "options,message",
    [
        ({"step_size": 0}, "step_size"),
        ({"gamma": 1.5}, "gamma"),
        ({"gamma": -0.1}, "gamma"),
        ({"initial_radius": 0}, "initial_radius"),
        ({"loss": "hinge"}, "loss"),
        ({"num_steps": 0}, "num_steps"),
    ],
)
def test_bad_options_are_told_in_words(options, message):
    with pytest.raises(InputError, match=message):
        attacks.build_method("ddn", **options)
