"""Faults at every write, fsync, rename and commit, and full disks.

The N-th operation fails, or the process is killed there, for N = 1, 2, 3,
... until a pass is clean. Whatever happens, nothing wrong and no half of
anything may be published, and the next run must mend it.
"""

import contextlib
import errno
import itertools
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile

import pytest

from qup.orchestration import (
    Artifact,
    In,
    LocalRunner,
    Metadata,
    MetadataReader,
    OrchestrationError,
    Out,
    State,
    StatefulDir,
    artifacts,
    component,
)
from qup.orchestration.artifacts import ArtifactState

_ROOT = pathlib.Path(__file__).parents[2]
_LINES = ("one", "two")


class Data(Artifact):
    pass


def _write(path, text):
    """A write that is counted among the operations."""
    _write.fault()
    with open(path, "w") as file:
        file.write(text[: len(text) // 2])
        _write.fault()
        file.write(text[len(text) // 2 :])


_write.fault = lambda: None


@component
def Source(data: Out[Data], state: StatefulDir) -> None:
    for line in _LINES:
        if not (state / line).exists():
            _write(state / line, line)
    _write(data.path / "text", " ".join(_LINES))


@component
def Reverser(data: In[list[Data]], back: Out[Data], length: Out[Data]) -> None:
    text = (data[0].path / "text").read_text()
    (back.path / "sub").mkdir()
    _write(back.path / "sub" / "text", text[::-1])
    length.properties["length"] = len(text)


def _run(root):
    source = Source()
    nodes = [source, Reverser(data=source.outputs["data"])]
    return LocalRunner(root, Metadata(root / "metadata.sqlite")).run(nodes)


class Faults:
    """Fails the N-th operation, or it and all after it, or kills there."""

    def __init__(self, number, kind):
        self.number = number
        self.kind = kind
        self.count = 0

    def __call__(self):
        self.count += 1
        late = self.count > self.number and self.kind == "lasting"
        if self.count == self.number or late:
            if self.kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(errno.ENOSPC, "No space left on device")

    def statement(self, sql, execute):
        """Begins and commits count; a commit may fail after it is done."""
        with self.as_sqlite(sql.startswith(("BEGIN IMMEDIATE", "COMMIT"))):
            pass
        result = execute(sql)
        with self.as_sqlite(sql == "COMMIT"):
            pass
        return result

    @contextlib.contextmanager
    def as_sqlite(self, counts):
        try:
            yield self() if counts else None
        except OSError as error:
            raise sqlite3.OperationalError("disk I/O error") from error

    @contextlib.contextmanager
    def injected(self):
        faults = self

        class Connection(sqlite3.Connection):
            def execute(self, sql, *args):
                return faults.statement(sql, lambda sql: sqlite3.Connection.execute(self, sql))

        connect = sqlite3.connect
        with pytest.MonkeyPatch.context() as patch:
            for name in ("fsync", "rename", "mkdir", "open"):
                patch.setattr(os, name, self.before(getattr(os, name)))
            patch.setattr(_write, "fault", self)
            patch.setattr(
                sqlite3,
                "connect",
                lambda *args, **options: connect(*args, factory=Connection, **options),
            )
            yield

    def before(self, function):
        def counted(*args, **options):
            self()
            return function(*args, **options)

        return counted


def _run_with_fault(root, number, kind):
    """Runs; returns whether a fault happened."""
    faults = Faults(number, kind)
    if kind == "kill":
        child = os.fork()
        if not child:
            with faults.injected():
                _run(root)
            os._exit(0)
        return os.waitpid(child, 0)[1] != 0
    with faults.injected(), contextlib.suppress(OSError, OrchestrationError):
        _run(root)
    return faults.count >= number


def _check_published(root):
    """Asserts that what the database calls good is good."""
    # A run that is killed at once has made no file, or an empty one.
    path = root / "metadata.sqlite"
    if not path.exists() or not path.stat().st_size:
        return
    metadata = MetadataReader(path)
    for number, (node, state) in metadata.get_node_states().items():
        execution = metadata.get_execution(number)
        if state not in (State.COMPLETE, State.CACHED):
            assert not execution.outputs
            continue
        wanted = {"Source": {"data"}, "Reverser": {"back", "length"}}[node]
        assert execution.outputs.keys() == wanted
        for (artifact,) in execution.outputs.values():
            assert artifact.state is ArtifactState.LIVE
            _check(artifact)


def _check(artifact):
    damage, _ = artifacts.find_damage(artifact.path, artifact.manifest, hash_all=True)
    assert damage == ""
    key = artifact.path.parent.name
    text = " ".join(_LINES)
    if key == "data":
        assert (artifact.path / "text").read_text() == text
    elif key == "back":
        assert (artifact.path / "sub/text").read_text() == text[::-1]
    else:
        assert artifact.properties == {"length": len(text)}


def _check_recovered(root):
    """Asserts that a run goes through, and that nothing is left over."""
    _run(root)
    _check_published(root)
    states = {execution.state for execution in _run(root).values()}
    assert states == {State.CACHED}
    metadata = MetadataReader(root / "metadata.sqlite")
    complete = {
        f"{node}/{key}/{number}"
        for number, (node, state) in metadata.get_node_states().items()
        if state is State.COMPLETE
        for key in metadata.get_execution(number).outputs
    }
    assert len(complete) == 3
    folders = {str(p.relative_to(root)) for p in root.glob("[!.]*/[!.]*/*")}
    assert folders == complete
    assert not list(root.glob("*/.system/*/*"))
    assert not list(root.glob(".system/*/*"))
    assert not metadata.list_unfinished()


@pytest.fixture
def folder(tmp_path):
    """A folder in memory, where there is one: faults are only injected."""
    memory = pathlib.Path("/dev/shm")
    base = memory if os.access(memory, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=base) as name:
        yield pathlib.Path(name)


@pytest.mark.parametrize(
    "kind",
    [
        "single",
        pytest.param("lasting", marks=pytest.mark.slow),
        pytest.param("kill", marks=pytest.mark.slow),
    ],
)
def test_a_fault_anywhere_publishes_nothing_wrong(folder, kind):
    for number in itertools.count(1):
        root = folder / str(number)
        fault = _run_with_fault(root, number, kind)
        _check_published(root)
        _check_recovered(root)
        shutil.rmtree(root)
        if not fault:
            break
    assert number > 100, "nearly nothing was counted"


def _recoveries(folder, first, second, kinds):
    """Faults in a run, then in the run that should mend it.

    Returns how many of the second kind there were.
    """
    pattern = folder / "pattern"
    pattern.mkdir()
    assert _run_with_fault(pattern, first, kinds[0])
    happened = 0
    for number in second:
        root = folder / "root"
        shutil.copytree(pattern, root)
        fault = _run_with_fault(root, number, kinds[1])
        _check_published(root)
        _check_recovered(root)
        shutil.rmtree(root)
        if not fault:
            break
        happened += 1
    shutil.rmtree(pattern)
    return happened


@pytest.mark.parametrize(
    "kind",
    [
        "single",
        pytest.param("lasting", marks=pytest.mark.slow),
        pytest.param("kill", marks=pytest.mark.slow),
    ],
)
def test_a_fault_during_recovery_publishes_nothing_wrong(folder, kind):
    happened = 0
    for first in range(1, 110, 15):
        second = itertools.count(1 + first % 10, 10)
        happened += _recoveries(folder, first, second, ("kill", kind))
    assert happened > 40, "nearly no recovery was disturbed"


@pytest.mark.exhaustive
@pytest.mark.parametrize("kinds", [("kill", "kill"), ("lasting", "single")])
def test_any_two_faults_publish_nothing_wrong(folder, kinds):
    happened = 0
    for first in range(1, 110, 5):
        happened += _recoveries(folder, first, itertools.count(1), kinds)
    assert happened > 1000, "nearly no recovery was disturbed"


_FULL = """
set -e
mount -t tmpfs -o size=1m none "$1"
mkdir "$1/root"
run() { "$2" "$3" "$1/root" $4 && echo well || echo badly; }
run "$1" "$2" "$3" 100
run "$1" "$2" "$3" 2000
mount -o remount,size=9m "$1"
run "$1" "$2" "$3" 2000
mount --bind "$1/root" "$1/root"
mount -o remount,bind,ro "$1/root"
run "$1" "$2" "$3" 2000
mount -o remount,bind,rw "$1/root"
run "$1" "$2" "$3" 2000
"""
_SCRIPT = """
import sys
from qup.orchestration import *

class Data(Artifact): ...

@component
def Filler(data: Out[Data], *, kilobytes: int) -> None:
    (data.path / "file").write_bytes(bytes(1024 * kilobytes))

root, size = sys.argv[1:]
try:
    metadata = Metadata(root + "/metadata.sqlite")
    runner = LocalRunner(root, metadata, on_event=print)
    runner.run([Filler(kilobytes=int(size))])
except (OrchestrationError, OSError) as error:
    print(type(error).__name__, error)
    sys.exit(1)
"""


def test_full_and_read_only_disks_are_reported_and_survived(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    mount = tmp_path / "mount"
    mount.mkdir()
    unshare = ["unshare", "-rm", "sh", "-c"]
    try:
        subprocess.run(
            [*unshare, f"mount -t tmpfs none '{mount}'"], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting is refused here: {error}")
    result = subprocess.run(
        [*unshare, _FULL, "sh", mount, sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
    )
    out = result.stdout
    assert result.returncode == 0, (out, result.stderr)
    ends = [line for line in out.splitlines() if line in ("well", "badly")]
    assert ends == ["well", "badly", "well", "badly", "well"], out
    assert "failed: OSError: [Errno 28] No space left on device" in out
    assert "MetadataError" in out and "you can write to" in out, out
    assert out.count("complete in") == 2 and out.count("reused") == 1
