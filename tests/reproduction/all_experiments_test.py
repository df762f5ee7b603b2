"""Every experiment of `bin.reproduce`, at the scale that means nothing."""

import pathlib
import subprocess
import sys

import pytest

from qup.core import measurements
from qup.reproduction import experiments

_ROOT = pathlib.Path(__file__).parents[2]


def _run(workdir):
    return subprocess.run(
        [sys.executable, "-m", "bin.reproduce", "--scale=smoke", f"--workdir={workdir}"],
        cwd=_ROOT,
        text=True,
        capture_output=True,
        timeout=1800,
    )


@pytest.mark.slow
def test_every_experiment_ends_in_one_report(tmp_path):
    found = _run(tmp_path)
    assert found.returncode == 0, found.stderr[-3000:]
    for name in experiments.names():
        assert f"\n== {name}\n" in found.stderr, name
    page = (tmp_path / "report" / "report.md").read_text()
    assert "It was not run" not in page and "They were not run" not in page
    assert "failed in the newest run" not in page
    path = tmp_path / "measurements.csv"
    rows, before = measurements.read_rows(path), path.read_bytes()
    assert {row.dataset for row in rows} > {"digits", "synthetic", "arcs"}
    # All of it is known now.
    again = _run(tmp_path)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "complete in" not in again.stderr
    assert path.read_bytes() == before
