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
    with pytest.raises(InputError, match=message) as caught:
        mcmc.relation(example_packets.trained(), _WINDOW, num_chains=4, num_steps=50)
    assert isinstance(caught.value, uncertainty.TooFewError)
    subject = ModelInfo("d", "m", "CL", 0, 0)
    row = measurements.build_refusal_row(subject, "mcmc", caught.value)
    assert row.measure == "effective_sample_size" and row.n == 200
    assert 0 < row.value < 200
    assert row.parameters["refused"] and row.parameters["estimator"] == "mcmc"


def test_an_axis_that_chains_hardly_move_along_has_no_value():
    # Two hills along x_0, the window alone along x_1 and x_2.
    packet = uncertainty.of_function(
        lambda p: tf.reduce_logsumexp(tf.stack([-80 * (p[:, 0] - c) ** 2 for c in (-0.3, 0.3)]), 0),
        3,
    )
    found = mcmc.relation(packet, GaussianWindow(np.zeros(3), 1.0))
    sizes = found.by_axis["effective_sample_size"]
    assert sizes[0] < 100 < 2000 < sizes[1:].min()
    for measure in ("sigma_x", "sigma_p", "uncertainty_product"):
        unknown = np.isnan(found[measure].value)
        assert unknown.tolist() == [True, False, False], measure
    # What does not depend on the samples is known all the same.
    assert found["uncertainty_bound"].value[0] == 0.5
    rows = measurements.build_relation_rows(ModelInfo("d", "m", "CL", 0, 0), found)
    values = {row.measure: row.value for row in rows if row.parameters.get("statistic") != "median"}
    assert np.isnan(values["sigma_x"])
    assert values["least_effective_sample_size"] == sizes.min()
    assert values["r_hat"] == found.by_axis["r_hat"].max()


def test_importance_tells_the_size_of_every_axis():
    found = importance.relation(example_packets.trained(), _WINDOW)
    sizes = found.by_axis["effective_sample_size"]
    expected = (found["sigma_x"].value / found["mean_x"].stderr) ** 2
    np.testing.assert_allclose(sizes, expected)
    assert (np.abs(np.log(sizes / found.effective_sample_size)) < 1).all()
