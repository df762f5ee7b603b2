"""Numbers, errors and percentages as text."""

import math

import pytest

from qup.core import formatting


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.50042, 0.0012, "0.5004 ± 0.0012"),
        (1234.5, 230, "1234 ± 230"),
        (3e-7, 1e-8, "(3.00 ± 0.10)e-7"),
        (0.5, 0, "0.5 ± 0"),
        (0.5, None, "0.5 ± ?"),
        (0.5, math.nan, "0.5 ± ?"),
        (math.nan, 0.1, "not estimated"),
        (None, None, "not estimated"),
    ],
)
def test_the_error_has_two_digits(value, error, text):
    assert formatting.format_with_error(value, error) == text


def test_numbers_percentages_and_counts():
    assert formatting.format_number(0.123456) == "0.1235"
    assert formatting.format_number(math.inf) == formatting.NOT_ESTIMATED
    assert formatting.format_percent(97.053) == "97.05"
    assert formatting.format_percent(97.053, 0.121) == "97.05 ± 0.12"
    assert formatting.format_percent(None) == formatting.NOT_ESTIMATED
    assert formatting.format_count(1, "epoch") == "1 epoch"
    assert formatting.format_count(30, "epoch") == "30 epochs"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (8.4, "8 s"),
        (41, "40 s"),
        (58, "1 min"),
        (740, "12 min"),
        (3599, "1 h"),
        (4800, "1 h 20 min"),
        (86400, "1 day"),
        (2 * 86400 + 3 * 3600, "2 days 3 h"),
    ],
)
def test_durations_have_rounded_units(seconds, text):
    assert formatting.format_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0.0 kB"),
        (24_000, "24 kB"),
        (35e6, "35 MB"),
        (999.9e6, "1.0 GB"),
        (1.23e9, "1.2 GB"),
        (2e12, "2.0 TB"),
    ],
)
def test_sizes_have_decimal_units(count, text):
    assert formatting.format_bytes(count) == text
