"""Executions of nodes, runs of pipelines, the processes that own them, and events."""

import dataclasses
import enum
import functools
import os
import socket
import time
from typing import Any

from qup.core import files
from qup.orchestration.artifacts import Artifact


@dataclasses.dataclass(frozen=True)
class Owner:
    """A process, distinguished from later processes of the same number.

    Attributes:
      host: Name of its machine.
      process: Its number.
      start: Its start in seconds since 1970, as text; "" if unknown.
    """

    host: str
    process: int
    start: str

    def to_properties(self) -> dict[str, str | int]:
        """Returns the properties that the metadata store."""
        return {"host": self.host, "process": self.process, "process_start": self.start}

    def is_alive(self) -> bool | None:
        """Returns whether the process runs; None if it is on another host."""
        if self.host != socket.gethostname():
            return None
        try:
            start = float(self.start) if self.start else None
        except ValueError:
            return False  # Recorded by a version that did not store the start in seconds.
        return files.is_process_alive(self.process, start)

    def is_alive_after(self, seconds: float) -> bool:
        """Waits until the process has ended; returns whether it still runs after the timeout."""
        deadline = time.monotonic() + seconds
        while self.is_alive():
            if time.monotonic() > deadline:
                return True
            time.sleep(0.02)
        return False

    def __str__(self) -> str:
        is_local = self.host == socket.gethostname()
        return f"process {self.process}" + ("" if is_local else f" on {self.host}")


def get_current_process() -> Owner:
    """Returns this process."""
    return Owner(socket.gethostname(), os.getpid(), _get_start(os.getpid()))


@functools.lru_cache(maxsize=1)
def _get_start(process: int) -> str:
    # Imported here: components that only compute need no psutil.
    import psutil

    return repr(psutil.Process(process).create_time())


class State(enum.IntEnum):
    """How an execution or a run ended, with the numbers of ML Metadata."""

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
      fingerprint: Identifies the result: component, parameters, contents of the inputs, code.
      code: Fingerprint of the code alone.
      parameters: All parameters, locations included.
      inputs: Artifacts by input.
      outputs: Artifacts by output.
      id: Number in the metadata; 0 before it is registered.
      state: RUNNING until it ends.
      owner: The process that runs it.
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
      parameters: JSON values that document the run, such as its flags.
      state: RUNNING until it ends.
      owner: The process that runs it.
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
    def is_abandoned(self) -> bool:
        """Whether its process ended before the run did."""
        return self.state is State.RUNNING and self.owner.is_alive() is False


@dataclasses.dataclass(frozen=True)
class NodeEvent:
    """An event of a node; str() returns a line for a log.

    Attributes:
      node: Its id.
      kind: "running", "complete", "reused", "waiting", "damaged", "outdated", "abandoned", "failed"
        or "changed".
      message: A description.
      execution: Id of the execution; 0 if it is not registered.
    """

    node: str
    kind: str
    message: str
    execution: int = 0

    def __str__(self) -> str:
        return f"{self.node}: {self.message}"
