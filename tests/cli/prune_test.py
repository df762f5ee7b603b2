"""`qup prune` on the command line, and the sizes of `qup runs`."""

import csv
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import sys

import pytest

from qup.core import shared_files
from qup.orchestration import Artifact, LocalRunner, Metadata, Out, component
from qup.orchestration.executions import Owner, get_current_process

_ROOT = pathlib.Path(__file__).parents[2]
_DEAD = Owner(get_current_process().host, 2**22 + 1, "")


class Data(Artifact):
    pass


@component
def Source(data: Out[Data], *, size: int) -> None:  # noqa: N802
    (data.path / "rows").write_bytes(b"x" * size)


def _make_root(root, *sizes):
    """Makes one run per size, of a process that has ended."""
    metadata = Metadata(root / "metadata.sqlite")
    for size in sizes:
        LocalRunner(root, metadata).run([Source(size=size)], pipeline="toy")
    for run in metadata.list_runs():
        run.owner = _DEAD
        metadata.end(run, run.state)
    return root


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch):
    monkeypatch.setenv("QUP_CACHE_DIR", "")


@pytest.fixture
def workdir(tmp_path):
    _make_root(tmp_path / "run/pipeline", 2_000_000, 1_000_000, 500_000)
    return tmp_path / "run"


def _call(*arguments, program="prune", stdin=subprocess.DEVNULL):
    return subprocess.run(
        [sys.executable, "-m", f"bin.{program}", *map(str, arguments)],
        cwd=_ROOT,
        text=True,
        capture_output=True,
        stdin=stdin,
    )


def _list_numbers(workdir):
    return sorted(path.name for path in workdir.glob("pipeline/Source/data/*"))


def test_it_lists_and_asks_for_yes_where_there_is_no_terminal(workdir):
    done = _call(workdir, "--keep=1")
    assert done.returncode == 1
    assert re.fullmatch(r"Error: .*Add --yes to remove.*\n", done.stderr)
    assert done.stdout.splitlines()[1:] == [
        "    2.0 MB  Source/data/1  (no kept run uses it)",
        "    1.0 MB  Source/data/2  (no kept run uses it)",
    ]
    done = _call(workdir, "--keep=1", "--dry_run")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Would remove 2 artifacts, 3.0 MB.\n")
    assert _list_numbers(workdir) == ["1", "2", "3"]
    done = _call(workdir, "--keep=1", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Removed 2 artifacts, 3.0 MB.\n")
    assert _list_numbers(workdir) == ["3"]
    done = _call(workdir, "--keep=1", "--yes")
    assert done.stdout.endswith("Nothing to remove.\n") and done.returncode == 0
    done = _call(workdir, "--format=csv", program="list_runs")
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [int(row["bytes"]) > 0 for row in rows] == [False, False, True]
    done = _call(workdir / "pipeline", "--artifact=1", program="show_lineage")
    assert "removed" in done.stdout.splitlines()[0]


@pytest.mark.parametrize(("answer", "is_removed"), [("y", True), ("n", False), ("", False)])
def test_it_asks_on_a_terminal(workdir, answer, is_removed):
    controller, terminal = pty.openpty()
    with os.fdopen(controller, "wb", buffering=0) as user:
        user.write(f"{answer}\n".encode())
        done = _call(workdir, "--older_than=0m", stdin=terminal)
        os.close(terminal)
    assert "Remove 3 artifacts, 3.5 MB? [y/N] " in done.stdout
    assert done.returncode == 0 and not done.stderr
    assert _list_numbers(workdir) == ([] if is_removed else ["1", "2", "3"])


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--keep=-1", "not a non-negative integer"),
        ("--older_than=soon", r"such as 12h, 30d or 4w; received 'soon'"),
        ("--older_than=5", "received '5'"),
        ("--keep_runs=toy.7", r"Unknown run 'toy\.7'"),
    ],
)
def test_a_wrong_flag_is_one_line(workdir, flag, message):
    done = _call(workdir, flag, "--yes")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.search(message, done.stderr), done.stderr
    assert _list_numbers(workdir) == ["1", "2", "3"]


def test_folders_without_a_root_are_refused(tmp_path):
    (tmp_path / "letters").mkdir()
    for path in (tmp_path / "letters", tmp_path / "missing"):
        done = _call(path, "--keep=0", "--yes")
        assert done.returncode == 1
        assert re.fullmatch(r"Error: There is no .*\n", done.stderr), done.stderr
    # A folder within a working directory does not mean the whole of it.
    _make_root(tmp_path / "run/pipeline", 1000)
    (tmp_path / "run/figures").mkdir()
    for path in (tmp_path / "run/figures", tmp_path / "run/pipeline/Source/data/1"):
        assert _call(path, "--keep=0", "--yes").returncode == 1
    assert _list_numbers(tmp_path / "run") == ["1"]
    assert "Expected one path" in _call("--keep=0", "--yes").stderr


def test_a_root_that_a_link_leads_to_is_not_touched(workdir, tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / "mine").symlink_to(workdir)
    done = _call(folder, "--keep=0", "--yes")
    assert done.returncode == 1 and "links are not followed" in done.stderr
    assert _list_numbers(workdir) == ["1", "2", "3"]
    # The path itself may be a link.
    assert _call(folder / "mine", "--keep=0", "--yes").returncode == 0
    assert _list_numbers(workdir) == []


def test_several_roots_and_one_that_is_in_use(workdir, tmp_path):
    _make_root(tmp_path / "other/pipeline", 1000, 2000)
    metadata = Metadata(tmp_path / "other/pipeline/metadata.sqlite")
    run = metadata.list_runs()[-1]
    run.owner = get_current_process()
    metadata.end(run, run.state)
    done = _call(tmp_path, "--keep=1", "--yes")
    assert done.returncode == 1
    assert re.fullmatch(rf"Error: process {os.getpid()} still runs and uses .*\n", done.stderr)
    assert done.stdout.endswith("Removed 2 artifacts, 3.0 MB.\n")
    assert _list_numbers(workdir) == ["3"] and _list_numbers(tmp_path / "other") == ["1", "2"]
    done = _call(tmp_path, f"--keep_runs={run.id}", "--yes")
    assert done.returncode == 1 and "PATH has 2. Name one working directory" in done.stderr


def test_cached_files_go_with_the_last_root_that_uses_them(tmp_path, monkeypatch):
    monkeypatch.setenv("QUP_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("a", "b"):
        _make_root(tmp_path / name, 5_000_000)
        assert shared_files.share_file(tmp_path / name / "Source/data/1/rows")
    (entry,) = (tmp_path / "cache/files").iterdir()
    assert entry.stat().st_nlink == 3
    (tmp_path / "cache/files/notes.txt").write_text("of the user")
    done = _call(tmp_path / "a", "--keep=0", "--yes")
    # The other root has the file.
    assert "5.0 MB  Source/data/1" in done.stdout
    assert re.search(r"Removed 1 artifact, \d+\.\d kB\.\n$", done.stdout), done.stdout
    assert entry.stat().st_nlink == 2
    done = _call(tmp_path / "b", "--keep=0", "--dry_run")
    assert done.stdout.endswith("Would remove 1 artifact, 5.0 MB.\n") and entry.exists()
    # A root that was removed by hand leaves its file in the cache.
    shutil.rmtree(tmp_path / "b")
    done = _call(tmp_path / "a", "--dry_run")
    assert f"{entry.name}  (no pipeline root uses it)" in done.stdout and entry.exists()
    done = _call(tmp_path / "a", "--yes")
    assert done.stdout.endswith("Removed 1 cached file, 5.0 MB.\n")
    assert [path.name for path in (tmp_path / "cache/files").iterdir()] == ["notes.txt"]


def test_an_interrupt_at_the_question_removes_nothing(workdir):
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bin.prune", workdir, "--keep=0"],
        cwd=_ROOT,
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    text = ""
    while "[y/N]" not in text:
        text += process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    os.close(terminal)
    os.close(controller)
    assert (process.returncode, error) == (130, "Interrupted.\n")
    assert _list_numbers(workdir) == ["1", "2", "3"]
