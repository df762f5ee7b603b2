"""The benchmark of a device: its rows, its file, its limit of time."""

import csv
import sys

import numpy as np
import pytest
from absl import flags

from benchmarks import device


def _row(**values):
    row = {"device": "A", "work": "PGD-40", "network": "convnet", "batch_size": 8, "xla": "off"}
    return row | {"images_per_second": "1.0"} | values


def test_rows_of_other_devices_stay(tmp_path):
    path = tmp_path / "rows.csv"
    device.write_row(_row(), path)
    device.write_row(_row(device="B"), path)
    device.write_row(_row(images_per_second="2.0"), path)
    with path.open(newline="") as file:
        rows = [(row["device"], row["images_per_second"]) for row in csv.DictReader(file)]
    assert rows == [("A", "2.0"), ("B", "1.0")]


def test_the_first_run_is_apart():
    calls = []
    ((name, first, times),) = device.time_pair({"off": lambda: calls.append(1)}, rounds=3)
    assert name == "off" and len(calls) == 4 and times.shape == (3,) and first >= 0


def _measure(monkeypatch, *arguments):
    monkeypatch.setattr(flags, "FLAGS", flags.FlagValues())
    monkeypatch.setattr(device.flags, "FLAGS", flags.FLAGS)
    device.define_flags()
    flags.FLAGS([sys.argv[0], "--images=16", "--batch_sizes=8", "--rounds=1", *arguments])
    return list(device.measure())


@pytest.mark.slow
def test_every_work_has_a_row_with_and_without_xla(monkeypatch):
    monkeypatch.setattr(device, "_NETWORKS", {"convnet": ({}, (12, 12, 1))})
    rows = _measure(monkeypatch)
    assert {(row["work"], row["xla"]) for row in rows} == {
        (work, xla) for work in ("PGD-40", "training") for xla in ("off", "on")
    }
    assert all(np.isfinite(float(row["images_per_second"])) for row in rows)
    assert all(float(row["lowest"]) > 0 and row["device"] for row in rows)


def test_nothing_starts_after_the_time(monkeypatch):
    monkeypatch.setattr(device, "_NETWORKS", {"convnet": ({}, (12, 12, 1))})
    assert _measure(monkeypatch, "--minutes=0") == []
