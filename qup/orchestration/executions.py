"""Executions, each of a node, runs, each of a pipeline, and their notices."""

import dataclasses
import enum
from typing import Any

from qup.orchestration import processes
from qup.orchestration.artifacts import Artifact


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
    owner: processes.Owner = dataclasses.field(default_factory=processes.get_current_process)
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
    owner: processes.Owner = dataclasses.field(default_factory=processes.get_current_process)
    created: int = 0
    updated: int = 0

    @property
    def abandoned(self) -> bool:
        """Whether its process died before it ended."""
        running = self.state is State.RUNNING
        return running and processes.is_alive(self.owner) is False


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
