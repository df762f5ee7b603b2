"""Kills of run_uncertainty: the next start goes on, and the end is the same."""

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
# Where a run is killed: in a training, in an estimate, at the very end.
_LINES = (
    r"^Trainer\.epoch-2: execution",
    r"^UncertaintyAnalyzer\.epoch-2\.label-1: execution",
    r"^AccuracyMeter\.temperature-4: execution",
    r"^UncertaintyAnalyzer\.random_labels\.label-1: execution",
    r"^UncertaintyReporter: execution",
)


def _run(workdir, line=None, delay=0.0, after=900):
    """Runs the command, killed `delay` seconds past a line, or `after`.

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
    told = []
    for text in process.stderr:
        told.append(text)
        if line and re.match(line, text):
            time.sleep(delay)
            os.killpg(process.pid, _KILL)
    timer.cancel()
    out = process.stdout.read()
    seconds = time.monotonic() - start
    return process.wait(), out, "".join(told), seconds


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An undisturbed run: its workdir, stdout and seconds."""
    workdir = tmp_path_factory.mktemp("whole")
    code, out, err, seconds = _run(workdir)
    assert code == 0, err
    return workdir, out, seconds


def _table(out, workdir):
    """Returns stdout without the workdir's name."""
    return out.replace(str(workdir), "WORKDIR")


def _check(end, workdir, whole):
    """Asserts the undisturbed run's words and rows, and nothing left over."""
    code, out, err, _ = end
    assert code == 0, err
    assert _table(out, workdir) == _table(whole[1], whole[0])
    rows, expected = (
        # Executions have other numbers.
        re.sub(r"(/relations)/\d+", r"\1", (w / "measurements.csv").read_text())
        for w in (workdir, whole[0])
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
def test_a_run_that_is_killed_again_and_again_ends_alike(whole, tmp_path):
    complete: set[str] = set()
    for line in _LINES:
        code, _, err, _ = _run(tmp_path, line, delay=0.3)
        assert code == -_KILL, err
        begun = set(re.findall(r"^(\S+): execution", err, re.M))
        # What was complete is not done again.
        assert not begun & complete
        complete |= set(re.findall(r"^(\S+): complete", err, re.M))
    assert len(complete) > 10
    _check(_run(tmp_path), tmp_path, whole)


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
def test_a_kill_at_any_moment_costs_a_step(whole, share, tmp_path):
    killed = _run(tmp_path, after=share * whole[2])
    end = _run(tmp_path)
    _check(end, tmp_path, whole)
    complete, again = (
        set(re.findall(rf"^(\S+): {word}", err, re.M))
        for word, err in (("complete", killed[2]), ("execution", end[2]))
    )
    assert not complete & again


@pytest.mark.slow
def test_a_start_of_what_is_known_is_quick(whole):
    workdir, out, seconds = whole
    before = (workdir / "measurements.csv").read_bytes()
    code, again, err, short = _run(workdir)
    assert code == 0 and again == out
    assert (workdir / "measurements.csv").read_bytes() == before
    assert not re.search(r": (execution|complete)", err), err
    # What is left is the imports of TensorFlow and the table.
    assert short < seconds / 2, (short, seconds)
