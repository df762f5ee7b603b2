"""Rank correlations over networks: closed forms, permutations, refusals."""

import itertools

import numpy as np
import pytest
from scipy import stats

from qup.core.errors import InputError
from qup.reproduction.report.statistics import correlate_ranks


def _columns(n, count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, n))


@pytest.mark.parametrize("n", [5, 9, 30])
def test_without_others_it_is_spearmans_rho(n):
    one, other = _columns(n, 2)
    one[0] = one[1]
    found = correlate_ranks(one, other)
    assert found.value == pytest.approx(stats.spearmanr(one, other).statistic)
    assert (found.n, found.covariates) == (n, ())


def test_the_p_value_counts_all_orders_of_few_networks():
    # Of 4! orders one agrees entirely, and one entirely not.
    found = correlate_ranks([1, 2, 3, 4], [10, 20, 30, 50])
    assert found.value == pytest.approx(1)
    assert found.p_value == pytest.approx(2 / 24)
    assert found.interval is None
    # By hand: orders of 5 whose rho is as far from 0.
    one, other = [1, 2, 3, 4, 5], [2, 1, 4, 3, 5]
    rhos = [stats.spearmanr(one, order).statistic for order in itertools.permutations(other)]
    expected = np.mean(np.abs(rhos) >= 0.8 - 1e-9)
    assert correlate_ranks(one, other).p_value == pytest.approx(expected)


def test_a_sampled_p_value_is_near_the_t_tests_and_repeats():
    one, other = _columns(20, 2, seed=3)
    other += 0.5 * one
    found = correlate_ranks(one, other)
    assert found.p_value == pytest.approx(stats.spearmanr(one, other).pvalue, abs=0.01)
    assert found == correlate_ranks(one, other)
    # Never 0: what was seen is one of the orders.
    assert correlate_ranks(one, one).p_value == pytest.approx(1 / 10000)


def test_one_number_held_fixed_follows_the_textbook():
    one, other, fixed = _columns(25, 3, seed=1)
    one, other = one + fixed, other + fixed
    r12, r13, r23 = (
        stats.spearmanr(a, b).statistic for a, b in ((one, other), (one, fixed), (other, fixed))
    )
    # (r12 - r13 r23) / sqrt((1 - r13^2)(1 - r23^2))
    expected = (r12 - r13 * r23) / np.sqrt((1 - r13**2) * (1 - r23**2))
    found = correlate_ranks(one, other, covariates={"fixed": fixed})
    assert found.value == pytest.approx(expected)
    assert found.covariates == ("fixed",)
    assert found.p_value > correlate_ranks(one, other).p_value


def test_what_a_common_cause_brings_is_gone_when_it_is_held_fixed():
    cause = np.arange(40.0)
    noise = _columns(40, 2, seed=2)
    one, other = cause + 3 * noise[0], -cause + 3 * noise[1]
    assert correlate_ranks(one, other).value < -0.85
    found = correlate_ranks(one, other, covariates={"cause": cause})
    assert abs(found.value) < 0.35
    assert found.interval[0] < 0 < found.interval[1]
    assert found.p_value > 0.05


def test_the_interval_covers_as_often_as_it_says():
    hits = []
    # rho_S = 6/pi arcsin(r/2) of a Gaussian of correlation r.
    truth = 6 / np.pi * np.arcsin(0.6 / 2)
    for seed in range(120):
        one, noise = _columns(30, 2, seed=seed)
        found = correlate_ranks(one, 0.6 * one + 0.8 * noise)
        hits.append(found.interval[0] < truth < found.interval[1])
    assert 0.88 <= np.mean(hits) <= 1


@pytest.mark.parametrize(
    "columns,given,words",
    [
        (([1, 2, 3], [1, 2, 3]), {}, "3 networks are too few .*at least 4"),
        (([1, 2, 3, 4], [4, 2, 1, 3]), {"a": [1, 2, 4, 3]}, "1 covariates: expected at least 5"),
        (([1, 2, 3, 4], [1, 2, 3]), {}, r"first \(4,\), second \(3,\)"),
        (([1, 2, 3, np.nan], [1, 2, 3, 4]), {}, "first has NaN"),
        (([1, 2, 3, 4], [5, 5, 5, 5]), {}, "second is 5 for every network"),
        (
            ([1, 2, 3, 4, 5], [2, 1, 3, 4, 5]),
            {"same": [10, 20, 30, 40, 50]},
            "first column follow from those of same",
        ),
    ],
)
def test_what_cannot_be_correlated_is_told(columns, given, words):
    with pytest.raises(InputError, match=words):
        correlate_ranks(*columns, covariates=given)
