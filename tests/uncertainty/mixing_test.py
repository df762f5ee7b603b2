"""Chains that mix poorly: refused, or without a value along an axis."""

import numpy as np
import pytest
import tensorflow as tf

from qup import uncertainty
from qup.core.errors import InputError
from qup.core.measurements import ModelInfo
from qup.uncertainty import GaussianWindow, importance, mcmc, measurements
from tests.uncertainty import example_packets

_WINDOW = GaussianWindow(np.array([0.5, 0.45]), 0.2)


def test_too_few_independent_states_are_refused():
    message = r"200 states of 4 chains have .*R-hat is .*num_steps of about"
    with pytest.raises(InputError, match=message) as error_info:
        mcmc.relation(example_packets.trained_packet(), _WINDOW, num_chains=4, num_steps=50)
    assert isinstance(error_info.value, uncertainty.TooFewError)
    subject = ModelInfo("d", "m", "CL", 0, 0)
    row = measurements.build_refusal_row(subject, "mcmc", error_info.value)
    assert row.measure == "effective_sample_size" and row.n == 200
    assert 0 < row.value < 200
    assert row.parameters["refused"] and row.parameters["estimator"] == "mcmc"


def test_an_axis_that_chains_hardly_move_along_has_no_value():
    # Two hills along x_0, the window alone along x_1 and x_2.
    packet = uncertainty.of_function(
        lambda p: tf.reduce_logsumexp(tf.stack([-80 * (p[:, 0] - c) ** 2 for c in (-0.3, 0.3)]), 0),
        3,
    )
    result = mcmc.relation(packet, GaussianWindow(np.zeros(3), 1.0))
    sizes = result.by_axis["effective_sample_size"]
    assert sizes[0] < 100 < 2000 < sizes[1:].min()
    for measure in ("sigma_x", "sigma_p", "uncertainty_product"):
        unknown = np.isnan(result[measure].value)
        assert unknown.tolist() == [True, False, False], measure
    # What does not depend on the samples is known all the same.
    assert result["uncertainty_bound"].value[0] == 0.5
    rows = measurements.build_relation_rows(ModelInfo("d", "m", "CL", 0, 0), result)
    values = {row.measure: row.value for row in rows if row.parameters.get("statistic") != "median"}
    assert np.isnan(values["sigma_x"])
    assert values["least_effective_sample_size"] == sizes.min()
    assert values["r_hat"] == result.by_axis["r_hat"].max()


def test_importance_sampling_has_the_effective_size_of_every_axis():
    result = importance.relation(example_packets.trained_packet(), _WINDOW)
    sizes = result.by_axis["effective_sample_size"]
    expected = (result["sigma_x"].value / result["mean_x"].stderr) ** 2
    np.testing.assert_allclose(sizes, expected)
    assert (np.abs(np.log(sizes / result.effective_sample_size)) < 1).all()
