"""Fractions, lists and ranges of budgets."""

import math

import numpy as np
import pytest

from qup.core import errors
from qup.core.numbers import format_epsilon, parse_epsilons, parse_fraction


@pytest.mark.parametrize(
    ("text", "value"), [("8/255", 8 / 255), ("0.1", 0.1), (" 1e-3", 1e-3), ("-1/2", -0.5)]
)
def test_numbers_and_fractions(text, value):
    assert math.isclose(parse_fraction(text), value)


@pytest.mark.parametrize("text", ["", "eight", "8/0", "1/2/3", "nan", "inf", "8/", "/255", "1;2"])
def test_other_texts_are_refused(text):
    with pytest.raises(errors.InputError, match=r"budget must be a number or a fraction.*8/255"):
        parse_fraction(text, "budget")


def test_lists_and_ranges():
    assert parse_epsilons("0.1") == [0.1]
    assert parse_epsilons("4/255, 2/255,4/255") == [2 / 255, 4 / 255]
    np.testing.assert_allclose(parse_epsilons("0:16/255:9"), np.arange(9) * 2 / 255)


@pytest.mark.parametrize("text", ["0:1", "0:1:2:3", "0:1:x", "0:1:1", "1:0:3", "0:1:9999", ":1:3"])
def test_other_ranges_are_refused(text):
    with pytest.raises(errors.InputError, match="received"):
        parse_epsilons(text)


def test_a_negative_budget_is_refused():
    with pytest.raises(errors.InputError, match="at least 0"):
        parse_epsilons("-0.1,0.1")


@pytest.mark.parametrize(
    ("epsilon", "text"),
    [
        (0.1, "0.1"),
        (0.2, "0.2"),
        (8 / 255, "8/255"),
        (float(np.float32(8 / 255)), "8/255"),
        (0.0, "0"),
        (0.0123456, "0.01235"),
        (2.0, "2"),
    ],
)
def test_budgets_as_text(epsilon, text):
    assert format_epsilon(epsilon) == text
