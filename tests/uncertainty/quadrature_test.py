"""The corrected relation, to six digits, where it can be integrated."""

import math

import numpy as np
import pytest
import tensorflow as tf

from qup import uncertainty
from qup.core.errors import InputError
from qup.uncertainty import Box, GaussianWindow, SineWindow, axes, boundary, matrix, quadrature
from tests.uncertainty import example_packets


def _integrate(name):
    packet, known = example_packets.get_packet(name)
    breaks = [known.breaks] if known.breaks else ()
    result = quadrature.relation(packet, known.domain, panels=256, breaks=breaks)
    return result, packet, known


@pytest.mark.parametrize("name", example_packets.CLOSED_FORMS)
def test_closed_forms(name):
    result, _, known = _integrate(name)
    assert result["sigma_x"].value[0] == pytest.approx(known.sigma_x, abs=1e-6)
    assert result["sigma_p"].value[0] == pytest.approx(known.sigma_p, abs=1e-6)
    value = result["boundary_term"].value[0]
    assert value == pytest.approx(known.boundary, abs=1e-6)


@pytest.mark.parametrize("name", example_packets.CLOSED_FORMS)
def test_the_corrected_bound_holds_and_one_half_need_not(name):
    result, _, known = _integrate(name)
    product = result["uncertainty_product"].value[0]
    bound = result["uncertainty_bound"].value[0]
    assert bound == pytest.approx(0.5 * abs(1 - known.boundary), abs=1e-6)
    assert product >= bound - 1e-9
    if name in ("constant", "linear", "exponential"):
        assert product < 0.2


@pytest.mark.parametrize(
    "name", ["constant", "exponential", "truncated_gaussian", "truncated_valley", "gaussian"]
)
def test_truncated_gaussians_saturate_the_bound(name):
    result, _, _ = _integrate(name)
    product = result["uncertainty_product"].value[0]
    bound = result["uncertainty_bound"].value[0]
    assert product == pytest.approx(bound, abs=1e-9)


def test_nothing_else_saturates_it():
    result, _, _ = _integrate("linear")
    gap = result["uncertainty_product"].value - result["uncertainty_bound"].value
    assert gap[0] == pytest.approx(math.sqrt(9 / 320) - 0.125, abs=1e-9)


@pytest.mark.parametrize("name", example_packets.CLOSED_FORMS)
def test_both_ways_to_the_boundary_term_agree(name):
    result, packet, known = _integrate(name)
    faces = boundary.integrate_faces(packet, known.domain, panels=256)
    assert faces[0, 0] == pytest.approx(result["boundary_term"].value[0], abs=1e-6)


def test_a_correlated_gaussian_exceeds_one_half_by_its_correlation():
    inverse = np.linalg.inv([[1.0, 0.8], [0.8, 1.0]])
    packet = uncertainty.of_function(
        lambda p: -0.25 * tf.reduce_sum(p * tf.matmul(p, inverse), 1), 2
    )
    result = quadrature.relation(packet, Box(-9.0, 9.0))
    expected = 0.5 / math.sqrt(1 - 0.8**2)
    np.testing.assert_allclose(result["uncertainty_product"].value, expected, atol=1e-6)
    # Along the principal axes nothing is correlated.
    all_axes = axes.build_axes(2, (), [[1, 1], [1, -1]])
    result = quadrature.relation(packet, Box(-9.0, 9.0), axes=all_axes)
    np.testing.assert_allclose(result["uncertainty_product"].value, 0.5, atol=1e-6)
    # Sigma - P^-1 / 4 is 0 for a Gaussian.
    assert abs(matrix.compute_matrix_form(result).least_vanishing.value) < 1e-6


@pytest.mark.parametrize(
    ("sharpness", "product"), [(1, 0.5), (5, 0.500012), (20, 0.512078), (100, 0.561712)]
)
def test_a_windowed_packet_has_exactly_one_half_as_its_bound(sharpness, product):
    window = GaussianWindow(np.array([0.5]), 0.2)
    result = quadrature.relation(
        example_packets.logistic_packet(sharpness), window, panels=256, breaks=[(0.5,)]
    )
    assert result["covariance"].value[0] == pytest.approx(-0.5, abs=1e-6)
    assert result["mean_p"].value[0] == pytest.approx(0, abs=1e-6)
    assert result["uncertainty_bound"].value[0] == 0.5
    value = result["uncertainty_product"].value[0]
    assert value == pytest.approx(product, abs=2e-6)
    # With and without the cross term, and by the correlation.
    for second in ("sigma_p_direct", "sigma_p_raw"):
        assert result[second].value[0] == pytest.approx(result["sigma_p"].value[0], abs=1e-5)
    assert result["product_by_correlation"].value[0] == pytest.approx(product, abs=2e-6)


@pytest.mark.parametrize("width", [0.05, 0.2, 1.0])
def test_a_constant_loss_has_the_widths_of_the_window(width):
    packet = uncertainty.of_function(lambda p: 0 * p[:, 0], 1)
    result = quadrature.relation(packet, GaussianWindow(np.zeros(1), width))
    root = math.sqrt(2)
    assert result["sigma_x"].value[0] == pytest.approx(width / root, rel=1e-9)
    assert result["sigma_p"].value[0] == pytest.approx(1 / (root * width), rel=1e-9)


def test_the_sine_window_vanishes_on_every_face():
    packet = uncertainty.of_function(lambda p: p[:, 0] + p[:, 1] ** 2 / 2, 2)
    all_axes = axes.join_axes(2, [("u", np.array([[0.6, 0.8]]))], None)
    result = quadrature.relation(packet, SineWindow(), axes=all_axes)
    np.testing.assert_allclose(result["covariance"].value, -0.5, atol=1e-6)
    np.testing.assert_allclose(result["sigma_p"].value, result["sigma_p_direct"].value, rtol=1e-6)
    # ln l is linear in x_0: <p_0^2> = 1 + pi^2.
    assert result["sigma_p"].value[0] ** 2 == pytest.approx(1 + math.pi**2)


class TestInvariances:
    def test_the_size_of_the_loss_does_not_count(self):
        packet, known = example_packets.get_packet("sech")
        louder = uncertainty.of_function(lambda p: known.log_amplitude(p) + 300.0, 1)
        for measure in ("sigma_x", "sigma_p", "boundary_term"):
            first, second = (
                quadrature.relation(each, known.domain)[measure].value for each in (packet, louder)
            )
            np.testing.assert_allclose(first, second, atol=1e-12)

    @pytest.mark.parametrize("scale", [0.1, 7.0])
    def test_units_change_both_widths_and_no_product(self, scale):
        packet, known = example_packets.get_packet("truncated_gaussian")
        scaled = uncertainty.of_function(lambda p: known.log_amplitude(p / scale), 1)
        first = quadrature.relation(packet, Box(0.0, 1.0))
        second = quadrature.relation(scaled, Box(0.0, scale))
        for measure in ("uncertainty_product", "boundary_term"):
            np.testing.assert_allclose(first[measure].value, second[measure].value, rtol=1e-9)
        np.testing.assert_allclose(
            first["sigma_x"].value * scale, second["sigma_x"].value, rtol=1e-9
        )

    def test_temperature_moves_the_widths_and_no_accuracy(self):
        result = [
            quadrature.relation(example_packets.trained_packet(temperature=t), Box())
            for t in (0.25, 1.0, 4.0)
        ]
        widths = [r["sigma_p"].value[0] for r in result]
        assert len(np.unique(np.round(widths, 2))) == 3
        logits = example_packets.get_network(20)(np.random.rand(50, 2).astype("f4"))
        classes = {tuple(np.argmax(logits / t, 1)) for t in (0.25, 1.0, 4.0)}
        assert len(classes) == 1


class TestMatrix:
    def test_off_diagonals_of_the_boundary_term_count(self):
        packet = example_packets.trained_packet()
        result = quadrature.relation(packet, Box())
        form = matrix.compute_matrix_form(result)
        faces = boundary.integrate_faces(packet, Box())
        np.testing.assert_allclose(form.boundary.value, faces, atol=1e-5)
        assert abs(faces[0, 1]) > 0.01
        u = np.array([0.6, 0.8])
        all_axes = axes.build_axes(2, (), u[None])
        value = quadrature.relation(packet, Box(), axes=all_axes)
        # 1/2 |1 - u^T B u|
        bound = 0.5 * abs(1 - u @ faces @ u)
        assert value["uncertainty_bound"].value[0] == pytest.approx(bound, abs=1e-5)

    def test_cramer_and_rao_hold_where_the_packet_vanishes(self):
        window = GaussianWindow(np.array([0.5, 0.5]), 0.3)
        form = matrix.compute_matrix_form(
            quadrature.relation(example_packets.trained_packet(), window)
        )
        np.testing.assert_allclose(form.cross.value, -0.5 * np.eye(2), atol=1e-5)
        assert form.least.value >= -1e-9
        assert form.least_vanishing.value >= -1e-9

    def test_they_need_not_hold_on_the_box(self):
        form = matrix.compute_matrix_form(
            quadrature.relation(example_packets.trained_packet(), Box())
        )
        assert form.least.value >= -1e-9
        assert form.least_vanishing.value < -0.01

    def test_fisher_information_is_four_p(self):
        packet, known = example_packets.get_packet("gaussian")
        result = quadrature.relation(packet, known.domain)
        # A Gaussian of deviation 1.
        assert result["fisher_information"].value[0] == pytest.approx(1.0)


class TestBadInput:
    def test_three_coordinates(self):
        packet = uncertainty.of_function(lambda p: p[:, 0], 3)
        with pytest.raises(InputError, match="one or two coordinates; got 3"):
            quadrature.relation(packet, Box())

    def test_a_packet_that_is_zero(self):
        packet = uncertainty.of_function(lambda p: tf.math.log(0 * p[:, 0]), 1)
        with pytest.raises(InputError, match="zero at every point"):
            quadrature.relation(packet, Box())

    def test_a_packet_that_is_not_finite(self):
        packet = uncertainty.of_function(lambda p: tf.math.log(0.5 - p[:, 0]), 1)
        with pytest.raises(InputError, match="not finite at"):
            quadrature.relation(packet, Box())

    def test_faces_of_a_window(self):
        packet, _ = example_packets.get_packet("gaussian")
        window = GaussianWindow(np.zeros(1), 1.0)
        with pytest.raises(InputError, match="B is 0"):
            boundary.integrate_faces(packet, window)
