"""What the benchmark of the attacks writes and draws."""

import dataclasses
import math

import pytest

from benchmarks.attacks import figure, rows
from benchmarks.attacks.rows import Row

_RATIO = Row(
    part="pgd",
    what="PGD-40, ConvNet on MNIST, batch 128",
    rival="foolbox",
    measured=2.5,
    target=2.5,
    seconds=(0.5, 1.25),
    success=(40.0, 40.0),
)
_MINUTES = Row(
    part="autoattack",
    what="AutoAttack standard",
    rival="the clock",
    measured=5.5,
    target=5.0,
    least=False,
    unit="minutes",
    note="epsilon 0.1",
)
_HERE = {"machine": "two cores", "versions": "TensorFlow"}
_PARTS = ("pgd", "autoattack")


class TestRow:
    """`Row`."""

    @pytest.mark.parametrize(
        "changes, expected",
        [
            ({}, "reached"),
            ({"measured": 2.49}, "missed"),
            ({"least": False}, "reached"),
            ({"least": False, "measured": 2.51}, "missed"),
            ({"target": None}, ""),
            ({"measured": math.nan}, ""),
            ({"measured": None}, "does not run"),
        ],
    )
    def test_says_what_became_of_the_target(self, changes, expected):
        assert dataclasses.replace(_RATIO, **changes).verdict == expected


class TestFile:
    """`write` and `read`."""

    def test_gives_back_what_was_written(self, tmp_path):
        missing = dataclasses.replace(_RATIO, rival="ART", measured=None, note="no ART, at all")
        rows.write([_RATIO, missing, _MINUTES], tmp_path / "a.csv", _HERE)
        found = rows.read(tmp_path / "a.csv")
        assert [row.columns() for row in found[:1]] == [_RATIO.columns()]
        assert (found[1].measured, found[1].note) == (None, "no ART, at all")
        assert (found[2].bound, found[2].verdict) == ("at most 5", "missed")

    def test_replaces_what_is_measured_anew_and_keeps_the_rest(self, tmp_path):
        path = tmp_path / "a.csv"
        other = dataclasses.replace(_RATIO, rival="ART")
        rows.write([_RATIO, other], path, _HERE, parts=_PARTS)
        rows.write([_MINUTES], path, _HERE, parts=_PARTS)
        anew = dataclasses.replace(_RATIO, measured=3.0)
        rows.write([anew], path, _HERE, parts=_PARTS)
        found = [(row.rival, row.measured) for row in rows.read(path)]
        assert found == [("foolbox", 3.0), ("ART", 2.5), ("the clock", 5.5)]

    def test_starts_anew_where_everything_is_measured(self, tmp_path):
        path = tmp_path / "a.csv"
        rows.write([_MINUTES], path, _HERE)
        rows.write([_RATIO], path, _HERE)
        assert [row.rival for row in rows.read(path)] == ["foolbox"]


class TestFigure:
    """`draw`."""

    @pytest.mark.parametrize(
        "drawn",
        [
            [_RATIO, _MINUTES],
            [_RATIO],
            [_MINUTES],
            [dataclasses.replace(_RATIO, part="early")],
            [dataclasses.replace(_RATIO, measured=None), _MINUTES],
            [dataclasses.replace(_RATIO, measured=math.nan)],
        ],
        ids=["both", "pgd", "no ratio", "no pgd", "does not run", "nan"],
    )
    def test_draws_whatever_was_measured(self, drawn, tmp_path):
        figure.draw(drawn, tmp_path / "a.png", _HERE)
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
def test_a_ratio_that_is_not_quite_one_has_more_digits(value, text):
    assert rows.shown(value) == text
