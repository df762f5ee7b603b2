"""PDPGD: proximal operators, and closed forms of linear models."""

import numpy as np
import pytest

from qup import attacks
from qup.attacks import pdpgd
from qup.core.errors import InputError
from tests.attacks import closest_searches as searches

every_norm = pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])


def _compute_cost(z, delta, metric, weight, norm):
    """The minimised function, in float64."""
    size = np.abs(z)
    penalty = {
        "linf": size.max(initial=0),
        "l2": np.linalg.norm(z),
        "l1": size.sum(),
        "l0": (size ** (2 / 3)).sum(),
    }[norm]
    return (metric * (z - delta) ** 2).sum() / 2 + weight * penalty


@every_norm
@pytest.mark.parametrize("weight", [1e-6, 0.02, 0.3, 4.0])
def test_proximal_operator_is_a_minimum(norm, weight):
    rng = np.random.default_rng(0)
    delta = rng.normal(size=(6, 4, 3)).astype(np.float32)
    delta[1] = 0
    delta[2, 1:] = 0
    metric = (10.0 ** rng.uniform(-1, 1, delta.shape)).astype(np.float32)
    metric[3] = 1
    found = pdpgd.shrink(delta, metric, np.full(6, weight, np.float32), norm).numpy()
    assert np.isfinite(found).all()
    for z, d, h in zip(*(a.astype(float) for a in (found, delta, metric)), strict=True):
        best = _compute_cost(z, d, h, weight, norm)
        tolerance = 1e-6 * (1 + abs(best))
        others = [np.zeros_like(z), d, 0.99 * z, 1.01 * z]
        others += [z + scale * rng.normal(size=z.shape) for scale in (1e-3, 1e-2, 0.1, 1) * 50]
        # One element more or less.
        others += [np.where(np.arange(z.size).reshape(z.shape) == i, 0, z) for i in range(z.size)]
        assert best <= min(_compute_cost(o, d, h, weight, norm) for o in others) + tolerance
        assert (z * d >= 0).all() and (np.abs(z) <= np.abs(d) * (1 + 1e-6)).all()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_large_weight_gives_zero(norm):
    delta = np.random.default_rng(1).normal(size=(2, 9)).astype(np.float32)
    found = pdpgd.shrink(delta, np.ones_like(delta), np.full(2, 1e3, np.float32), norm)
    assert (found.numpy() == 0).all()


@every_norm
@pytest.mark.parametrize("bounds", [(0.0, 1.0), None])
def test_finds_the_distance_of_a_linear_model(norm, bounds):
    limit = {"linf": 1.03, "l2": 1.02, "l1": 1.05, "l0": 1.35}[norm]
    assert searches.measure_excess("pdpgd", norm, bounds).mean() <= limit


@every_norm
def test_rows_are_independent(norm):
    searches.check_rows_are_independent("pdpgd", norm)


@every_norm
def test_stays_in_the_box_and_scales_with_it(norm):
    searches.check_box("pdpgd", norm)


@every_norm
def test_reaches_targets(norm):
    searches.check_targets("pdpgd", norm)


@pytest.mark.parametrize(
    "options,message",
    [
        ({"step_size": 0}, "step_size"),
        ({"dual_step_size": -1}, "dual_step_size"),
        ({"initial_ratio": 0}, "initial_ratio"),
        ({"averaging": 1.5}, "averaging"),
        ({"norm": "l3"}, "norm"),
        ({"num_steps": 0}, "num_steps"),
    ],
)
def test_bad_options_are_told_in_words(options, message):
    with pytest.raises(InputError, match=message):
        attacks.build_method("pdpgd", **options)
