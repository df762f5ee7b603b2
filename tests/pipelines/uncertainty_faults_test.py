"""Kills of run_uncertainty: the next start resumes and has the same results."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from qup.orchestration import MetadataReader, State

_ROOT = pathlib.Path(__file__).parents[2]
# Two epochs, every control, importance sampling and chains.
_FLAGS = (
    "--dataset=synthetic",
    "--smoke",
    "--labels=1",
    "--estimator=both",
    "--directions=pca:2",
    "--temperatures=4",
    "--num_images=50",
    "--config.dataset.image_size=8",
    "--config.dataset.train_size=200",
    "--config.dataset.test_size=50",
)
_KILL = signal.SIGKILL
# Positions of kills: in a training, in an estimate, at the end.
_LINES = (
    r"^Trainer\.epoch-2: execution",
    r"^UncertaintyAnalyzer\.epoch-2\.label-1: execution",
    r"^AccuracyMeter\.temperature-4: execution",
    r"^UncertaintyAnalyzer\.random_labels\.label-1: execution",
    r"^UncertaintyReporter: execution",
)


def _run(workdir, line=None, delay=0.0, after=900):
    """Runs the command; kills it `delay` seconds after a line, or `after` seconds.

    Returns (exit status, stdout, stderr, seconds).
    """
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "bin.run_uncertainty", *_FLAGS, f"--workdir={workdir}"],
        cwd=_ROOT,
        text=True,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    timer = threading.Timer(after, os.killpg, (process.pid, _KILL))
    timer.start()
    stderr_lines = []
    for text in process.stderr:
        stderr_lines.append(text)
        if line and re.match(line, text):
            time.sleep(delay)
            os.killpg(process.pid, _KILL)
    timer.cancel()
    out = process.stdout.read()
    seconds = time.monotonic() - start
    return process.wait(), out, "".join(stderr_lines), seconds


@pytest.fixture(scope="module")
def complete_run(tmp_path_factory):
    """An uninterrupted run: its workdir, stdout and seconds."""
    workdir = tmp_path_factory.mktemp("complete")
    code, out, err, seconds = _run(workdir)
    assert code == 0, err
    return workdir, out, seconds


def _remove_workdir(out, workdir):
    """Returns stdout without the workdir's name."""
    return out.replace(str(workdir), "WORKDIR")


def _check_equal(result, workdir, complete_run):
    """Checks that stdout and rows equal those of the uninterrupted run, without left-overs."""
    code, out, err, _ = result
    assert code == 0, err
    assert _remove_workdir(out, workdir) == _remove_workdir(complete_run[1], complete_run[0])
    rows, expected = (
        # Numbers of executions differ.
        re.sub(r"(/relations)/\d+", r"\1", (w / "measurements.csv").read_text())
        for w in (workdir, complete_run[0])
    )
    assert rows == expected
    root = (workdir / "pipeline").resolve()
    metadata = MetadataReader(root / "metadata.sqlite")
    states = list(metadata.get_node_states().values())
    complete = [node for node, state in states if state is State.COMPLETE]
    assert complete and len(complete) == len(set(complete))
    assert not metadata.list_unfinished() and not [*workdir.rglob(".*-*-*")]
    assert not [*root.glob("*/.system/*/*"), *root.glob(".system/*/*")]


@pytest.mark.exhaustive
def test_repeated_kills_do_not_change_the_results(complete_run, tmp_path):
    complete: set[str] = set()
    for line in _LINES:
        code, _, err, _ = _run(tmp_path, line, delay=0.3)
        assert code == -_KILL, err
        started = set(re.findall(r"^(\S+): execution", err, re.M))
        # Complete nodes do not run again.
        assert not started & complete
        complete |= set(re.findall(r"^(\S+): complete", err, re.M))
    assert len(complete) > 10
    _check_equal(_run(tmp_path), tmp_path, complete_run)


@pytest.mark.parametrize(
    "share",
    [
        pytest.param(share, marks=getattr(pytest.mark, mark))
        for share, mark in (
            (0.35, "exhaustive"),
            (0.6, "slow"),
            (0.8, "exhaustive"),
            (0.95, "exhaustive"),
        )
    ],
)
def test_a_kill_costs_at_most_one_step(complete_run, share, tmp_path):
    interrupted = _run(tmp_path, after=share * complete_run[2])
    result = _run(tmp_path)
    _check_equal(result, tmp_path, complete_run)
    complete, repeated = (
        set(re.findall(rf"^(\S+): {word}", err, re.M))
        for word, err in (("complete", interrupted[2]), ("execution", result[2]))
    )
    assert not complete & repeated


@pytest.mark.slow
def test_a_second_start_is_quick(complete_run):
    workdir, out, seconds = complete_run
    before = (workdir / "measurements.csv").read_bytes()
    code, repeated, err, repeated_seconds = _run(workdir)
    assert code == 0 and repeated == out
    assert (workdir / "measurements.csv").read_bytes() == before
    assert not re.search(r": (execution|complete)", err), err
    # The remaining time is the import of TensorFlow and the summary.
    assert repeated_seconds < seconds / 2, (repeated_seconds, seconds)
