"""Importance sampling and chains, against closed forms and quadrature."""

import collections
import functools

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from qup import uncertainty
from qup.core.errors import InputError
from qup.uncertainty import (
    Box,
    GaussianWindow,
    SineWindow,
    axes,
    boundary,
    checks,
    importance,
    matrix,
    mcmc,
    quadrature,
    records,
)
from tests.uncertainty import example_packets

_WINDOW = GaussianWindow(np.array([0.5, 0.45]), 0.2)
_COMPARED = ("sigma_x", "sigma_p", "uncertainty_product", "covariance")


def _of_two_seeds(test):
    """Gives a test a second seed where the first fails.

    Chains part from each other by a rounding error, so that a processor may
    have its own luck. What is wrong fails with the second seed, too.
    """

    @functools.wraps(test)
    def run(*args, **kwargs):
        try:
            test(*args, **kwargs)
        except AssertionError:
            test(*args, **kwargs, seed=1)

    return run


def _away(found, measure, expected):
    """Returns how many standard errors an estimate is from its value."""
    told = found[measure]
    return (told.value - expected) / np.maximum(told.stderr, 1e-9)


@pytest.mark.parametrize("name", example_packets.KNOWN)
def test_closed_forms_within_their_errors(name):
    packet, known = example_packets.known(name)
    found = importance.relation(packet, known.domain, num_samples=20_000)
    limit = checks.z_quantile(3, found.degrees_of_freedom)
    expected = {"sigma_x": known.sigma_x, "sigma_p": known.sigma_p, "boundary_term": known.boundary}
    for measure, value in expected.items():
        if known.sigma_p == 0 and measure != "sigma_x":
            # s is constant, so that there is no error either.
            assert found[measure].value[0] == pytest.approx(value, abs=1e-6)
            continue
        assert abs(_away(found, measure, value)[0]) < limit, measure


@pytest.mark.parametrize("name", [n for n, k in example_packets.KNOWN.items() if not k.zero])
@_of_two_seeds
def test_chains_give_the_closed_forms(name, seed=0):
    packet, known = example_packets.known(name)
    found = mcmc.relation(packet, known.domain, num_steps=600, seed=seed)
    limit = checks.z_quantile(3, found.degrees_of_freedom)
    assert found.diagnostics["r_hat"] < 1.02
    for measure, value in (
        ("sigma_x", known.sigma_x),
        ("sigma_p", known.sigma_p),
        ("boundary_term", known.boundary),
    ):
        if known.sigma_p == 0 and measure != "sigma_x":
            assert found[measure].value[0] == pytest.approx(value, abs=1e-5)
            continue
        assert abs(_away(found, measure, value)[0]) < limit, measure


@pytest.mark.parametrize(
    "domain",
    [
        _WINDOW,
        pytest.param(Box(), marks=pytest.mark.slow),
        pytest.param(SineWindow(), marks=pytest.mark.slow),
    ],
)
def test_three_estimators_agree_on_a_trained_network(domain):
    packet = example_packets.trained()
    along = axes.join_axes(2, [("u", np.array([[0.6, -0.8]]))], None)
    exact = quadrature.relation(packet, domain, axes=along)
    # One seed in some hundred is unlucky, and then in several comparisons at
    # once (a product is, where its factor is); which one depends on the
    # processor's rounding. What is wrong fails with another seed too.
    failed = collections.Counter()
    for seed in range(3):
        failed.update(_disagreements(packet, domain, along, exact, seed))
    assert not failed or max(failed.values()) == 1, failed


def _disagreements(packet, domain, along, exact, seed):
    """Yields the comparisons in which estimators are too far apart."""
    drawn = importance.relation(
        packet, domain, axes=along, num_samples=40_000, batch_size=1000, seed=seed
    )
    walked = mcmc.relation(packet, domain, axes=along, num_steps=2000, seed=seed)
    for found in (drawn, walked):
        limit = checks.z_quantile(3 * len(_COMPARED), found.degrees_of_freedom)
        for measure in _COMPARED:
            away = _away(found, measure, exact[measure].value)
            if np.abs(away).max() >= limit:
                yield found.estimator, measure
    told = [*checks.check_agreement(drawn, walked), *checks.check_relation(walked)]
    for place, check in enumerate(told):
        if not check.agrees:
            yield place, check.message.partition(":")[0]


@pytest.mark.slow
def test_chains_know_their_errors_where_the_window_has_a_zero():
    # Cov(x, s) has its weight near the faces, where chains on x itself stick:
    # their errors were half of what seeds differ by, and their mean was off.
    packet = example_packets.trained()
    found = [mcmc.relation(packet, SineWindow(), num_steps=2000, seed=seed) for seed in range(40)]
    values = np.stack([one["covariance"].value for one in found])
    errors = np.stack([one["covariance"].stderr for one in found])
    ratio = values.std(0, ddof=1) / errors.mean(0)
    assert (ratio > 0.65).all() and (ratio < 1.4).all(), ratio
    away = ((values + 0.5) / errors).mean(0)
    assert (np.abs(away) < 0.5).all(), away


@pytest.mark.slow
def test_intervals_cover_what_quadrature_gives():
    packet = example_packets.trained()
    exact = quadrature.relation(packet, _WINDOW)
    inside = {measure: [] for measure in _COMPARED}
    for seed in range(200):
        found = importance.relation(packet, _WINDOW, num_samples=4000, batch_size=100, seed=seed)
        width = stats.t.ppf(0.975, found.degrees_of_freedom)
        for measure, hits in inside.items():
            away = _away(found, measure, exact[measure].value)
            hits.append(np.abs(away) < width)
    for measure, hits in inside.items():
        share = np.mean(hits, 0)
        assert (share >= 0.90).all() and (share <= 0.99).all(), (measure, share)


@pytest.mark.slow
def test_intervals_hold_where_the_product_is_stationary():
    # ln l is nearly linear: the product is 1/2, and its slope vanishes.
    packet = example_packets.logistic(1)
    window = GaussianWindow(np.array([0.5]), 0.2)
    hits = []
    for seed in range(150):
        found = importance.relation(packet, window, num_samples=2000, batch_size=50, seed=seed)
        away = _away(found, "uncertainty_product", 0.5)
        hits.append(np.abs(away[0]) < stats.t.ppf(0.975, found.degrees_of_freedom))
    assert np.mean(hits) >= 0.93


def test_the_correlation_takes_most_of_the_noise_away():
    packet = example_packets.logistic(20)
    window = GaussianWindow(np.array([0.5]), 0.2)
    exact = quadrature.relation(packet, window, panels=256)
    found = importance.relation(packet, window)
    measure = "product_by_correlation"
    assert abs(_away(found, measure, exact[measure].value)[0]) < 3.5
    noise = found["uncertainty_product"].stderr[0]
    assert found[measure].stderr[0] < noise / 5


class TestHighDimension:
    """A packet of 60 coordinates whose answers are known."""

    size = 60

    def _packet(self):
        # rho = l^2 w^2 is a Gaussian of variance 1 / (2 (k_i + 1 / s^2)).
        slopes = np.linspace(0, 30, self.size)
        return uncertainty.of_function(
            lambda p: -0.5 * tf.reduce_sum(slopes * p**2, 1), self.size
        ), slopes

    @pytest.mark.parametrize("estimator", ["importance", "mcmc"])
    @_of_two_seeds
    def test_every_coordinate(self, estimator, seed=0):
        packet, slopes = self._packet()
        window = GaussianWindow(np.zeros(self.size), 0.1)
        if estimator == "mcmc":
            found = mcmc.relation(packet, window, num_steps=400, seed=seed)
        else:
            found = importance.relation(packet, window, num_samples=20_000, seed=seed)
        rate = slopes + 1 / 0.1**2
        limit = checks.z_quantile(self.size, found.degrees_of_freedom)
        for measure, value in (("sigma_x", (2 * rate) ** -0.5), ("sigma_p", (rate / 2) ** 0.5)):
            assert np.abs(_away(found, measure, value)).max() < limit
        np.testing.assert_allclose(found["product_by_correlation"].value, 0.5, atol=1e-6)

    def test_the_matrix_form_saturates_for_a_gaussian(self):
        packet, _ = self._packet()
        rows = axes.sample_directions(self.size, 4, seed=1)
        along = axes.join_axes(self.size, [("random", rows)], ())
        window = GaussianWindow(np.zeros(self.size), 0.1)
        found = importance.relation(packet, window, axes=along)
        form = matrix.compute_matrix_form(found)
        away = form.cross.value + 0.5 * rows @ rows.T
        assert np.abs(away / form.cross.stderr).max() < 4
        assert form.least.value >= -1e-9


class TestFaces:
    @pytest.mark.parametrize("name", ["truncated_gaussian", "linear"])
    def test_closed_forms(self, name):
        packet, known = example_packets.known(name)
        found = importance.relation(packet, known.domain)
        told = boundary.estimate_by_conditionals(packet, known.domain, found, ["pixel:0"])
        # Along its only coordinate a line says all.
        assert told.value[0] == pytest.approx(known.boundary, abs=1e-6)

    @pytest.mark.parametrize("estimator", [importance, mcmc])
    @_of_two_seeds
    def test_a_trained_network(self, estimator, seed=0):
        packet = example_packets.trained()
        found = estimator.relation(packet, Box(), seed=seed)
        told = boundary.estimate_by_conditionals(packet, Box(), found, found.axes.names)
        exact = np.diag(boundary.integrate_faces(packet, Box()))
        assert np.abs((told.value - exact) / told.stderr).max() < 4
        (check,) = [
            c for c in checks.check_relation(found, told, found.axes.names) if c.name == "faces"
        ]
        assert check.agrees, check.message

    @pytest.mark.parametrize("estimator", [importance, mcmc])
    @_of_two_seeds
    def test_a_direction(self, estimator, seed=0):
        packet = example_packets.trained()
        u = np.array([[0.6, -0.8], [1.0, 1.0]])
        along = axes.join_axes(2, [("u", u)], None)
        found = estimator.relation(packet, Box(), axes=along, seed=seed)
        told = boundary.estimate_by_conditionals(packet, Box(), found, along.names)
        b = boundary.integrate_faces(packet, Box())
        exact = np.einsum("ki,ij,kj->k", along.unit_vectors(2), b, along.unit_vectors(2))
        assert np.abs((told.value - exact) / told.stderr).max() < 4
        assert (told.stderr < 0.05).all()

    @pytest.mark.parametrize("rate", [0.0, 0.5])
    def test_a_direction_of_many_coordinates(self, rate):
        # A product of truncated Gaussians: B is the same along every u.
        u = axes.sample_directions(300, 1, seed=0)
        along = axes.join_axes(300, [("u", u)], ())
        packet = uncertainty.of_function(
            lambda x: -0.5 * rate * tf.reduce_sum((x - 0.5) ** 2, 1), 300
        )
        found = importance.relation(packet, Box(), axes=along)
        told = boundary.estimate_by_conditionals(packet, Box(), found, ["u:0"])
        t, weights = np.polynomial.legendre.leggauss(20)
        exact = np.exp(-rate / 4) / (weights / 2 @ np.exp(-rate * t**2 / 4))
        assert abs(told.value[0] - exact) < 4 * told.stderr[0] + 1e-9
        assert told.stderr[0] < 0.05

    def test_axes_that_there_are_not(self):
        packet = example_packets.trained()
        found = importance.relation(packet, Box())
        with pytest.raises(InputError, match=r"no axis 'pixel:2'; it has 2"):
            boundary.estimate_by_conditionals(packet, Box(), found, ["pixel:2"])


class TestChecksCanFail:
    def test_a_wrong_gradient(self):
        @tf.custom_gradient
        def wrong(points):
            def slope(upstream):
                return 1.2 * upstream[:, None] * -9 * (points - 0.3)

            return -4.5 * (points[:, 0] - 0.3) ** 2, slope

        packet = uncertainty.of_function(wrong, 1)
        found = importance.relation(packet, Box())
        told = boundary.estimate_by_conditionals(packet, Box(), found, ["pixel:0"])
        (check,) = checks.check_relation(found, told, ["pixel:0"])
        assert not check.agrees
        assert "DISAGREE" in check.message
        window = GaussianWindow(np.array([0.5]), 0.2)
        found = importance.relation(packet, window)
        told = {c.name: c for c in checks.check_relation(found)}
        assert not told["covariance"].agrees

    def test_chains_that_have_not_met(self):
        # Two hills that no chain crosses.
        packet = uncertainty.of_function(
            lambda p: tf.reduce_logsumexp(
                tf.stack([-800 * (p[:, 0] - c) ** 2 for c in (0.1, 0.9)]), 0
            ),
            1,
        )
        with pytest.raises(InputError, match="the chains do not mix"):
            mcmc.relation(packet, Box(), num_steps=200)
        found = mcmc.relation(packet, Box(), num_steps=200, min_effective_samples=0)
        (check,) = checks.check_relation(found)
        assert not check.agrees
        assert "along pixel:0" in check.message
        assert "Use more steps" in check.message

    def test_what_could_not_be_estimated_is_told(self):
        nothing = uncertainty.Estimate(np.array([0.1, np.nan]), np.array([0.1, 0.1]))
        check = checks.compare_with_zero("covariance", nothing, 39, "A and B")
        assert not check.agrees
        assert "1 could not be estimated" in check.message


class TestSameNumbers:
    def test_by_the_same_seed_and_in_any_batch(self):
        packet = example_packets.trained()
        one, same, other, seed = (
            importance.relation(packet, _WINDOW, num_samples=8000, batch_size=size, seed=seed)[
                "sigma_p"
            ].value
            for size, seed in ((100, 0), (100, 0), (200, 0), (100, 1))
        )
        np.testing.assert_array_equal(one, same)
        np.testing.assert_allclose(one, other, rtol=1e-5)
        assert (one != seed).all()

    def test_chains(self):
        one, same = (
            mcmc.relation(example_packets.trained(), _WINDOW, num_steps=50, min_effective_samples=0)
            for _ in range(2)
        )
        np.testing.assert_array_equal(one["sigma_p"].value, same["sigma_p"].value)


def test_memory_does_not_depend_on_the_number_of_samples():
    packet = example_packets.trained()
    few, many = (
        importance.relation(packet, _WINDOW, num_samples=n, batch_size=100) for n in (4000, 20_000)
    )
    for name, array in few.groups.items():
        assert many.groups[name].shape == array.shape
    assert few.retained_samples.points.shape == many.retained_samples.points.shape


class TestBadInput:
    def test_too_few_effective_samples(self):
        packet = example_packets.logistic(100)
        window = GaussianWindow(np.array([6.0]), 3.0)
        with pytest.raises(InputError, match=r"have the effective size .* narrower"):
            importance.relation(packet, window, num_samples=2000)

    def test_a_packet_that_is_zero(self):
        packet = uncertainty.of_function(lambda p: tf.math.log(0 * p[:, 0]), 1)
        for estimator in (importance, mcmc):
            with pytest.raises(InputError, match="zero at every point"):
                estimator.relation(packet, Box())

    def test_a_network_that_is_not_finite(self):
        def logits(x):
            return tf.concat([x, tf.math.log(x - 0.5)], 1)

        packet = uncertainty.of_classifier(logits, 0, shape=(1,))
        for estimator in (importance, mcmc):
            with pytest.raises(InputError, match="not finite"):
                estimator.relation(packet, Box())

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"pixels": [2]}, "pixel must be one of 0 to 1; got 2"),
            ({"pixels": []}, "Give a pixel or a direction"),
            ({"directions": [[1, 2, 3]]}, r"must be \[k, 2\].*\[1, 3\]"),
            ({"directions": [1.0, 0.0]}, r"got the shape \[2\]"),
            ({"directions": np.ones((0, 2))}, "Give a pixel or a direction"),
            ({"directions": [[1j, 0.0]]}, "must be real numbers"),
            ({"directions": [[0.0, 0.0]]}, "longer than 0"),
            ({"directions": [[np.nan, 0.0]]}, "must be finite"),
        ],
    )
    def test_axes(self, options, words):
        with pytest.raises(InputError, match=words):
            axes.build_axes(2, **options)

    def test_pixels_and_no_direction_that_is_there(self):
        along = axes.join_axes(2, [("u", np.ones((0, 2)))], None)
        assert along.names == ("pixel:0", "pixel:1")

    def test_more_principal_axes_than_there_are(self):
        images = np.random.rand(5, 3, 3)
        assert axes.compute_principal_axes(images, 4).shape == (4, 9)
        with pytest.raises(InputError, match="PCA axes"):
            axes.compute_principal_axes(images, 5)
        with pytest.raises(InputError, match="fewer than 2"):
            axes.compute_principal_axes(images[:1].repeat(5, 0), 2)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"num_chains": 3}, "num_chains must be .* at least 4"),
            ({"num_steps": 0}, "num_steps"),
            ({"num_burn_in": 0}, "num_burn_in"),
        ],
    )
    def test_chains(self, options, words):
        with pytest.raises(InputError, match=words):
            mcmc.relation(example_packets.trained(), Box(), **options)

    def test_relations_that_cannot_be_compared(self):
        packet = example_packets.trained()
        one = importance.relation(packet, _WINDOW)
        other = importance.relation(packet, Box())
        with pytest.raises(InputError, match="one domain"):
            checks.check_agreement(one, other)


def test_what_is_written_is_read(tmp_path):
    found = mcmc.relation(example_packets.trained(), _WINDOW, num_steps=50, min_effective_samples=0)
    records.save(tmp_path / "a.npz", found, label=3)
    arrays, told = records.load(tmp_path / "a.npz")
    assert told["label"] == 3
    assert told["estimator"] == "mcmc"
    assert list(arrays["axes"]) == ["pixel:0", "pixel:1"]
    for measure in uncertainty.MEASURES:
        np.testing.assert_array_equal(arrays[measure], found[measure].value)
    assert arrays["trace_log_density"].shape == (2, 32)
    worst = told["diagnostics"]
    assert arrays["axis_r_hat"].shape == (2,)
    assert arrays["axis_r_hat"].max() == worst["r_hat"]
    sizes = arrays["axis_effective_sample_size"]
    assert sizes.min() == worst["least_effective_sample_size"]
    assert np.median(sizes) == told["effective_sample_size"]
