"""The table, CSV file and figure of the benchmark of the attacks."""

import dataclasses
import math

import pytest

from benchmarks.attacks import figure, rows
from benchmarks.attacks.rows import Row

_RATIO = Row(
    part="pgd",
    title="PGD-40, ConvNet on MNIST, batch 128",
    competitor="foolbox",
    value=2.5,
    target=2.5,
    seconds=(0.5, 1.25),
    success=(40.0, 40.0),
)
_MINUTES = Row(
    part="autoattack",
    title="AutoAttack standard",
    competitor="the clock",
    value=5.5,
    target=5.0,
    target_is_minimum=False,
    unit="minutes",
    note="epsilon 0.1",
)
_ENVIRONMENT = {"machine": "two cores", "versions": "TensorFlow"}
_PARTS = ("pgd", "autoattack")


class TestRow:
    """`Row`."""

    @pytest.mark.parametrize(
        "changes, expected",
        [
            ({}, "reached"),
            ({"value": 2.49}, "missed"),
            ({"target_is_minimum": False}, "reached"),
            ({"target_is_minimum": False, "value": 2.51}, "missed"),
            ({"target": None}, ""),
            ({"value": math.nan}, ""),
            ({"value": None}, "does not run"),
        ],
    )
    def test_verdict_compares_value_and_target(self, changes, expected):
        assert dataclasses.replace(_RATIO, **changes).verdict == expected


class TestFile:
    """`write` and `read`."""

    def test_reads_what_it_has_written(self, tmp_path):
        missing = dataclasses.replace(_RATIO, competitor="ART", value=None, note="no ART, at all")
        rows.write_csv([_RATIO, missing, _MINUTES], tmp_path / "a.csv", _ENVIRONMENT)
        result = rows.read_csv(tmp_path / "a.csv")
        assert [row.columns() for row in result[:1]] == [_RATIO.columns()]
        assert (result[1].value, result[1].note) == (None, "no ART, at all")
        assert (result[2].target_text, result[2].verdict) == ("at most 5", "missed")

    def test_replaces_rows_that_are_measured_again(self, tmp_path):
        path = tmp_path / "a.csv"
        other = dataclasses.replace(_RATIO, competitor="ART")
        rows.write_csv([_RATIO, other], path, _ENVIRONMENT, parts=_PARTS)
        rows.write_csv([_MINUTES], path, _ENVIRONMENT, parts=_PARTS)
        again = dataclasses.replace(_RATIO, value=3.0)
        rows.write_csv([again], path, _ENVIRONMENT, parts=_PARTS)
        result = [(row.competitor, row.value) for row in rows.read_csv(path)]
        assert result == [("foolbox", 3.0), ("ART", 2.5), ("the clock", 5.5)]

    def test_replaces_the_file_if_all_parts_are_measured(self, tmp_path):
        path = tmp_path / "a.csv"
        rows.write_csv([_MINUTES], path, _ENVIRONMENT)
        rows.write_csv([_RATIO], path, _ENVIRONMENT)
        assert [row.competitor for row in rows.read_csv(path)] == ["foolbox"]


class TestFigure:
    """`draw`."""

    @pytest.mark.parametrize(
        "drawn",
        [
            [_RATIO, _MINUTES],
            [_RATIO],
            [_MINUTES],
            [dataclasses.replace(_RATIO, part="early")],
            [dataclasses.replace(_RATIO, value=None), _MINUTES],
            [dataclasses.replace(_RATIO, value=math.nan)],
        ],
        ids=["both", "pgd", "no ratio", "no pgd", "does not run", "nan"],
    )
    def test_draws_any_selection_of_rows(self, drawn, tmp_path):
        figure.draw_figure(drawn, tmp_path / "a.png", _ENVIRONMENT)
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0003, "1.0003"),
        (1, "1.00"),
        (1.01, "1.01"),
        (5.588, "5.59"),
        (36.35, "36.4"),
        (2448.2, "2,448"),
        (0, "0"),
        (math.nan, ""),
    ],
)
def test_ratio_close_to_one_has_more_digits(value, text):
    assert rows.format_number(value) == text
