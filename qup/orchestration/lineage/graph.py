"""The graph of all executions and artifacts that an artifact, or a run, comes from.

```python
metadata = ReadOnlyMetadata(find_database("runs/mnist"))
lineage = trace_run(metadata, metadata.list_runs()[-1].id)
```
"""

import collections
import contextlib
import dataclasses
import difflib
import os
import pathlib
import sqlite3
from collections.abc import Iterable, Iterator

from qup.orchestration import errors
from qup.orchestration.artifacts import Artifact
from qup.orchestration.executions import Execution, Run, State
from qup.orchestration.metadata import MetadataReader


@dataclasses.dataclass(frozen=True)
class Event:
    """An artifact is an input or an output of an execution.

    Attributes:
      execution: Id of the execution.
      artifact: Id of the artifact.
      keys: Names of the inputs or outputs.
      output: Whether the artifact is an output.
    """

    execution: int
    artifact: int
    keys: tuple[str, ...]
    output: bool


@dataclasses.dataclass(frozen=True)
class Lineage:
    """A graph of artifacts and of the executions that produced them.

    Attributes:
      root: Folder of the database.
      artifacts: By id, nearest first.
      executions: By id, nearest first, without executions that only reused another one.
      results: Ids of the artifacts at the end of the graph.
      run: The requested run; None for the lineage of an artifact.
      executed: Ids of the executions of that run.
      reused: Ids of the executions whose results that run reused.
    """

    root: pathlib.Path
    artifacts: dict[int, Artifact]
    executions: dict[int, Execution]
    results: tuple[int, ...]
    run: Run | None = None
    executed: frozenset[int] = frozenset()
    reused: frozenset[int] = frozenset()

    def get_path(self, artifact: Artifact) -> str:
        """Returns the path of an artifact, relative to the root if it is inside, or its address."""
        if "://" in artifact.uri:
            return artifact.uri
        path = artifact.path
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)

    def list_events(self) -> list[Event]:
        """Returns all inputs and outputs of the executions."""
        return [
            Event(execution.id, number, keys, output)
            for execution in self.executions.values()
            for output in (False, True)
            for number, keys in _get_keys_by_artifact(execution, output).items()
            if number in self.artifacts
        ]

    def find_producers(self) -> dict[int, Execution]:
        """Returns the execution that produced each artifact, by id of the artifact."""
        return {
            event.artifact: self.executions[event.execution]
            for event in self.list_events()
            if event.output
        }


def trace_artifact(metadata: MetadataReader, artifact: int | str | os.PathLike) -> Lineage:
    """Returns the lineage of an artifact, back to the sources.

    Args:
      metadata: The database.
      artifact: Its id, its folder, or a path in its folder.

    Raises:
      MetadataError: There is no such artifact.
    """
    by_id = isinstance(artifact, int)
    target = (metadata.get_artifact if by_id else metadata.find_artifact)(artifact)
    if target is None:
        raise errors.MetadataError(
            f"{str(artifact)!r} belongs to no published artifact of the "
            f"pipeline root {metadata.path.parent}. "
            + _suggest_artifact(metadata, pathlib.Path(artifact).resolve())
        )
    graph = _trace_back(metadata, [], [target])
    return Lineage(metadata.path.parent, *graph, results=(target.id,))


def trace_run(metadata: MetadataReader, run: str) -> Lineage:
    """Returns the lineage of all that a run produced or reused, back to the sources.

    Raises:
      MetadataError: There is no run of that id.
    """
    runs = {recorded.id: recorded for recorded in metadata.list_runs()}
    if run not in runs:
        closest = difflib.get_close_matches(run, runs, n=1, cutoff=0)
        raise errors.MetadataError(
            f"Unknown run {run!r}; {len(runs)} are recorded."
            + "".join(f" The closest is {name!r}." for name in closest)
        )
    executed, reused, results = [], set(), []
    for execution in metadata.list_executions(run):
        outputs = _list_artifacts(execution.outputs)
        if execution.state is State.CACHED:
            producers = (metadata.find_producer(a.id) for a in outputs)
            reused.update(producer.id for producer in producers if producer)
        else:
            executed.append(execution)
        results += outputs
    artifacts, executions = _trace_back(metadata, executed, results)
    input_ids = {a.id for e in executions.values() for a in _list_artifacts(e.inputs)}
    return Lineage(
        root=metadata.path.parent,
        artifacts=artifacts,
        executions=executions,
        results=tuple(number for number in artifacts if number not in input_ids),
        run=runs[run],
        executed=(executed_ids := frozenset(execution.id for execution in executed)),
        reused=frozenset(reused - executed_ids),
    )


def _trace_back(
    metadata: MetadataReader, executed: Iterable[Execution], results: Iterable[Artifact]
) -> tuple[dict[int, Artifact], dict[int, Execution]]:
    """Follows executions and artifacts back to the sources, breadth first."""
    artifacts: dict[int, Artifact] = {}
    executions: dict[int, Execution] = {}
    output_ids: set[int] = set()
    queue = collections.deque(results)

    def add_execution(execution: Execution) -> None:
        executions[execution.id] = execution
        output_ids.update(artifact.id for artifact in _list_artifacts(execution.outputs))
        queue.extend(_list_artifacts(execution.inputs))

    for execution in executed:
        add_execution(execution)
    while queue:
        artifact = queue.popleft()
        if artifact.id in artifacts:
            continue
        artifacts[artifact.id] = artifact
        if artifact.id in output_ids:
            continue
        if execution := metadata.find_producer(artifact.id):
            add_execution(execution)
    return artifacts, executions


def _list_artifacts(channels: dict[str, list[Artifact]]) -> list[Artifact]:
    return [artifact for artifacts in channels.values() for artifact in artifacts]


def _get_keys_by_artifact(execution: Execution, output: bool) -> dict[int, tuple[str, ...]]:
    """Returns the names of the inputs or outputs that each artifact is, by its id."""
    keys: dict[int, tuple[str, ...]] = {}
    channels = execution.outputs if output else execution.inputs
    for key, artifacts in channels.items():
        for number in dict.fromkeys(artifact.id for artifact in artifacts):
            keys[number] = (*keys.get(number, ()), key)
    return keys


def _suggest_artifact(metadata: MetadataReader, path: pathlib.Path) -> str:
    """Returns a hint to an artifact: the latest one in `path`, if there is one."""
    published = [
        artifact
        for run in metadata.list_runs()
        for execution in metadata.list_executions(run.id)
        for artifact in _list_artifacts(execution.outputs)
    ]
    inside = [a for a in published if a.path.is_relative_to(path)]
    if not published:
        return "It has not published any artifact yet."
    return f"Name one, such as {str((inside or published)[-1].path)!r}."


_DB_NAME = "metadata.sqlite"
_ROOT_NAME = "pipeline"
# In a pipeline root, the folder of what TFX ran.
_TFX_NAME = "tfx"
_ROOT_PATTERNS = (".", _ROOT_NAME, "*", f"*/{_ROOT_NAME}", f"*/*/{_ROOT_NAME}")


def resolve_path(path: str | os.PathLike) -> pathlib.Path:
    """Returns the path without links; it need not exist.

    Raises:
      MetadataError: The links form a cycle.
    """
    try:
        return pathlib.Path(path).resolve()
    except RuntimeError as error:
        raise errors.MetadataError(
            f"The links of {str(path)!r} form a cycle. Name another path."
        ) from error


def find_database(path: str | os.PathLike) -> pathlib.Path:
    """Returns the path of the metadata database that a path belongs to.

    Args:
      path: A working directory, a pipeline root, a path in one of them, or a database of any name.

    Raises:
      MetadataError: There is no database.
    """
    start = resolve_path(path)
    if start.is_file() and _is_database(start):
        return start
    for folder in (start, *start.parents):
        roots = (folder, folder / _ROOT_NAME)
        for candidate in (*roots, *(root / _TFX_NAME for root in roots)):
            if (candidate / _DB_NAME).is_file():
                return candidate / _DB_NAME
    problem = f"There is no file or folder {str(path)!r}."
    if start.exists():
        problem = (
            f"There is no {_DB_NAME} in {str(path)!r}, in its {_ROOT_NAME!r} folder or above it."
        )
    raise errors.MetadataError(
        f"{problem} Name a working directory, or a file that a pipeline has written."
    )


def _is_database(path: pathlib.Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


def find_databases_below(path: str | os.PathLike) -> list[pathlib.Path]:
    """Returns the paths of the databases of a folder, and of the working directories in it.

    Raises:
      MetadataError: There is no database.
    """
    folder = pathlib.Path(path)
    databases = {
        database.resolve(): database
        for pattern in _ROOT_PATTERNS
        for database in sorted(folder.glob(f"{pattern}/{_DB_NAME}"))
        if database.is_file()
    }
    if not databases:
        problem = "no pipeline in" if folder.is_dir() else "no folder"
        raise errors.MetadataError(
            f"There is {problem} {str(path)!r}. Name a working directory, or a folder of them."
        )
    return sorted(databases.values())


class ReadOnlyMetadata(MetadataReader):
    """An ML Metadata database that cannot be written."""

    def count_executions(self) -> dict[str, tuple[int, int]]:
        """Returns the numbers of (executed, reused) executions of each run, by its id."""
        with self.transaction() as cursor:
            rows = cursor.execute(
                "SELECT Context.name, sum(last_known_state != ?1), "
                "sum(last_known_state = ?1) FROM Type "
                "JOIN Context ON Context.type_id = Type.id "
                "JOIN Association ON context_id = Context.id "
                "JOIN Execution ON execution_id = Execution.id "
                "WHERE Type.name = 'pipeline_run' GROUP BY Context.id",
                (int(State.CACHED),),
            )
            return {run: (executed, reused) for run, executed, reused in rows}

    @contextlib.contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[sqlite3.Cursor]:
        """Runs one transaction that reads; see `Database`.

        Raises:
          MetadataError: The database cannot be read, or has records of another program.
        """
        with super().transaction(write=False) as cursor:
            try:
                yield cursor
            except (KeyError, TypeError, ValueError) as error:
                if isinstance(error, errors.OrchestrationError):
                    raise
                raise errors.MetadataError(
                    f"{self.path} has records of another program ({type(error).__name__}: "
                    f"{error}). Name the folder of a pipeline of this program."
                ) from error

    @contextlib.contextmanager
    def _connect(self, mode: str) -> Iterator[sqlite3.Connection]:
        with super()._connect("ro") as connection:
            yield connection

    @contextlib.contextmanager
    def _wrap_sqlite_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise errors.MetadataError(
                f"Cannot read the metadata database {self.path}: {error}. Give access, or run its "
                "pipeline again, which repairs the database after a process was killed."
            ) from error
