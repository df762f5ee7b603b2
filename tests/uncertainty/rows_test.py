"""Rows of a measured relation: their values, errors and gaps."""

import dataclasses
import json
import math

import numpy as np
import pytest
import tensorflow as tf

from qup import uncertainty
from qup.core import measurements as core_measurements
from qup.core.measurements import ModelInfo
from qup.uncertainty import axes as uncertainty_axes
from qup.uncertainty import importance, matrix, measurements

_SUBJECT = ModelInfo("digits", "convnet", "CL", 3, 7, {"packet": "loss"})
_SIZE, _WIDTH = 16, 0.1
_TRUTH = {
    "sigma_x": _WIDTH / math.sqrt(2),
    "sigma_p": 1 / (_WIDTH * math.sqrt(2)),
    "uncertainty_product": 0.5,
    "boundary_term": 0.0,
    "covariance": -0.5,
}


def _linear(slope, size=_SIZE):
    return uncertainty.of_function(lambda x: slope * tf.reduce_sum(x, 1), size)


def _window(size=_SIZE):
    return uncertainty.GaussianWindow(np.zeros(size), _WIDTH)


def _build_rows(packet, domain, named_axes=(), **options):
    options = {"num_samples": 2000, "batch_size": 50, **options}
    relation = importance.relation(packet, domain, **options)
    rows = measurements.build_relation_rows(_SUBJECT, relation, named_axes=named_axes)
    return relation, rows


def _find_mean(rows, measure):
    (row,) = (
        row for row in rows if row.measure == measure and row.parameters.get("statistic") == "mean"
    )
    return row


def test_errors_of_means_cover_the_truth():
    # ln l is linear: both widths are those of the window alone.
    packet, scores = _linear(0.8), {measure: [] for measure in _TRUTH}
    for seed in range(40):
        _, rows = _build_rows(packet, _window(), seed=seed, num_groups=20, batch_size=100)
        for measure, truth in _TRUTH.items():
            row = _find_mean(rows, measure)
            scores[measure].append((row.value - truth) / row.stderr)
    for measure, relation in scores.items():
        # 38 are expected; fewer than 32 once in 10,000.
        assert np.sum(np.abs(relation) < 2.09) >= 32, measure
        assert abs(np.mean(relation)) < 4 / math.sqrt(40), measure


def test_the_content_of_rows(tmp_path):
    axes = uncertainty_axes.join_axes(
        _SIZE, [("random", uncertainty_axes.sample_directions(_SIZE, 2, 0))], None
    )
    named_axes = ["pixel:3", "random:1"]
    relation, rows = _build_rows(_linear(1.0), _window(), named_axes, axes=axes)
    path = tmp_path / "measurements.csv"
    # Refuses two rows of one key.
    core_measurements.write_rows(path, rows)
    assert core_measurements.read_rows(path) == rows
    for name in named_axes:
        index = axes.names.index(name)
        (row,) = (
            row
            for row in rows
            if row.parameters.get("axis") == name and row.measure == "uncertainty_product"
        )
        estimate = relation["uncertainty_product"]
        assert row.value == estimate.value[index]
        assert row.stderr == estimate.stderr[index]
    # Directions are no pixels: they enter no mean.
    (median,) = (
        row
        for row in rows
        if row.measure == "sigma_p" and row.parameters.get("statistic") == "median"
    )
    assert median.value == np.median(relation["sigma_p"].value[:_SIZE])
    assert median.stderr is None
    bound = _find_mean(rows, "uncertainty_bound")
    assert (bound.value, bound.stderr) == (0.5, 0.0)
    assert bound.n == 2000 and bound.seed == 7 and bound.epochs == 3
    assert json.loads(json.dumps(bound.parameters)) == {
        "packet": "loss",
        "evaluation": "uncertainty",
        "over": "pixels",
        "statistic": "mean",
        "estimator": "importance",
    }
    (size,) = (r for r in rows if r.measure == "effective_sample_size")
    assert size.value == relation.effective_sample_size


def test_what_cannot_be_estimated_is_no_value(tmp_path):
    # Of 4 points the spread is by chance beyond any that a packet has.
    relation, rows = _build_rows(
        _linear(0.0), _window(), min_effective_samples=0, num_samples=4, batch_size=1, num_groups=4
    )
    assert np.isnan(relation["sigma_p"].value).any()
    row = _find_mean(rows, "sigma_p")
    assert math.isnan(row.value) and row.stderr is None
    core_measurements.write_rows(tmp_path / "rows.csv", rows)
    loaded = core_measurements.read_rows(tmp_path / "rows.csv")
    assert math.isnan(_find_mean(loaded, "sigma_p").value)


@pytest.mark.parametrize(
    "log_amplitude,percent",
    [(lambda x: 0 * x[:, 0], 0), (lambda x: -2 * tf.reduce_sum((x - 0.5) ** 2, 1), 100)],
)
def test_a_noisy_bound_is_distinguished(log_amplitude, percent):
    packet = uncertainty.of_function(log_amplitude, 4)
    _, rows = _build_rows(packet, uncertainty.Box())
    (row,) = (r for r in rows if r.measure == measurements.BOUND_RESOLVED)
    assert row.value == percent
    assert not any(r.measure == "product_by_correlation" for r in rows)


def test_the_rows_of_the_matrix_form():
    rows = uncertainty_axes.sample_directions(4, 2, seed=0)
    axes = uncertainty_axes.join_axes(4, [("random", rows)], None)
    form = "matrix_least_eigenvalue"
    names = {form, f"{form}_without_b"}
    for domain, expected in ((uncertainty.Box(), names), (_window(4), {form})):
        packet = uncertainty.of_function(lambda x: -2 * tf.reduce_sum((x - 0.5) ** 2, 1), 4)
        _, direction_rows = _build_rows(packet, domain, axes=axes)
        values = {row.measure: row for row in direction_rows if form in row.measure}
        assert set(values) == expected
        # A truncated Gaussian is at its bound.
        assert abs(values[form].value) < 1e-9


def test_directions_without_values_leave_no_matrix():
    rows = uncertainty_axes.sample_directions(4, 3, seed=0)
    axes = uncertainty_axes.join_axes(4, [("random", rows)], None)
    relation, _ = _build_rows(_linear(0.5, 4), _window(4), axes=axes)
    value = relation["sigma_x"].value.copy()
    value[5] = np.nan
    estimates = {**relation.estimates, "sigma_x": uncertainty.Estimate(value)}
    form = matrix.compute_matrix_form(dataclasses.replace(relation, estimates=estimates))
    unknown = np.isnan(form.cross.value)
    assert unknown[1].all() and unknown[:, 1].all() and unknown.sum() == 5
    assert np.isnan(form.least.value) and np.isnan(form.least.stderr)
