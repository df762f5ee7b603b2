"""Processes that own things: who they are, if they live, and their locks."""

import contextlib
import dataclasses
import enum
import fcntl
import os
import pathlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from qup.orchestration import errors
from qup.orchestration.artifacts import Artifact


@dataclasses.dataclass(frozen=True)
class Owner:
    """A process, told apart from a later one of the same number.

    Attributes:
      host: Name of its machine.
      process: Its number.
      start: Boot of the machine and tick of the start; "" if unknown.
    """

    host: str
    process: int
    start: str

    def to_properties(self) -> dict[str, str | int]:
        """Returns it as the metadata keep it."""
        return {"host": self.host, "process": self.process, "process_start": self.start}

    def __str__(self) -> str:
        is_local = self.host == socket.gethostname()
        return f"process {self.process}" + ("" if is_local else f" on {self.host}")


def get_current_process() -> Owner:
    """Returns this process."""
    return Owner(socket.gethostname(), os.getpid(), _read_start(os.getpid()) or "")


def is_alive(owner: Owner) -> bool | None:
    """Returns whether `owner` lives; None where it is on another host."""
    if owner.host != socket.gethostname():
        return None
    try:
        os.kill(owner.process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    start = _read_start(owner.process)
    return start is not None and (start == owner.start or not start or not owner.start)


def is_alive_after(owner: Owner, seconds: float) -> bool:
    """Returns whether `owner` still lives after waiting some seconds."""
    deadline = time.monotonic() + seconds
    while is_alive(owner):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.02)
    return False


def _read_start(process: int) -> str | None:
    """Returns when a process started, "" if unknown, None for a zombie."""
    try:
        text = pathlib.Path(f"/proc/{process}/stat").read_text("utf-8")
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text()
    except (OSError, ValueError):
        return ""
    # The second field, the name in brackets, may hold anything.
    state, *fields = text.rpartition(")")[2].split()
    return None if state in "ZX" else f"{boot.strip()}/{fields[18]}"


_lock_descriptors: set[int] = set()


def _close_inherited_locks() -> None:
    """Closes, in a forked child, the locks that are its parent's."""
    for descriptor in _lock_descriptors:
        os.close(descriptor)
    _lock_descriptors.clear()


os.register_at_fork(after_in_child=_close_inherited_locks)


@contextlib.contextmanager
def hold_lock(path: pathlib.Path, on_wait: Callable[[], None] | None = None) -> Iterator[bool]:
    """Holds the lock file `path`; it ends with the process, however it dies.

    Args:
      path: The lock file, made and removed here.
      on_wait: Called before waiting for another holder. Without it nobody
        waits.

    Yields:
      Whether the lock is held: always, with `on_wait`.

    Raises:
      StorageError: The lock file cannot be made.
    """
    with errors.wrap_os_errors(path):
        descriptor = _acquire(path, on_wait)
    if descriptor is None:
        yield False
        return
    _lock_descriptors.add(descriptor)
    try:
        yield True
    finally:
        _lock_descriptors.discard(descriptor)
        with contextlib.suppress(OSError):
            os.unlink(path)
        os.close(descriptor)


def _acquire(path: pathlib.Path, on_wait: Callable[[], None] | None) -> int | None:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if on_wait is None:
                    os.close(descriptor)
                    return None
                on_wait()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                # The former holder may have removed what we waited for.
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


# Executions, each of a node, runs, each of a pipeline, and their notices.


class State(enum.IntEnum):
    """ML Metadata's numbers."""

    UNKNOWN = 0
    NEW = 1
    RUNNING = 2
    COMPLETE = 3
    FAILED = 4
    CACHED = 5
    CANCELED = 6


@dataclasses.dataclass(kw_only=True)
class Execution:
    """One run of one node.

    Attributes:
      component: Name of the component.
      node: Id of the node.
      fingerprint: What identifies the result: component, parameters,
        contents of the inputs, code.
      code: Fingerprint of the code alone.
      parameters: Every parameter, places included.
      inputs: Artifacts by input.
      outputs: Artifacts by output.
      id: Number in the metadata; 0 before it is registered.
      state: How it ended, if it did.
      owner: The process that ran it.
      error: Why it failed.
      created: Milliseconds since 1970.
      updated: Milliseconds since 1970.
    """

    component: str
    node: str
    fingerprint: str
    code: str
    parameters: dict[str, Any]
    inputs: dict[str, list[Artifact]]
    outputs: dict[str, list[Artifact]] = dataclasses.field(default_factory=dict)
    id: int = 0
    state: State = State.RUNNING
    owner: Owner = dataclasses.field(default_factory=get_current_process)
    error: str = ""
    created: int = 0
    updated: int = 0


@dataclasses.dataclass(kw_only=True)
class Run:
    """One run of a pipeline.

    Attributes:
      id: Its name in the metadata.
      pipeline: Name of the pipeline.
      parameters: What whoever started it wants to be reminded of.
      state: How it ended, if it did.
      owner: The process that ran it.
      created: Milliseconds since 1970.
      updated: Milliseconds since 1970.
    """

    id: str
    pipeline: str
    parameters: dict[str, Any]
    state: State = State.RUNNING
    owner: Owner = dataclasses.field(default_factory=get_current_process)
    created: int = 0
    updated: int = 0

    @property
    def abandoned(self) -> bool:
        """Whether its process died before it ended."""
        running = self.state is State.RUNNING
        return running and is_alive(self.owner) is False


@dataclasses.dataclass(frozen=True)
class NodeEvent:
    """What happens to a node; as a string, a line for people.

    Attributes:
      node: Its id.
      kind: "running", "complete", "reused", "waiting", "damaged",
        "outdated", "abandoned", "failed" or "changed".
      message: The same in words.
      execution: Id of the execution; 0 for one that is not registered.
    """

    node: str
    kind: str
    message: str
    execution: int = 0

    def __str__(self) -> str:
        return f"{self.node}: {self.message}"
