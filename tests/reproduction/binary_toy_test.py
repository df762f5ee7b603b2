"""The binary toy: closed forms in X and P, networks, the program."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from qup import uncertainty
from qup.core import compilation, measurements
from qup.core.errors import InputError
from qup.reproduction import binary_toy
from qup.reproduction.binary_toy import packets, pipeline
from qup.reproduction.binary_toy.packets import (
    GridAmplitude,
    compute_conjugate,
    compute_overlap,
    sample_packet,
)
from qup.uncertainty import quadrature

_ROOT = pathlib.Path(__file__).parents[2]
_BOX = uncertainty.Box()
_SHAPE = {"shape": (2,), "num_classes": 2}


def _gaussian(centre=(0.5, 0.5), sigma=0.04):
    """Psi whose density has the deviation sigma, on [0, 1]^2."""

    def log_amplitude(x):
        return -tf.reduce_sum((x - centre) ** 2, 1) / (4 * sigma**2)

    packet = uncertainty.of_function(log_amplitude, 2)
    return sample_packet(packet, _BOX, 0.0, 1.0, 135)


@pytest.fixture(scope="module")
def network():
    return binary_toy.train_networks(0, (4,), 300)[4]


def test_conjugate_of_a_gaussian():
    sigma, centre = 0.04, np.array([0.45, 0.55])
    field = _gaussian(centre, sigma)
    momentum = compute_conjugate(field, 3)
    k = momentum.coordinates
    # psi~ = (2 sigma^2 / pi)^(1/2) exp(-sigma^2 k^2 - i k.centre)
    one = [np.exp(-((sigma * k) ** 2) - 1j * k * c) for c in centre]
    expected = sigma * np.sqrt(2 / np.pi) * np.outer(*one)
    np.testing.assert_allclose(momentum.values, expected, atol=1e-12)
    # Parseval
    assert momentum.density.sum() * momentum.spacing**2 == pytest.approx(1)
    np.testing.assert_allclose(momentum.mean(), 0, atol=1e-9)
    np.testing.assert_allclose(field.mean(), centre, atol=1e-9)
    np.testing.assert_allclose(field.std(), sigma, rtol=1e-9)
    np.testing.assert_allclose(momentum.std(), 0.5 / sigma, rtol=1e-9)
    product = field.std() * momentum.std()
    np.testing.assert_allclose(product, 0.5, rtol=1e-9)


def test_two_copies_overlap_in_x_by_distance_and_in_p_wholly():
    sigma, away = 0.04, np.array([0.07, 0.03])
    fields = [_gaussian((0.5, 0.5), sigma), _gaussian(0.5 + away, sigma)]
    in_x = np.exp(-(away @ away) / (8 * sigma**2))
    assert compute_overlap(*fields) == pytest.approx(in_x, rel=1e-9)
    momenta = [compute_conjugate(field, 3) for field in fields]
    assert compute_overlap(*momenta) == pytest.approx(1, abs=1e-12)


def test_widths_alone_move_both_overlaps():
    fields = [_gaussian(sigma=0.03), _gaussian(sigma=0.05)]
    expected = 2 * 0.03 * 0.05 / (0.03**2 + 0.05**2)
    assert compute_overlap(*fields) == pytest.approx(expected, rel=1e-9)
    momenta = [compute_conjugate(field, 3) for field in fields]
    assert compute_overlap(*momenta) == pytest.approx(expected, rel=1e-9)


def test_only_a_complex_packet_leaves_the_middle_of_p():
    """What Fig. 2 draws in P needs a phase, which no loss has."""
    field, sigma, shift = _gaussian(), 0.04, 20.0
    turned = field.values * np.exp(1j * shift * field.coordinates)[:, None]
    momentum = compute_conjugate(GridAmplitude(turned, field.coordinates), 3)
    np.testing.assert_allclose(momentum.mean(), [shift, 0], atol=1e-6)
    # exp(-shift^2 / 8 sigma_p^2), sigma_p = 1 / 2 sigma
    expected = np.exp(-0.5 * (shift * sigma) ** 2)
    found = compute_overlap(compute_conjugate(field, 3), momentum)
    assert found == pytest.approx(expected, rel=1e-6)


def test_grids_that_differ_are_refused():
    one = _gaussian()
    other = GridAmplitude(one.values, one.coordinates + 0.1)
    with pytest.raises(InputError, match="one grid"):
        compute_overlap(one, other)


@pytest.mark.parametrize("kind", ["loss", "sqrt_prob"])
@pytest.mark.parametrize("name", ["sine", "window:0.1"])
def test_sigma_p_is_the_deviation_of_the_conjugate(network, kind, name):
    fields, momenta = [], []
    for label in (0, 1):
        packet = uncertainty.of_classifier(network, label, kind=kind, **_SHAPE)
        domain = binary_toy.get_domain(name, label)
        field = sample_packet(packet, domain, *binary_toy.SPANS[name], 405)
        momentum = compute_conjugate(field, 1)
        fields.append(field)
        momenta.append(momentum)
        found = quadrature.relation(packet, domain, panels=12)
        for own, measure in ((field, "sigma_x"), (momentum, "sigma_p")):
            np.testing.assert_allclose(own.std(), found[measure].value, rtol=3e-3)
        # Real packets: symmetric about 0, so their centre is there.
        density = momentum.density
        np.testing.assert_allclose(density, density[::-1, ::-1], atol=1e-12 * density.max())
    # The inner product is the same in X and P, and the overlap in P larger.
    inner = np.vdot(momenta[0].values, momenta[1].values)
    inner *= momenta[0].spacing ** 2
    assert inner == pytest.approx(compute_overlap(*fields), rel=1e-9)
    assert compute_overlap(*momenta) > compute_overlap(*fields)


def test_on_the_box_the_second_moment_in_p_has_no_limit():
    packet = uncertainty.of_function(lambda x: 0.0 * x[:, 0], 2)
    coarse, fine = (
        compute_conjugate(sample_packet(packet, _BOX, 0.0, 1.0, count), 3).std()
        for count in (81, 324)
    )
    # int^K k^2 |psi~|^2 grows as K
    np.testing.assert_allclose(fine / coarse, 2.0, rtol=0.02)
    inside = quadrature.relation(packet, _BOX, panels=2)
    np.testing.assert_allclose(inside["sigma_p"].value, 0, atol=1e-6)


def test_points_belong_to_their_seed_and_arcs():
    points, labels = binary_toy.sample_points(4000, 3)
    again = binary_toy.sample_points(100, 3)
    assert (again[0] == points[:100]).all() and (again[1] == labels[:100]).all()
    assert not np.array_equal(binary_toy.sample_points(100, 4)[0], again[0])
    assert points.min() >= 0 and points.max() <= 1
    assert abs(labels.mean() - 0.5) < 0.03
    # The classes are one another's image under a turn by 180 degrees.
    turned = [points[labels == 0], 1 - points[labels == 1]]
    means, spreads = ([f(p, 0) for p in turned] for f in (np.mean, np.std))
    np.testing.assert_allclose(*means, atol=0.012)
    np.testing.assert_allclose(*spreads, atol=0.012)
    # The middle of an arc is where a window stands.
    near = np.linalg.norm(points - binary_toy.CENTRES[labels], axis=1)
    other = np.linalg.norm(points - binary_toy.CENTRES[1 - labels], axis=1)
    assert near.min() < 0.01 and np.mean(near < other) > 0.7


def test_training_depends_on_its_seed_alone(network):
    points, _ = binary_toy.sample_held_out(0, 50)
    again = binary_toy.train_networks(0, (4,), 300)[4]
    np.testing.assert_array_equal(again(points), network(points))
    weights = [binary_toy.build_network(seed).get_weights()[0] for seed in (0, 0, 1)]
    assert (weights[0] == weights[1]).all()
    assert not np.isclose(weights[0], weights[2]).any()


def test_pgd_finds_what_a_search_of_the_whole_ball_finds(network):
    points, labels = binary_toy.sample_held_out(0, 200)
    clean, robust = binary_toy.compute_accuracies(network, points, labels, epsilons=(0.1,), seed=0)
    steps = np.linspace(-0.1, 0.1, 21)
    ball = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 1, 2)
    moved = np.clip(points + ball, 0, 1).astype(np.float32)
    logits = compilation.predict(network, moved.reshape(-1, 2)).numpy()
    right = logits.argmax(1).reshape(len(ball), -1) == labels
    searched = 100 * right.all(0).mean()
    assert clean.value - searched > 5
    assert abs(robust[0.1].value - searched) <= 1.5


def test_means_and_differences_go_over_seeds():
    one = {0: np.array([1.0, 3.0]), 1: np.array([2.0, 4.0])}
    other = {0: np.array([2.0, 3.0]), 1: np.array([2.0, 7.0])}
    away = packets.compute_differences(one, other)
    assert packets.compute_seed_mean(away) == pytest.approx((1.0, 0.5))
    assert np.isnan(packets.compute_seed_mean({0: one[0]})[1])


@pytest.mark.slow
def test_the_program(tmp_path):
    workdir = tmp_path / "toy"
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "bin.run_binary_toy",
            "--smoke",
            "--seeds=2",
            f"--workdir={workdir}",
        ],
        cwd=_ROOT,
        text=True,
        capture_output=True,
        timeout=900,
    )
    assert process.returncode == 0, process.stderr
    assert "seed 0: trained and measured" in process.stderr
    for name in ("packets-sine", "fgsm"):
        assert (workdir / "figures" / f"{name}.png").stat().st_size > 10_000
    rows = measurements.read_rows(workdir / "binary-toy.csv")
    clean = packets.select_by_seed(rows, "test_accuracy", 2)
    robust = packets.select_by_seed(rows, "robust_accuracy", 2, 0.1)
    assert clean.keys() == {0, 1}
    assert 60 < robust[0][0] < clean[0][0] <= 100
    mean, error = packets.compute_seed_mean(clean)
    assert f"{mean:.2f} ± {error:.2f}" in process.stdout
    _check(rows)


def _check(rows):
    """What must hold of every row of packets, whatever the network."""
    such = {"packet": "loss", "domain": "box", "temperature": 1.0}
    product, bound, term, faces = (
        packets.select_by_seed(rows, measure, 2, **such)[0]
        for measure in (
            "uncertainty_product",
            "uncertainty_bound",
            "boundary_term",
            "boundary_term_faces",
        )
    )
    assert (product > bound).all() and product.shape == (4,)
    np.testing.assert_allclose(bound, 0.5 * np.abs(1 - term), rtol=1e-5)
    np.testing.assert_allclose(faces, term, atol=1e-4)
    kinds = packets.PACKET_KINDS
    for kind in kinds:
        for name in binary_toy.SPANS:
            such = {"packet": kind, "domain": name, "temperature": 1.0}
            in_x, in_p = (
                packets.select_by_seed(rows, measure, 1, **such)[1]
                for measure in ("overlap_x", "overlap_p")
            )
            assert 0 < in_x < in_p <= 1
    # The loss is large where the network does not say its label.
    such = {"domain": "box", "temperature": 1.0}
    wrong, own = (
        packets.select_by_seed(rows, "own_share", 2, packet=kind, **such)[0]
        for kind in ("loss", "prob")
    )
    assert (wrong < 0.1).all() and (own > 0.8).all()
    # Colder logits: the same decisions, other packets.
    cold, warm = (
        packets.select_by_seed(rows, "sigma_p", 1, packet="prob", domain="box", temperature=t)[0]
        for t in (0.1, 1.0)
    )
    assert (cold > warm).mean() > 0.7


def test_a_folder_of_others_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="did not write"):
        pipeline.run(tmp_path, seeds=1, sizes=pipeline.SMOKE_SIZES)
    with pytest.raises(InputError, match="seeds must be"):
        pipeline.run(tmp_path / "new", seeds=0)
