"""Processes: kills, interrupts, retries, and several on one root."""

import dataclasses
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from qup.orchestration import (
    Artifact,
    Execution,
    LocalRunner,
    Metadata,
    Out,
    State,
    StatefulDir,
    component,
    executions,
    storage,
)

_ROOT = pathlib.Path(__file__).parents[2]
_SCRIPT = """
import pathlib, sys, time
from qup.orchestration import *

class Data(Artifact): ...

@component
def Counter(data: Out[Data], state: StatefulDir, *, steps: int = 6,
            pause: Location[float] = 0.0, stop: Location[int] = 99) -> None:
    done = state / "done"
    begin = int(done.read_text()) if done.exists() else 0
    for step in range(begin, steps):
        if step == stop:
            (data.path / "half").write_text("made")
            print("stopped at", step, flush=True)
            time.sleep(60)
        with open("steps", "a") as file:
            file.write(f"{step}\\n")
        done.write_text(str(step + 1))
        time.sleep(pause)
    (data.path / "count").write_text(str(steps))

@component
def Copier(data: In[Data], copy: Out[Data]) -> None:
    (copy.path / "count").write_text((data.path / "count").read_text())

counter = Counter(**{k: type(v)(v) for k, v in (
    (key, int(value)) for key, value in (a.split("=") for a in sys.argv[1:]))})
nodes = [counter, Copier(data=counter.outputs["data"])]
runner = LocalRunner("root", Metadata("root/metadata.sqlite"),
                     on_event=lambda event: print(event, flush=True))
done = runner.run(nodes)
assert done["Copier"].outputs["copy"][0].path.joinpath("count").read_text()
"""


class Data(Artifact):
    pass


@pytest.fixture
def start(tmp_path):
    folder = tmp_path / "ein Ördner"
    folder.mkdir()
    (folder / "script.py").write_text(_SCRIPT)
    begun = []

    def start(*arguments):
        begun.append(
            subprocess.Popen(
                [sys.executable, "script.py", *arguments],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(_ROOT)},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return begun[-1]

    start.folder = folder
    yield start
    for process in begun:
        process.kill()
        process.communicate()


def _finish(process):
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    return out


def _read_until(process, text):
    lines = []
    while not lines or text not in lines[-1]:
        lines.append(process.stdout.readline())
        assert lines[-1], lines
    return lines


def _folders(root):
    return sorted(
        str(path.relative_to(root))
        for pattern in ("[!.]*/*/*", "[!.]*/.system/*/*")
        for path in root.glob(pattern)
        if path.parent.name != ".system"
    )


def test_a_killed_execution_is_taken_over_with_its_checkpoints(start):
    root = start.folder / "root"
    process = start("stop=4")
    _read_until(process, "stopped at 4")
    assert _folders(root) == [
        "Counter/.system/executor_execution/1",
        next(map(str, _stateful(root))),
    ]
    process.kill()
    # A zombie, not yet waited for, is dead as well.
    time.sleep(0.2)
    out = _finish(start("stop=99"))
    assert f"execution 1 was abandoned by process {process.pid}" in out
    assert (start.folder / "steps").read_text().split() == list("012345")
    assert _folders(root) == ["Copier/copy/3", "Counter/data/2"]
    metadata = Metadata(root / "metadata.sqlite")
    assert metadata.get_execution(1).state is State.FAILED
    assert metadata.get_execution(1).error == f"abandoned by process {process.pid}"
    first, second = metadata.list_runs()
    assert first.is_abandoned and first.state is State.RUNNING
    assert second.state is State.COMPLETE


def _stateful(root):
    for path in root.glob("*/.system/stateful_working_dir/*"):
        yield path.relative_to(root)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_interrupts_are_recorded_and_resumed(start, name):
    # Python makes SIGINT a KeyboardInterrupt; a binary may do so with SIGTERM.
    script = start.folder / "script.py"
    handler = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(143))"
    script.write_text(_SCRIPT.replace("class Data", f"{handler}\nclass Data"))
    process = start("stop=2")
    _read_until(process, "stopped at 2")
    process.send_signal(signal.Signals[name])
    out, _ = process.communicate(timeout=60)
    assert process.returncode != 0 and "failed: interrupted" in out
    root = start.folder / "root"
    assert _folders(root) == list(map(str, _stateful(root)))
    assert Metadata(root / "metadata.sqlite").get_execution(1).error == ("interrupted")
    assert "abandoned" not in _finish(start())
    assert (start.folder / "steps").read_text().split() == list("012345")
    assert not list(_stateful(root))


def test_a_second_run_waits_and_reuses(start):
    first = start("pause=1", "steps=3")
    _read_until(first, "Counter: execution 1")
    second = start("steps=3")
    out = _finish(second)
    assert f"Counter: waiting for process {first.pid}\n" in out
    assert "Counter: reused execution 1\n" in out
    _finish(first)
    assert (start.folder / "steps").read_text().split() == list("012")


def test_a_second_run_takes_over_when_the_first_is_killed(start):
    first = start("stop=1")
    _read_until(first, "stopped at 1")
    second = start("stop=99")
    _read_until(second, f"waiting for process {first.pid}")
    first.kill()
    out = _finish(second)
    assert f"execution 1 was abandoned by process {first.pid}" in out
    assert (start.folder / "steps").read_text().split() == list("012345")
    assert _folders(start.folder / "root") == ["Copier/copy/3", "Counter/data/2"]


def test_many_runs_at_once_agree(start):
    runs = [start("steps=3") for _ in range(4)]
    outs = [_finish(run) for run in runs]
    assert sum("Counter: complete" in out for out in outs) == 1
    assert sum("Counter: reused" in out for out in outs) == 3
    assert (start.folder / "steps").read_text().split() == list("012")


def test_two_runs_of_different_parameters_do_not_wait(start):
    first = start("stop=1")
    _read_until(first, "stopped at 1")
    out = _finish(start("steps=2"))
    assert "waiting" not in out and "abandoned" not in out
    assert first.poll() is None
    root = start.folder / "root"
    assert "Counter/.system/executor_execution/1" in _folders(root)


def test_a_failure_is_recorded_and_retried(tmp_path):
    seen = []

    @component
    def Fragile(data: Out[Data], state: StatefulDir) -> None:
        seen.append(sorted(path.name for path in state.iterdir()))
        (state / f"try {len(seen)}").touch()
        (data.path / "file").write_text("half")
        if len(seen) < 3:
            raise ValueError(f"try {len(seen)}")

    events = []
    metadata = Metadata(tmp_path / "root/metadata.sqlite")
    runner = LocalRunner(tmp_path / "root", metadata, on_event=events.append)
    for number in (1, 2):
        with pytest.raises(ValueError, match=f"try {number}"):
            runner.run([Fragile()])
        assert metadata.get_execution(number).state is State.FAILED
        assert metadata.get_execution(number).error == f"ValueError: try {number}"
        assert str(events[-1]) == f"Fragile: failed: ValueError: try {number}"
        assert len(_folders(tmp_path / "root")) == 1
    done = runner.run([Fragile()])
    assert done["Fragile"].state is State.COMPLETE
    assert seen == [[], ["try 1"], ["try 1", "try 2"]]
    assert _folders(tmp_path / "root") == ["Fragile/data/3"]


def _owner(**changes):
    return dataclasses.replace(executions.get_current_process(), **changes)


@component
def Source(data: Out[Data]) -> None:
    pass


def _left(root, owner):
    """Records an execution of `owner` that has not ended, with a folder."""
    metadata = Metadata(root / "metadata.sqlite")
    execution = Execution(
        component="Source",
        node="Source",
        fingerprint="f" * 64,
        code="",
        parameters={},
        inputs={},
        owner=owner,
    )
    metadata.register(execution, metadata.begin("old", {}))
    left = root / f"Source/data/{execution.id}"
    left.mkdir(parents=True)
    (left / "file").touch()
    (root / "Source/.system").mkdir()

    def is_taken_over():
        LocalRunner(root, metadata).run([Source()])
        state = metadata.get_execution(execution.id).state
        assert left.exists() is (state is State.RUNNING)
        return state is State.FAILED

    return is_taken_over


@pytest.mark.parametrize(
    ("owner", "dead"),
    [
        (_owner(process=2**22 + 1), True),
        (_owner(process=1, start="another boot/1"), True),
        (_owner(start="another boot/1"), True),
        # Of this process, but no thread of it holds the lock.
        (_owner(), True),
        # One that lives, though it holds no lock.
        (_owner(process=os.getppid(), start=""), False),
        # Of another host the lock alone tells.
        (_owner(host="elsewhere", process=1), True),
    ],
)
def test_running_executions_of_dead_processes_are_abandoned(tmp_path, owner, dead):
    assert _left(tmp_path, owner)() is dead


def test_running_execution_with_a_lock_is_not_touched(tmp_path):
    is_taken_over = _left(tmp_path, _owner(host="elsewhere"))
    lock = tmp_path / ".system/locks" / ("f" * 64)
    lock.parent.mkdir(parents=True)
    with storage.hold_lock(lock):
        assert not is_taken_over()
    assert is_taken_over()


def test_a_process_may_take_a_moment_to_die(tmp_path, monkeypatch):
    monkeypatch.setattr("qup.orchestration.runner._EXIT_TIMEOUT_S", 30)
    dying = subprocess.Popen(["sleep", "1"])
    start = repr(psutil.Process(dying.pid).create_time())
    is_taken_over = _left(tmp_path, _owner(process=dying.pid, start=start))
    assert is_taken_over()
    dying.wait()


def test_processes_are_distinguished():
    me = executions.get_current_process()
    assert me.host == socket.gethostname() and me.process == os.getpid()
    assert me == executions.get_current_process() and me.is_alive()
    assert str(me) == f"process {os.getpid()}"
    elsewhere = dataclasses.replace(me, host="elsewhere")
    assert elsewhere.is_alive() is None
    assert str(elsewhere) == f"process {os.getpid()} on elsewhere"


def test_a_lock_ends_with_its_holder_and_not_with_its_children(tmp_path):
    path = tmp_path / "lock"
    with storage.hold_lock(path) as held, storage.hold_lock(path) as again:
        assert held and not again
    assert not path.exists()
    reader, writer = os.pipe()
    holder = os.fork()
    if not holder:
        with storage.hold_lock(path):
            child = os.fork()
            if not child:
                os.write(writer, b"forked")
                time.sleep(20)
                os._exit(0)
            os.write(writer, f"{child}\n".encode())
            time.sleep(20)
    text = b""
    while b"\n" not in text or b"forked" not in text:
        text += os.read(reader, 100)
    child = int(text.replace(b"forked", b""))
    try:
        with storage.hold_lock(path) as held:
            assert not held
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        with storage.hold_lock(path) as held:
            assert held
    finally:
        os.kill(child, signal.SIGKILL)


def test_locks_exclude_threads(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(20):
            with storage.hold_lock(tmp_path / "lock", lambda: None):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 80 and max(most) == 1
