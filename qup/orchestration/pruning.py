"""The disk use of a pipeline root, and the removal of what no kept run needs.

What is removed is decided and recorded in one transaction of the metadata, while no run is active:
the artifacts become MARKED_FOR_DELETION, and no run reuses them from then on. Then their folders
are removed, and they become DELETED. After a kill the next removal completes what is marked.

```python
pruner = Pruner("runs/mnist/pipeline/metadata.sqlite", Retention(newest=3))
plan = pruner.plan()
pruner.remove(plan)
```
"""

import collections
import dataclasses
import enum
import os
import pathlib
import re
import shutil
import stat
import time
from collections.abc import Collection, Container, Iterable, Iterator, Sequence

from qup.core import files
from qup.core.errors import InputError
from qup.orchestration import database, errors
from qup.orchestration.artifacts import ArtifactState
from qup.orchestration.executions import Run, State, get_current_process
from qup.orchestration.metadata import Metadata, MetadataReader
from qup.orchestration.runner import recover_executions
from qup.orchestration.storage import PipelineRoot

_DAY_S = 24 * 60 * 60
# Checkpoints of an unfinished execution, and runs of another host, count as given up after it.
_GIVEN_UP_AFTER_S = _DAY_S
_REMOVED = "removed by qup prune"
_LOCK = "prune"
_FINGERPRINT = re.compile("[0-9a-f]{64}")
_ID = re.compile("[1-9][0-9]{0,15}")
_BLOCK_SIZE = 512


class Reason(enum.StrEnum):
    """Why a folder is removed."""

    NO_RUN = "no run has it"
    NO_KEPT_RUN = "no kept run uses it"
    MARKED = "an earlier removal was interrupted"
    NO_EXECUTION = "its execution is not in the metadata"
    UNFINISHED = "its execution failed or was abandoned"
    TEMPORARY = "a temporary folder"
    CHECKPOINTS = "checkpoints of an unfinished execution, older than a day"


@dataclasses.dataclass(frozen=True)
class Removal:
    """A folder to remove.

    Attributes:
      path: The folder.
      reason: Why.
      artifact: Id of the artifact; 0 for other folders.
    """

    path: pathlib.Path
    reason: Reason
    artifact: int = 0


@dataclasses.dataclass(frozen=True)
class StoredArtifact:
    """An artifact of the metadata.

    Attributes:
      id: Its number.
      path: Its folder.
      state: LIVE, unless its files changed or were removed.
      is_pruned: Whether a removal has marked it.
    """

    id: int
    path: pathlib.Path
    state: ArtifactState
    is_pruned: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Retention:
    """Which runs are kept: those that any of the rules keeps, or all runs if there is no rule.

    Attributes:
      newest: For each pipeline, so many of the newest complete runs, and all that began later.
      max_age_s: The runs that ended, or began and were abandoned, within so many seconds.
      runs: These runs, by id.
    """

    newest: int | None = None
    max_age_s: float | None = None
    runs: Collection[str] = ()

    def select(self, runs: Sequence[Run]) -> set[str]:
        """Returns the ids of the kept runs.

        Args:
          runs: All runs of the root, oldest first.

        Raises:
          MetadataError: A run to keep is unknown.
        """
        known = [run.id for run in runs]
        for run_id in self.runs:
            if run_id not in known:
                raise errors.MetadataError(str(errors.make_unknown_error("run", run_id, known)))
        if self.newest is None and self.max_age_s is None and not self.runs:
            return set(known)
        kept = set(self.runs)
        if self.max_age_s is not None:
            earliest = (time.time() - self.max_age_s) * 1000
            kept.update(run.id for run in runs if run.updated >= earliest)
        if self.newest is not None:
            kept.update(_select_newest(runs, self.newest))
        return kept


def _select_newest(runs: Sequence[Run], count: int) -> Iterator[str]:
    num_complete: collections.Counter[str] = collections.Counter()
    for run in reversed(runs):
        if num_complete[run.pipeline] < count:
            yield run.id
            num_complete[run.pipeline] += run.state is State.COMPLETE


def read_artifacts(metadata: MetadataReader) -> list[StoredArtifact]:
    """Returns all artifacts that have a path on this machine."""
    with metadata.transaction(write=False) as cursor:
        rows = cursor.execute(
            "SELECT id, uri, state, string_value FROM Artifact LEFT JOIN ArtifactProperty "
            "ON artifact_id = id AND ArtifactProperty.name = 'damage' AND is_custom_property = 0 "
            "WHERE uri != ''"
        ).fetchall()
    return [
        StoredArtifact(
            number,
            metadata.path.parent / uri,
            ArtifactState(state or ArtifactState.UNKNOWN),
            damage == _REMOVED,
        )
        for number, uri, state, damage in rows
        if "://" not in uri
    ]


def read_artifacts_of_runs(metadata: MetadataReader) -> dict[str, set[int]]:
    """Returns the ids of the artifacts that the executions of each run read, made or reused."""
    by_run: dict[str, set[int]] = collections.defaultdict(set)
    with metadata.transaction(write=False) as cursor:
        for run, artifact in cursor.execute(
            "SELECT Context.name, Event.artifact_id FROM Type "
            "JOIN Context ON Context.type_id = Type.id "
            "JOIN Association ON context_id = Context.id "
            "JOIN Event ON Event.execution_id = Association.execution_id "
            "WHERE Type.name = 'pipeline_run' AND type_kind = ?",
            (database.CONTEXT,),
        ):
            by_run[run].add(artifact)
    return by_run


def measure_disk(paths: Iterable[pathlib.Path]) -> int:
    """Returns the bytes that files and folders take on the disk; hard links count once."""
    sizes = {(s.st_dev, s.st_ino): _get_size(s) for path in paths for s in _list_statuses(path)}
    return sum(sizes.values())


def measure_freed(paths: Iterable[pathlib.Path], cached: Container[tuple[int, int]] = ()) -> int:
    """Returns the bytes that are free after the removal of files and folders.

    A file with a hard link elsewhere is not counted: it stays on the disk.

    Args:
      paths: What is removed.
      cached: (device, inode) of files with a link in the cache, which is removed with the last one
        outside of the cache.
    """
    counts: collections.Counter[tuple[int, int]] = collections.Counter()
    statuses = {}
    for path in paths:
        for status in _list_statuses(path):
            key = (status.st_dev, status.st_ino)
            counts[key] += 1
            statuses[key] = status
    return sum(
        _get_size(status)
        for key, status in statuses.items()
        if stat.S_ISDIR(status.st_mode) or counts[key] + (key in cached) >= status.st_nlink
    )


def _get_size(status: os.stat_result) -> int:
    return status.st_blocks * _BLOCK_SIZE


def _list_statuses(path: str | os.PathLike) -> Iterator[os.stat_result]:
    """Returns the status of a path and of everything below; links are not followed."""
    try:
        status = os.lstat(path)
        yield status
        if stat.S_ISDIR(status.st_mode):
            for entry in os.scandir(path):
                yield from _list_statuses(entry.path)
    except OSError:
        # Removed at the same time, or unreadable.
        return


class Pruner:
    """Removes from one pipeline root what no kept run needs.

    It removes artifacts of the metadata, and folders that have the layout of `PipelineRoot`; it
    follows no link.
    """

    def __init__(self, database_path: str | os.PathLike, retention: Retention):
        """Opens a root.

        Args:
          database_path: The database, in the folder of the root.
          retention: Which runs are kept.

        Raises:
          MetadataError: There is no database, or another program has written it.
          StorageError: The database is a symbolic link.
        """
        try:
            files.check_not_link(database_path)
        except InputError as error:
            raise errors.StorageError(str(error)) from error
        # Checked first: `Metadata` would create it.
        _check_own_database(MetadataReader(database_path))
        self._metadata = Metadata(database_path)
        self._root = PipelineRoot(self._metadata.path.parent)
        self._retention = retention

    @property
    def path(self) -> pathlib.Path:
        """The folder of the root."""
        return self._root.path

    def plan(self) -> list[Removal]:
        """Returns what can be removed; nothing is written.

        Raises:
          MetadataError: A run to keep is unknown, or the database cannot be read.
          StorageError: A run is active.
        """
        check_inactive(self._root, self._metadata)
        return self._find_removals()

    def remove(self, plan: Collection[Removal]) -> list[Removal]:
        """Removes what a plan contains and can still be removed, and returns it.

        It waits while another process prunes the same root.

        Raises:
          MetadataError: The database cannot be read or written.
          StorageError: A run is active, or a folder cannot be removed.
        """
        paths = {removal.path for removal in plan}
        with self._root.hold_lock(_LOCK, lambda: None):
            check_inactive(self._root, self._metadata)
            recover_executions(self._root, self._metadata, lambda event: None)
            with self._metadata.transaction() as cursor:
                # No run can begin, or publish, before the end of this transaction.
                check_inactive(self._root, self._metadata)
                removals = [r for r in self._find_removals() if r.path in paths]
                for removal in removals:
                    if removal.artifact:
                        _record_removal(cursor, removal, ArtifactState.MARKED_FOR_DELETION)
            for removal in removals:
                self._remove_folder(removal)
                if removal.artifact:
                    with self._metadata.transaction() as cursor:
                        _record_removal(cursor, removal, ArtifactState.DELETED)
        return [removal for removal in plan if not removal.path.exists()]

    def _find_removals(self) -> list[Removal]:
        # Listed first: folders that appear later belong to executions that are newer.
        folders = self._root.list_execution_dirs()
        artifacts = read_artifacts(self._metadata)
        removals = [
            *self._find_artifacts(artifacts),
            *self._find_execution_dirs(folders, {a.path for a in artifacts}),
            *self._find_checkpoints(),
        ]
        return [removal for removal in removals if self._is_plain(removal.path)]

    def _find_artifacts(self, artifacts: Iterable[StoredArtifact]) -> Iterator[Removal]:
        kept = self._retention.select(self._metadata.list_runs())
        by_run = read_artifacts_of_runs(self._metadata)
        kept_ids = {artifact for run in kept for artifact in by_run.get(run, ())}
        all_ids = {artifact for ids in by_run.values() for artifact in ids}
        for artifact in artifacts:
            is_gone = artifact.state is ArtifactState.DELETED and not artifact.path.exists()
            if is_gone or not self._has_layout(artifact.path):
                continue
            if artifact.is_pruned:
                yield Removal(artifact.path, Reason.MARKED, artifact.id)
            elif artifact.id not in all_ids:
                yield Removal(artifact.path, Reason.NO_RUN, artifact.id)
            elif artifact.id not in kept_ids:
                yield Removal(artifact.path, Reason.NO_KEPT_RUN, artifact.id)

    def _find_execution_dirs(
        self, folders: Iterable[tuple[str, int, pathlib.Path]], published: Collection[pathlib.Path]
    ) -> Iterator[Removal]:
        """Returns the folders that are left of executions without results."""
        states = self._metadata.get_node_states()
        # Not RUNNING: `remove` ends the abandoned ones first, and they are FAILED.
        alive = {e.id for e in self._metadata.list_unfinished() if e.owner.is_alive()}
        for node, number, path in folders:
            if path in published or number in alive:
                continue
            known_node, state = states.get(number, (node, None))
            if path.parent.name == self._root.TEMPORARY:
                yield Removal(path, Reason.TEMPORARY)
            elif not self._has_layout(path):
                continue
            elif state is None:
                yield Removal(path, Reason.NO_EXECUTION)
            elif state is not State.COMPLETE and known_node == node:
                yield Removal(path, Reason.UNFINISHED)

    def _find_checkpoints(self) -> Iterator[Removal]:
        earliest = time.time() - _GIVEN_UP_AFTER_S
        for path in self._root.path.glob("*/.system/stateful_working_dir/*"):
            if _FINGERPRINT.fullmatch(path.name) and _get_newest_time(path) < earliest:
                yield Removal(path, Reason.CHECKPOINTS)

    def _has_layout(self, path: pathlib.Path) -> bool:
        """Returns whether a path is NODE/KEY/EXECUTION in the root."""
        if not path.is_relative_to(self._root.path):
            return False
        parts = path.relative_to(self._root.path).parts
        is_plain = len(parts) == 3 and not any(part.startswith(".") for part in parts)
        return is_plain and bool(_ID.fullmatch(parts[2]))

    def _is_plain(self, path: pathlib.Path) -> bool:
        """Returns whether no part of a path is a link, so that nothing else is removed."""
        return os.path.realpath(path) == str(path)

    def _remove_folder(self, removal: Removal) -> None:
        path = removal.path
        if not self._is_plain(path):
            return
        if removal.reason is not Reason.CHECKPOINTS:
            _remove_tree(path)
            return
        # A run that continues from the checkpoints holds this lock.
        with self._root.hold_lock(path.name) as is_locked:
            if is_locked and _get_newest_time(path) < time.time() - _GIVEN_UP_AFTER_S:
                _remove_tree(path)


def _remove_tree(path: pathlib.Path) -> None:
    with errors.wrap_os_errors(path):
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            # Removed by an interrupted removal, or by the user.
            return


def _record_removal(cursor, removal: Removal, state: ArtifactState) -> None:
    database.update_record(
        cursor, database.ARTIFACT, removal.artifact, {"state": int(state)}, {"damage": _REMOVED}
    )


def _get_newest_time(path: pathlib.Path) -> float:
    """Returns the time of the last change below a folder, in seconds since 1970."""
    return max((status.st_mtime for status in _list_statuses(path)), default=time.time())


def _check_own_database(metadata: MetadataReader) -> None:
    """Raises a MetadataError for a database that has records of another program."""
    queries = (
        "SELECT count(*) FROM Execution WHERE NOT EXISTS (SELECT 1 FROM ExecutionProperty "
        "WHERE execution_id = Execution.id AND name = 'fingerprint' AND is_custom_property = 0)",
        "SELECT count(*) FROM Context JOIN Type ON type_id = Type.id "
        "WHERE Type.name = 'pipeline_run' AND NOT EXISTS (SELECT 1 FROM ContextProperty "
        "WHERE context_id = Context.id AND name = 'state' AND is_custom_property = 0)",
    )
    with metadata.transaction(write=False) as cursor:
        count = sum(cursor.execute(query).fetchone()[0] for query in queries)
    if count:
        raise errors.MetadataError(
            f"{metadata.path} has {count} records of another program, so that nothing beside it is "
            "removed. Name a pipeline root that only qup has written."
        )


def check_inactive(root: PipelineRoot, metadata: MetadataReader) -> None:
    """Raises a StorageError if a process may still use the artifacts of a root.

    That is a process of a run, even if the run has ended: it may read its results. A run of another
    host counts as active while it holds a lock, or has recorded something within a day.
    """
    for run in metadata.list_runs():
        is_running = run.state is State.RUNNING
        if run.owner == get_current_process():
            is_active = is_running
        elif run.owner.is_alive() is None:
            is_active = is_running and _is_remote_run_active(root, metadata, run)
        else:
            is_active = bool(run.owner.is_alive())
        if is_active:
            raise errors.StorageError(
                f"{run.owner} still runs and uses {root.path} (run {run.id}, {run.state.name}). "
                "Wait until it has ended, or end it, then prune."
            )


def _is_remote_run_active(root: PipelineRoot, metadata: MetadataReader, run: Run) -> bool:
    executions = metadata.list_executions(run.id)
    last_ms = max([run.updated, *(max(e.created, e.updated) for e in executions)])
    if time.time() - last_ms / 1000 < _GIVEN_UP_AFTER_S:
        return True
    for execution in executions:
        if execution.state is State.RUNNING:
            with root.hold_lock(execution.fingerprint) as is_locked:
                if not is_locked:
                    return True
    return False
