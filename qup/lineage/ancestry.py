"""Lineage: all that an artifact, or a run, came from.

```python
records = roots.Records(roots.find("runs/mnist"))
print(outline.tree(of_run(records, records.runs()[-1].id)))
```
"""

import collections
import dataclasses
import difflib
import os
import pathlib
from collections.abc import Iterable

from qup.orchestration import errors
from qup.orchestration.artifacts import Artifact
from qup.orchestration.executions import Execution, Run, State
from qup.orchestration.reading import MetadataReader


@dataclasses.dataclass(frozen=True)
class Event:
    """That an execution read or made an artifact.

    Attributes:
      execution: Id of the execution.
      artifact: Id of the artifact.
      keys: The names of the inputs or outputs it has there.
      output: Whether it was made, not read.
    """

    execution: int
    artifact: int
    keys: tuple[str, ...]
    output: bool


@dataclasses.dataclass(frozen=True)
class Lineage:
    """A graph of artifacts and of the executions that made them.

    Attributes:
      root: Folder of the database; paths are told relative to it.
      artifacts: By id, nearest first.
      executions: By id, nearest first; none is only a reuse of another.
      ends: Ids of the artifacts that the graph leads to.
      run: The run that was asked for, if it was one.
      made: Ids of the executions that took place in that run.
      reused: Ids of those whose results it reused.
    """

    root: pathlib.Path
    artifacts: dict[int, Artifact]
    executions: dict[int, Execution]
    ends: tuple[int, ...]
    run: Run | None = None
    made: frozenset[int] = frozenset()
    reused: frozenset[int] = frozenset()

    def path(self, artifact: Artifact) -> str:
        """Returns where an artifact lies, relative to the root if inside."""
        inside = artifact.path.is_relative_to(self.root)
        where = artifact.path
        return str(where.relative_to(self.root) if inside else where)

    def events(self) -> list[Event]:
        """Returns what was read and made by which execution."""
        return [
            Event(execution.id, number, keys, output)
            for execution in self.executions.values()
            for output in (False, True)
            for number, keys in _keys(execution, output).items()
            if number in self.artifacts
        ]

    def producers(self) -> dict[int, Execution]:
        """Returns the execution that made each artifact, by its id."""
        return {
            event.artifact: self.executions[event.execution]
            for event in self.events()
            if event.output
        }


def of_artifact(
    metadata: MetadataReader, artifact: int | str | os.PathLike
) -> Lineage:
    """Returns the whole ancestry of an artifact, back to the sources.

    Args:
      metadata: Where to look.
      artifact: Its id, its folder, or a path within it.

    Raises:
      MetadataError: There is none.
    """
    by_id = isinstance(artifact, int)
    found = (metadata.artifact if by_id else metadata.find_artifact)(artifact)
    if found is None:
        raise errors.MetadataError(
            f"{str(artifact)!r} belongs to no published artifact of the "
            f"pipeline root {metadata.path.parent}. "
            + _example(metadata, pathlib.Path(artifact).resolve())
        )
    graph = _ancestry(metadata, [], [found])
    return Lineage(metadata.path.parent, *graph, ends=(found.id,))


def of_run(metadata: MetadataReader, run: str) -> Lineage:
    """Returns all that a run made or reused, back to the sources.

    Raises:
      MetadataError: There is none of that id.
    """
    runs = {held.id: held for held in metadata.runs()}
    if run not in runs:
        near = difflib.get_close_matches(run, runs, n=1, cutoff=0)
        raise errors.MetadataError(
            f"Unknown run {run!r}; {len(runs)} are recorded."
            + "".join(f" The nearest is {name!r}." for name in near)
        )
    begun, reused, results = [], set(), []
    for execution in metadata.executions(run):
        outputs = _held(execution.outputs)
        if execution.state is State.CACHED:
            origins = (metadata.producer(a.id) for a in outputs)
            reused.update(origin.id for origin in origins if origin)
        else:
            begun.append(execution)
        results += outputs
    artifacts, executions = _ancestry(metadata, begun, results)
    read = {a.id for e in executions.values() for a in _held(e.inputs)}
    return Lineage(
        root=metadata.path.parent,
        artifacts=artifacts,
        executions=executions,
        ends=tuple(number for number in artifacts if number not in read),
        run=runs[run],
        made=(made := frozenset(execution.id for execution in begun)),
        reused=frozenset(reused - made),
    )


def _ancestry(
    metadata: MetadataReader,
    begun: Iterable[Execution],
    results: Iterable[Artifact],
) -> tuple[dict[int, Artifact], dict[int, Execution]]:
    """Goes back, breadth first, from what is given to the sources."""
    artifacts: dict[int, Artifact] = {}
    executions: dict[int, Execution] = {}
    origins: set[int] = set()
    waiting = collections.deque(results)

    def enter(execution: Execution) -> None:
        executions[execution.id] = execution
        origins.update(artifact.id for artifact in _held(execution.outputs))
        waiting.extend(_held(execution.inputs))

    for execution in begun:
        enter(execution)
    while waiting:
        artifact = waiting.popleft()
        if artifact.id in artifacts:
            continue
        artifacts[artifact.id] = artifact
        if artifact.id in origins:
            continue
        if execution := metadata.producer(artifact.id):
            enter(execution)
    return artifacts, executions


def _held(channels: dict[str, list[Artifact]]) -> list[Artifact]:
    return [artifact for held in channels.values() for artifact in held]


def _keys(execution: Execution, output: bool) -> dict[int, tuple[str, ...]]:
    """Returns the names of inputs or outputs by the artifact's id."""
    found: dict[int, tuple[str, ...]] = {}
    channels = execution.outputs if output else execution.inputs
    for key, held in channels.items():
        for number in dict.fromkeys(artifact.id for artifact in held):
            found[number] = (*found.get(number, ()), key)
    return found


def _example(metadata: MetadataReader, path: pathlib.Path) -> str:
    """Returns the advice to name an artifact: the latest in `path`, if any."""
    found = [
        artifact
        for run in metadata.runs()
        for execution in metadata.executions(run.id)
        for artifact in _held(execution.outputs)
    ]
    inside = [a for a in found if a.path.is_relative_to(path)]
    if not found:
        return "It has published none yet."
    return f"Name one, such as {str((inside or found)[-1].path)!r}."
