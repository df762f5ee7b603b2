"""The benchmark of few rows: its ratios, its file, and a run on the digits."""

import csv
import sys

import numpy as np
import pytest
from absl import flags

from benchmarks import tail


def _times(seconds, compiled, robust):
    return {
        "seconds": np.array(seconds),
        "compiled_seconds": np.array(compiled),
        "robust_accuracy": np.array(robust),
    }


def _build_rows():
    network = tail.Network(
        kind="convnet", dataset="mnist", model=None, images=None, labels=np.zeros(5, int)
    )
    results = {
        "default": _times([2.0, 4.0], [1.0, 1.0], [3.0, 3.0]),
        "fixed 8": _times([3.0, 6.0], [0.5, 0.5], [3.0, 3.0]),
        "fixed 256": _times([np.inf, np.inf], [np.inf, np.inf], [np.nan, np.nan]),
    }
    return tail.build_rows("sizes", network, "apgd_t", results)


def test_ratios_are_those_of_one_round():
    default, small, large = _build_rows()
    assert default["ratio_seconds"] == "1" and small["ratio_seconds"] == "1.5"
    assert small["ratio_compiled_seconds"] == "0.5" and small["seconds_highest"] == "6.00"
    assert large["seconds"] == "inf" and large["robust_accuracy"] == ""
    assert {row["n"] for row in (default, small, large)} == {5}


def test_new_rows_replace_old_ones_of_the_same_measurement(tmp_path):
    path, rows = tmp_path / "rows.csv", _build_rows()
    tail.write_rows(rows, path)
    tail.write_rows([rows[1] | {"seconds": "9.00"}], path)
    with path.open(newline="") as file:
        stored = list(csv.DictReader(file))
    assert [row["alternative"] for row in stored] == ["default", "fixed 8", "fixed 256"]
    assert [row["seconds"] for row in stored] == ["3.00", "9.00", "inf"]


@pytest.mark.slow
def test_it_runs_on_the_digits(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    arguments = ["--datasets=digits", "--images=40", "--attacks=apgd_t", "--sizes=8"]
    arguments += ["--parts=sizes,early", "--rounds=1", f"--csv={path}"]
    monkeypatch.setattr(flags, "FLAGS", flags.FlagValues())
    tail.define_flags()
    flags.FLAGS([sys.argv[0], *arguments])
    tail.main([""])
    with path.open(newline="") as file:
        rows = {(row["part"], row["alternative"]): row for row in csv.DictReader(file)}
    assert rows.keys() == {
        ("sizes", "default"),
        ("sizes", "fixed 8"),
        ("early", "stops early"),
        ("early", "all steps"),
    }
    early, late = rows["early", "stops early"], rows["early", "all steps"]
    assert early["robust_accuracy"] == late["robust_accuracy"]
