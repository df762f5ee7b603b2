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


def _retry_with_another_seed(test):
    """Repeats a failed test with a second seed.

    Rounding errors change chains, so a processor may draw a rare sample. A wrong estimator fails
    with the second seed too.
    """

    @functools.wraps(test)
    def run(*args, **kwargs):
        try:
            test(*args, **kwargs)
        except AssertionError:
            test(*args, **kwargs, seed=1)

    return run


def _compute_z_scores(result, measure, expected):
    """Returns how many standard errors an estimate is from its value."""
    estimate = result[measure]
    return (estimate.value - expected) / np.maximum(estimate.stderr, 1e-9)


@pytest.mark.parametrize("name", example_packets.CLOSED_FORMS)
def test_closed_forms_within_their_errors(name):
    packet, known = example_packets.get_packet(name)
    result = importance.relation(packet, known.domain, num_samples=20_000)
    allowed = checks.compute_z_quantile(3, result.degrees_of_freedom)
    expected = {"sigma_x": known.sigma_x, "sigma_p": known.sigma_p, "boundary_term": known.boundary}
    for measure, value in expected.items():
        if known.sigma_p == 0 and measure != "sigma_x":
            # s is constant, so that there is no error either.
            assert result[measure].value[0] == pytest.approx(value, abs=1e-6)
            continue
        assert abs(_compute_z_scores(result, measure, value)[0]) < allowed, measure


@pytest.mark.parametrize("name", [n for n, k in example_packets.CLOSED_FORMS.items() if not k.zero])
@_retry_with_another_seed
def test_chains_give_the_closed_forms(name, seed=0):
    packet, known = example_packets.get_packet(name)
    result = mcmc.relation(packet, known.domain, num_steps=600, seed=seed)
    allowed = checks.compute_z_quantile(3, result.degrees_of_freedom)
    assert result.diagnostics["r_hat"] < 1.02
    for measure, value in (
        ("sigma_x", known.sigma_x),
        ("sigma_p", known.sigma_p),
        ("boundary_term", known.boundary),
    ):
        if known.sigma_p == 0 and measure != "sigma_x":
            assert result[measure].value[0] == pytest.approx(value, abs=1e-5)
            continue
        assert abs(_compute_z_scores(result, measure, value)[0]) < allowed, measure


@pytest.mark.parametrize(
    "domain",
    [
        _WINDOW,
        pytest.param(Box(), marks=pytest.mark.slow),
        pytest.param(SineWindow(), marks=pytest.mark.slow),
    ],
)
def test_three_estimators_agree_on_a_trained_network(domain):
    packet = example_packets.trained_packet()
    all_axes = axes.join_axes(2, [("u", np.array([[0.6, -0.8]]))], None)
    exact = quadrature.relation(packet, domain, axes=all_axes)
    # One seed in some hundred is unlucky, and then in several comparisons at
    # once (a product is, where its factor is); which one depends on the
    # processor's rounding. What is wrong fails with another seed too.
    failed = collections.Counter()
    for seed in range(3):
        failed.update(_disagreements(packet, domain, all_axes, exact, seed))
    assert not failed or max(failed.values()) == 1, failed


def _disagreements(packet, domain, all_axes, exact, seed):
    """Yields the comparisons in which estimators are too far apart."""
    drawn = importance.relation(
        packet, domain, axes=all_axes, num_samples=40_000, batch_size=1000, seed=seed
    )
    walked = mcmc.relation(packet, domain, axes=all_axes, num_steps=2000, seed=seed)
    for result in (drawn, walked):
        allowed = checks.compute_z_quantile(3 * len(_COMPARED), result.degrees_of_freedom)
        for measure in _COMPARED:
            z_scores = _compute_z_scores(result, measure, exact[measure].value)
            if np.abs(z_scores).max() >= allowed:
                yield result.estimator, measure
    estimate = [*checks.check_agreement(drawn, walked), *checks.check_relation(walked)]
    for place, check in enumerate(estimate):
        if not check.agrees:
            yield place, check.message.partition(":")[0]


@pytest.mark.slow
def test_chains_know_their_errors_where_the_window_has_a_zero():
    # Cov(x, s) has its weight near the faces, where chains on x itself stick:
    # their errors were half of what seeds differ by, and their mean was off.
    packet = example_packets.trained_packet()
    result = [mcmc.relation(packet, SineWindow(), num_steps=2000, seed=seed) for seed in range(40)]
    values = np.stack([first["covariance"].value for first in result])
    errors = np.stack([first["covariance"].stderr for first in result])
    ratio = values.std(0, ddof=1) / errors.mean(0)
    assert (ratio > 0.65).all() and (ratio < 1.4).all(), ratio
    z_scores = ((values + 0.5) / errors).mean(0)
    assert (np.abs(z_scores) < 0.5).all(), z_scores


@pytest.mark.slow
def test_intervals_cover_what_quadrature_gives():
    packet = example_packets.trained_packet()
    exact = quadrature.relation(packet, _WINDOW)
    covered_by_measure = {measure: [] for measure in _COMPARED}
    for seed in range(200):
        result = importance.relation(packet, _WINDOW, num_samples=4000, batch_size=100, seed=seed)
        width = stats.t.ppf(0.975, result.degrees_of_freedom)
        for measure, covered in covered_by_measure.items():
            z_scores = _compute_z_scores(result, measure, exact[measure].value)
            covered.append(np.abs(z_scores) < width)
    for measure, covered in covered_by_measure.items():
        share = np.mean(covered, 0)
        assert (share >= 0.90).all() and (share <= 0.99).all(), (measure, share)


@pytest.mark.slow
def test_intervals_hold_where_the_product_is_stationary():
    # ln l is nearly linear: the product is 1/2, and its slope vanishes.
    packet = example_packets.logistic_packet(1)
    window = GaussianWindow(np.array([0.5]), 0.2)
    covered = []
    for seed in range(150):
        result = importance.relation(packet, window, num_samples=2000, batch_size=50, seed=seed)
        z_scores = _compute_z_scores(result, "uncertainty_product", 0.5)
        covered.append(np.abs(z_scores[0]) < stats.t.ppf(0.975, result.degrees_of_freedom))
    assert np.mean(covered) >= 0.93


def test_the_correlation_takes_most_of_the_noise_away():
    packet = example_packets.logistic_packet(20)
    window = GaussianWindow(np.array([0.5]), 0.2)
    exact = quadrature.relation(packet, window, panels=256)
    result = importance.relation(packet, window)
    measure = "product_by_correlation"
    assert abs(_compute_z_scores(result, measure, exact[measure].value)[0]) < 3.5
    noise = result["uncertainty_product"].stderr[0]
    assert result[measure].stderr[0] < noise / 5


class TestHighDimension:
    """A packet of 60 coordinates whose answers are known."""

    size = 60

    def _packet(self):
        # rho = l^2 w^2 is a Gaussian of variance 1 / (2 (k_i + 1 / s^2)).
        curvatures = np.linspace(0, 30, self.size)
        return uncertainty.of_function(
            lambda p: -0.5 * tf.reduce_sum(curvatures * p**2, 1), self.size
        ), curvatures

    @pytest.mark.parametrize("estimator", ["importance", "mcmc"])
    @_retry_with_another_seed
    def test_every_coordinate(self, estimator, seed=0):
        packet, curvatures = self._packet()
        window = GaussianWindow(np.zeros(self.size), 0.1)
        if estimator == "mcmc":
            result = mcmc.relation(packet, window, num_steps=400, seed=seed)
        else:
            result = importance.relation(packet, window, num_samples=20_000, seed=seed)
        rate = curvatures + 1 / 0.1**2
        allowed = checks.compute_z_quantile(self.size, result.degrees_of_freedom)
        for measure, value in (("sigma_x", (2 * rate) ** -0.5), ("sigma_p", (rate / 2) ** 0.5)):
            assert np.abs(_compute_z_scores(result, measure, value)).max() < allowed
        np.testing.assert_allclose(result["product_by_correlation"].value, 0.5, atol=1e-6)

    def test_the_matrix_form_saturates_for_a_gaussian(self):
        packet, _ = self._packet()
        rows = axes.sample_directions(self.size, 4, seed=1)
        all_axes = axes.join_axes(self.size, [("random", rows)], ())
        window = GaussianWindow(np.zeros(self.size), 0.1)
        result = importance.relation(packet, window, axes=all_axes)
        form = matrix.compute_matrix_form(result)
        z_scores = form.cross.value + 0.5 * rows @ rows.T
        assert np.abs(z_scores / form.cross.stderr).max() < 4
        assert form.least.value >= -1e-9


class TestFaces:
    @pytest.mark.parametrize("name", ["truncated_gaussian", "linear"])
    def test_closed_forms(self, name):
        packet, known = example_packets.get_packet(name)
        result = importance.relation(packet, known.domain)
        estimate = boundary.estimate_by_conditionals(packet, known.domain, result, ["pixel:0"])
        # Along its only coordinate a line says all.
        assert estimate.value[0] == pytest.approx(known.boundary, abs=1e-6)

    @pytest.mark.parametrize("estimator", [importance, mcmc])
    @_retry_with_another_seed
    def test_a_trained_network(self, estimator, seed=0):
        packet = example_packets.trained_packet()
        result = estimator.relation(packet, Box(), seed=seed)
        estimate = boundary.estimate_by_conditionals(packet, Box(), result, result.axes.names)
        exact = np.diag(boundary.integrate_faces(packet, Box()))
        assert np.abs((estimate.value - exact) / estimate.stderr).max() < 4
        (check,) = [
            c
            for c in checks.check_relation(result, estimate, result.axes.names)
            if c.name == "faces"
        ]
        assert check.agrees, check.message

    @pytest.mark.parametrize("estimator", [importance, mcmc])
    @_retry_with_another_seed
    def test_a_direction(self, estimator, seed=0):
        packet = example_packets.trained_packet()
        u = np.array([[0.6, -0.8], [1.0, 1.0]])
        all_axes = axes.join_axes(2, [("u", u)], None)
        result = estimator.relation(packet, Box(), axes=all_axes, seed=seed)
        estimate = boundary.estimate_by_conditionals(packet, Box(), result, all_axes.names)
        b = boundary.integrate_faces(packet, Box())
        exact = np.einsum(
            "ki,ij,kj->k", all_axes.build_unit_vectors(2), b, all_axes.build_unit_vectors(2)
        )
        assert np.abs((estimate.value - exact) / estimate.stderr).max() < 4
        assert (estimate.stderr < 0.05).all()

    @pytest.mark.parametrize("rate", [0.0, 0.5])
    def test_a_direction_of_many_coordinates(self, rate):
        # A product of truncated Gaussians: B is the same along every u.
        u = axes.sample_directions(300, 1, seed=0)
        all_axes = axes.join_axes(300, [("u", u)], ())
        packet = uncertainty.of_function(
            lambda x: -0.5 * rate * tf.reduce_sum((x - 0.5) ** 2, 1), 300
        )
        result = importance.relation(packet, Box(), axes=all_axes)
        estimate = boundary.estimate_by_conditionals(packet, Box(), result, ["u:0"])
        t, weights = np.polynomial.legendre.leggauss(20)
        exact = np.exp(-rate / 4) / (weights / 2 @ np.exp(-rate * t**2 / 4))
        assert abs(estimate.value[0] - exact) < 4 * estimate.stderr[0] + 1e-9
        assert estimate.stderr[0] < 0.05

    def test_axes_that_there_are_not(self):
        packet = example_packets.trained_packet()
        result = importance.relation(packet, Box())
        with pytest.raises(InputError, match=r"no axis 'pixel:2'; it has 2"):
            boundary.estimate_by_conditionals(packet, Box(), result, ["pixel:2"])


class TestChecksCanFail:
    def test_a_wrong_gradient(self):
        @tf.custom_gradient
        def log_amplitude(points):
            def gradient(upstream):
                return 1.2 * upstream[:, None] * -9 * (points - 0.3)

            return -4.5 * (points[:, 0] - 0.3) ** 2, gradient

        packet = uncertainty.of_function(log_amplitude, 1)
        result = importance.relation(packet, Box())
        estimate = boundary.estimate_by_conditionals(packet, Box(), result, ["pixel:0"])
        (check,) = checks.check_relation(result, estimate, ["pixel:0"])
        assert not check.agrees
        assert "DISAGREE" in check.message
        window = GaussianWindow(np.array([0.5]), 0.2)
        result = importance.relation(packet, window)
        by_name = {c.name: c for c in checks.check_relation(result)}
        assert not by_name["covariance"].agrees

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
        result = mcmc.relation(packet, Box(), num_steps=200, min_effective_samples=0)
        (check,) = checks.check_relation(result)
        assert not check.agrees
        assert "along pixel:0" in check.message
        assert "Use more steps" in check.message

    def test_what_could_not_be_estimated_is_told(self):
        unknown = uncertainty.Estimate(np.array([0.1, np.nan]), np.array([0.1, 0.1]))
        check = checks.compare_with_zero("covariance", unknown, 39, "A and B")
        assert not check.agrees
        assert "1 could not be estimated" in check.message


class TestSameNumbers:
    def test_by_the_same_seed_and_in_any_batch(self):
        packet = example_packets.trained_packet()
        first, repeated, second, seed = (
            importance.relation(packet, _WINDOW, num_samples=8000, batch_size=size, seed=seed)[
                "sigma_p"
            ].value
            for size, seed in ((100, 0), (100, 0), (200, 0), (100, 1))
        )
        np.testing.assert_array_equal(first, repeated)
        np.testing.assert_allclose(first, second, rtol=1e-5)
        assert (first != seed).all()

    def test_chains(self):
        first, repeated = (
            mcmc.relation(
                example_packets.trained_packet(), _WINDOW, num_steps=50, min_effective_samples=0
            )
            for _ in range(2)
        )
        np.testing.assert_array_equal(first["sigma_p"].value, repeated["sigma_p"].value)


def test_memory_does_not_depend_on_the_number_of_samples():
    packet = example_packets.trained_packet()
    few, many = (
        importance.relation(packet, _WINDOW, num_samples=n, batch_size=100) for n in (4000, 20_000)
    )
    for name, array in few.groups.items():
        assert many.groups[name].shape == array.shape
    assert few.retained_samples.points.shape == many.retained_samples.points.shape


class TestBadInput:
    def test_too_few_effective_samples(self):
        packet = example_packets.logistic_packet(100)
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
        ("options", "message"),
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
    def test_axes(self, options, message):
        with pytest.raises(InputError, match=message):
            axes.build_axes(2, **options)

    def test_pixels_and_no_direction_that_is_there(self):
        all_axes = axes.join_axes(2, [("u", np.ones((0, 2)))], None)
        assert all_axes.names == ("pixel:0", "pixel:1")

    def test_more_principal_axes_than_there_are(self):
        images = np.random.rand(5, 3, 3)
        assert axes.compute_principal_axes(images, 4).shape == (4, 9)
        with pytest.raises(InputError, match="PCA axes"):
            axes.compute_principal_axes(images, 5)
        with pytest.raises(InputError, match="fewer than 2"):
            axes.compute_principal_axes(images[:1].repeat(5, 0), 2)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"num_chains": 3}, "num_chains must be .* at least 4"),
            ({"num_steps": 0}, "num_steps"),
            ({"num_burn_in": 0}, "num_burn_in"),
        ],
    )
    def test_chains(self, options, message):
        with pytest.raises(InputError, match=message):
            mcmc.relation(example_packets.trained_packet(), Box(), **options)

    def test_relations_that_cannot_be_compared(self):
        packet = example_packets.trained_packet()
        first = importance.relation(packet, _WINDOW)
        second = importance.relation(packet, Box())
        with pytest.raises(InputError, match="one domain"):
            checks.check_agreement(first, second)


def test_what_is_written_is_read(tmp_path):
    result = mcmc.relation(
        example_packets.trained_packet(), _WINDOW, num_steps=50, min_effective_samples=0
    )
    records.save(tmp_path / "a.npz", result, label=3)
    arrays, metadata = records.load(tmp_path / "a.npz")
    assert metadata["label"] == 3
    assert metadata["estimator"] == "mcmc"
    assert list(arrays["axes"]) == ["pixel:0", "pixel:1"]
    for measure in uncertainty.MEASURES:
        np.testing.assert_array_equal(arrays[measure], result[measure].value)
    assert arrays["trace_log_density"].shape == (2, 32)
    worst = metadata["diagnostics"]
    assert arrays["axis_r_hat"].shape == (2,)
    assert arrays["axis_r_hat"].max() == worst["r_hat"]
    sizes = arrays["axis_effective_sample_size"]
    assert sizes.min() == worst["least_effective_sample_size"]
    assert np.median(sizes) == metadata["effective_sample_size"]
