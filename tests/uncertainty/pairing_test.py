"""Two networks on the same samples: their difference and its error."""

import numpy as np
import pytest
import tensorflow as tf

from qup import uncertainty
from qup.core import errors
from qup.core.formatting import format_with_error
from qup.uncertainty import importance, relation, summary
from qup.uncertainty import records as uncertainty_records
from qup.uncertainty.records import RelationRecord, build_records
from tests.uncertainty.synthetic import record

_WINDOW = uncertainty.GaussianWindow(np.full(4, 0.5), 0.2)
_SIZES = {"num_samples": 4000, "batch_size": 100}


def _packet(curvature):
    """Of rho a Gaussian whose sigma_x is known."""
    return uncertainty.of_function(lambda x: -0.5 * curvature * tf.reduce_sum((x - 0.5) ** 2, 1), 4)


def _sigma_x(curvature):
    return (2 * (curvature + 1 / 0.2**2)) ** -0.5


def _estimate(curvature, **options):
    packet = _packet(curvature)
    return importance.relation(packet, _WINDOW, **{**_SIZES, **options})


@pytest.mark.slow
def test_an_error_of_the_difference_itself():
    truth, scores = _sigma_x(3.0) - _sigma_x(2.5), []
    for seed in range(40):
        first, second = (_estimate(k, seed=seed) for k in (2.5, 3.0))
        difference = relation.compute_differences(first, second)["sigma_x"]
        scores.append((difference.value - truth) / difference.stderr)
    independent_error = np.hypot(first["sigma_x"].stderr, second["sigma_x"].stderr)
    # What chance gives to both is left out.
    assert (difference.stderr < independent_error / 10).all()
    np.testing.assert_allclose(difference.value, second["sigma_x"].value - first["sigma_x"].value)
    # 152 of 160 are expected.
    assert np.sum(np.abs(scores) < 2.02) >= 140


def test_a_network_does_not_differ_from_itself():
    first, second = (_estimate(2.0) for _ in range(2))
    for measure, difference in relation.compute_differences(first, second).items():
        assert not difference.value.any() and not difference.stderr.any(), measure


@pytest.mark.parametrize("options", [{"seed": 1}, {"num_samples": 8000}, {"num_groups": 20}])
def test_other_samples_are_no_pair(options):
    with pytest.raises(errors.InputError, match="on the same points"):
        relation.compute_differences(_estimate(2.0), _estimate(2.0, **options))


def _save_and_load(folder, curvature, **metadata):
    path = folder / "importance.npz"
    uncertainty_records.save(
        path,
        _estimate(curvature, seed=metadata["seed"]),
        label=3,
        domain_text="window:0.2",
        **metadata,
    )
    return uncertainty_records.load(path)


def test_the_summary_compares_the_same_samples(tmp_path):
    records = [
        _save_and_load(tmp_path, curvature, epochs=epochs, seed=0)
        for curvature, epochs in ((2.5, 1), (2.6, 5))
    ]
    first, second = build_records(records)
    assert uncertainty_records.have_same_samples(first, second)
    difference = uncertainty_records.compute_difference(first, second, "sigma_x")
    assert abs(difference.value - (_sigma_x(2.6) - _sigma_x(2.5))) < 4 * difference.stderr
    text = summary.format_summary(records, [])
    row = next(line for line in text.splitlines() if line.startswith("| 1 epoch | 5 epochs"))
    assert "| yes " in row
    assert format_with_error(difference.value, difference.stderr) + " *" in row
    # With other samples the same difference is not significant.
    records[1] = _save_and_load(tmp_path, 2.6, epochs=5, seed=1)
    assert not uncertainty_records.have_same_samples(*build_records(records))
    text = summary.format_summary(records, [])
    row = next(line for line in text.splitlines() if line.startswith("| 1 epoch | 5 epochs"))
    assert "| no " in row and "*" not in row


def test_records_without_left_out_means_are_no_pair():
    first, second = (RelationRecord(*record(epochs=e, seed=0)) for e in (1, 5))
    assert not uncertainty_records.have_same_samples(first, second)
    difference = uncertainty_records.compute_difference(first, second, "excess")
    assert (difference.value, difference.n) == (0.0, 16)
    assert difference.stderr == pytest.approx(2**0.5 * 1e-5)
