"""The metadata of pipelines: runs, executions, artifacts and their relations.

Databases of other programs with ML Metadata's schema, such as TFX, can be read as well. What they
do not record is empty: fingerprints, the code, owners. A run has the state of its executions.

```python
metadata = MetadataReader("runs/demo/pipeline/metadata.sqlite")
report = metadata.find_artifact("runs/demo/pipeline/Reporter/report/9")
execution = metadata.find_producer(report.id)
execution.parameters, execution.inputs  # and so on, back to the data
```
"""

import json
import os
import pathlib
import secrets
import sqlite3
import time
from typing import Any

from qup.core.hashing import dump_canonical_json
from qup.orchestration import database, errors, records
from qup.orchestration.artifacts import Artifact, ArtifactState, ManifestEntry
from qup.orchestration.executions import Execution, Owner, Run, State

# The type of the contexts that group executions by their fingerprints.
CACHE_CONTEXT = "execution_cache"
_TIME_COLUMNS = "create_time_since_epoch, last_update_time_since_epoch"


class MetadataReader(database.Database):
    """An ML Metadata database, to read; see `Database`."""

    def get_artifact(self, artifact_id: int) -> Artifact:
        """Returns the artifact of that id, or raises a MetadataError."""
        with self.transaction(write=False) as cursor:
            return self._read_artifact(cursor, artifact_id)

    def find_artifact(self, path: str | os.PathLike) -> Artifact | None:
        """Returns the artifact whose folder is, or contains, a path."""
        path = pathlib.Path(path).resolve()
        with self.transaction(write=False) as cursor:
            for folder in (path, *path.parents):
                # Other programs store whole paths.
                row = cursor.execute(
                    "SELECT id FROM Artifact WHERE uri IN (?, ?)",
                    (self.to_stored_uri(folder), str(folder)),
                ).fetchone()
                if row:
                    return self._read_artifact(cursor, row[0])
        return None

    def get_execution(self, execution_id: int) -> Execution:
        """Returns the execution of that id, or raises a MetadataError."""
        with self.transaction(write=False) as cursor:
            return self._read_execution(cursor, execution_id)

    def find_producer(self, artifact: int) -> Execution | None:
        """Returns the execution that produced an artifact, by the artifact's id."""
        # The first execution; the later ones reused it.
        kinds = database.get_event_types(database.OUTPUT_EVENT)
        executions = self._query_executions(
            "SELECT min(execution_id) FROM Event WHERE artifact_id = ? "
            f"AND type IN ({', '.join('?' * len(kinds))}) HAVING count(*)",
            (artifact, *kinds),
        )
        return executions[0] if executions else None

    def list_executions(self, run: str) -> list[Execution]:
        """Returns the executions of a run, by its id, in order."""
        return self._list_in_context("pipeline_run", run)

    def find_executions(self, fingerprint: str, state: State) -> list[Execution]:
        """Returns the executions of a fingerprint in a state, newest first."""
        executions = self._list_in_context(CACHE_CONTEXT, fingerprint)
        return [e for e in executions[::-1] if e.state is state]

    def list_codes(self, component: str) -> list[str]:
        """Returns the code fingerprints of a component's complete executions, newest first."""
        with self.transaction(write=False) as cursor:
            rows = cursor.execute(
                "SELECT property.string_value FROM Execution "
                "JOIN Type ON type_id = Type.id "
                "JOIN ExecutionProperty AS property "
                "ON execution_id = Execution.id AND property.name = 'code' "
                "AND is_custom_property = 0 "
                "WHERE Type.name = ? AND last_known_state = ? "
                "GROUP BY property.string_value ORDER BY max(Execution.id) DESC",
                (component, State.COMPLETE),
            ).fetchall()
        return [code for (code,) in rows]

    def list_unfinished(self) -> list[Execution]:
        """Returns all executions that have not ended."""
        return self._query_executions(
            "SELECT id FROM Execution WHERE last_known_state = ?", (State.RUNNING,)
        )

    def get_node_states(self) -> dict[int, tuple[str, State]]:
        """Returns (node, state) of every execution, by its id."""
        with self.transaction(write=False) as cursor:
            return {
                number: (node, State(state))
                for number, node, state in cursor.execute(
                    "SELECT id, string_value, last_known_state "
                    "FROM Execution JOIN ExecutionProperty AS property "
                    "ON execution_id = id AND property.name = 'node' "
                    "AND is_custom_property = 0"
                )
            }

    def list_runs(self) -> list[Run]:
        """Returns all runs, oldest first."""
        with self.transaction(write=False) as cursor:
            records = cursor.execute(
                f"SELECT Context.id, Context.name, {_TIME_COLUMNS} "
                "FROM Context JOIN Type ON type_id = Type.id "
                "WHERE Type.name = 'pipeline_run' AND type_kind = ? "
                "ORDER BY Context.id",
                (database.CONTEXT,),
            ).fetchall()
            return [_read_run(cursor, *row) for row in records]

    def to_stored_uri(self, path: pathlib.Path) -> str:
        """Returns a path as it is stored: relative to the database, so that roots can move."""
        folder = self.path.parent
        is_inside = path.is_relative_to(folder)
        return path.relative_to(folder).as_posix() if is_inside else str(path)

    def _list_in_context(self, type_name: str, name: str) -> list[Execution]:
        return self._query_executions(
            "SELECT execution_id FROM Type "
            "JOIN Context ON Context.type_id = Type.id "
            "JOIN Association ON context_id = Context.id "
            "WHERE Type.name = ? AND type_kind = ? AND Context.name = ? "
            "ORDER BY execution_id",
            (type_name, database.CONTEXT, name),
        )

    def _query_executions(self, query: str, values: tuple) -> list[Execution]:
        with self.transaction(write=False) as cursor:
            numbers = cursor.execute(query, values).fetchall()
            return [self._read_execution(cursor, number) for (number,) in numbers]

    def _read_artifact(self, cursor: sqlite3.Cursor, number: int) -> Artifact:
        row = self._read_row(cursor, "Artifact", "uri, state", number)
        declared, custom = database.read_properties(cursor, database.ARTIFACT, number)
        manifest = json.loads(declared.get("manifest", "{}"))
        uri = row[1] or ""
        # An address such as gs://bucket is not a path.
        uri = uri if "://" in uri else str(self.path.parent / uri)
        state = ArtifactState(row[2] or ArtifactState.UNKNOWN)
        if records.ARTIFACT_KEY in custom:
            return records.decode_artifact(
                Artifact, uri, custom, id=number, type_name=row[0], state=state
            )
        return Artifact(
            id=number,
            type_name=row[0],
            uri=uri,
            state=state,
            properties=custom,
            digest=declared.get("digest", ""),
            manifest={k: ManifestEntry(*v) for k, v in manifest.items()},
        )

    def _read_execution(self, cursor: sqlite3.Cursor, number: int) -> Execution:
        row = self._read_row(cursor, "Execution", f"last_known_state, {_TIME_COLUMNS}", number)
        declared, custom = database.read_properties(cursor, database.EXECUTION, number)
        is_own = "fingerprint" in declared
        inputs, outputs = (
            {
                key: [self._read_artifact(cursor, n) for n in numbers]
                for key, numbers in database.read_events(cursor, number, direction).items()
            }
            for direction in (database.INPUT_EVENT, database.OUTPUT_EVENT)
        )
        fields = {
            "component": row[0],
            "code": declared.get("code", ""),
            "parameters": json.loads(declared["parameters"]) if is_own else {**custom, **declared},
            # Of an engine that ran a component of qup.
            **records.decode_execution(custom),
        }
        return Execution(
            id=number,
            state=State(row[1] or State.UNKNOWN),
            created=row[2],
            updated=row[3],
            node=declared["node"] if is_own else _read_foreign_node(cursor, number, row[0]),
            fingerprint=declared.get("fingerprint", ""),
            error=declared.get("error", ""),
            owner=_build_owner(declared),
            inputs=inputs,
            outputs=outputs,
            **fields,
        )

    def _read_row(self, cursor: sqlite3.Cursor, table: str, columns: str, number: int) -> tuple:
        """Returns (name of the type, *columns)."""
        row = None
        if abs(number) < 2**63:  # SQLite has no larger ids.
            row = cursor.execute(
                f"SELECT Type.name, {columns} FROM {table} "
                f"JOIN Type ON type_id = Type.id WHERE {table}.id = ?",
                (number,),
            ).fetchone()
        if not row:
            raise errors.MetadataError(
                f"{self.path} has no {table.lower()} {number}. `qup lineage` lists those of a run."
            )
        return row


def _build_owner(properties: dict[str, Any]) -> Owner:
    return Owner(
        properties.get("host", ""),
        properties.get("process", 0),
        properties.get("process_start", ""),
    )


def _read_foreign_node(cursor: sqlite3.Cursor, execution: int, component: str) -> str:
    """Returns the node of an execution of another program: that of TFX's context PIPELINE.NODE."""
    names = _read_context_names(cursor, "execution_id = ?", (execution,))
    pipeline, node = names.get("pipeline", ""), names.get("node", "")
    return node.removeprefix(f"{pipeline}.") or component.rpartition(".")[2]


def _read_context_names(cursor: sqlite3.Cursor, condition: str, values: tuple) -> dict[str, str]:
    """Returns the names of the contexts of executions, by the type of the context."""
    return dict(
        cursor.execute(
            "SELECT Type.name, Context.name FROM Association "
            "JOIN Context ON Context.id = context_id JOIN Type ON Type.id = Context.type_id "
            f"WHERE {condition} ORDER BY Context.id DESC",
            values,
        ).fetchall()
    )


def _read_run(cursor: sqlite3.Cursor, number: int, name: str, created: int, updated: int) -> Run:
    declared, custom = database.read_properties(cursor, database.CONTEXT, number)
    if "state" not in declared:
        return _read_foreign_run(cursor, number, name, {**custom, **declared})
    return Run(
        id=name,
        pipeline=declared["pipeline"],
        parameters=json.loads(declared["parameters"]),
        state=State(declared["state"]),
        owner=_build_owner(declared),
        created=created,
        updated=updated,
    )


def _read_foreign_run(
    cursor: sqlite3.Cursor, number: int, name: str, parameters: dict[str, Any]
) -> Run:
    """Returns a run of another program; state and times are those of its executions."""
    executions = cursor.execute(
        f"SELECT last_known_state, {_TIME_COLUMNS} FROM Association "
        "JOIN Execution ON Execution.id = execution_id WHERE context_id = ?",
        (number,),
    ).fetchall()
    ((created, updated),) = cursor.execute(
        f"SELECT {_TIME_COLUMNS} FROM Context WHERE id = ?", (number,)
    ).fetchall()
    if records.RUN_KEY in parameters:
        parameters = json.loads(parameters[records.RUN_KEY])
    condition = (
        "execution_id IN (SELECT execution_id FROM Association WHERE context_id = ?) "
        "AND Type.name = 'pipeline'"
    )
    names = _read_context_names(cursor, condition, (number,))
    states = {State(state or State.UNKNOWN) for state, *_ in executions}
    # The first that any execution has.
    order = (State.RUNNING, State.FAILED, State.CANCELED, State.NEW, State.UNKNOWN)
    return Run(
        id=name,
        pipeline=names.get("pipeline") or str(parameters.get("pipeline_name", "")),
        parameters=parameters,
        state=next((s for s in order if s in states), State.COMPLETE if states else State.UNKNOWN),
        owner=_build_owner({}),
        created=created or min((start for _, start, _ in executions), default=0),
        updated=max((end for *_, end in executions), default=updated),
    )


class Metadata(MetadataReader):
    """An ML Metadata database, to write; every change is one transaction."""

    def __init__(self, path: str | os.PathLike, *, rename_if_damaged: bool = False):
        """Opens or creates a database; see `Database`."""
        super().__init__(path, create=True, rename_if_damaged=rename_if_damaged)

    def begin(self, pipeline: str, parameters: dict[str, Any]) -> Run:
        """Records the start of a run, and returns the run."""
        timestamp = time.strftime("%Y%m%d-%H%M%S")
        run_id = f"{pipeline}.{timestamp}-{secrets.token_hex(4)}"
        run = Run(id=run_id, pipeline=pipeline, parameters=parameters)
        self.end(run, State.RUNNING)
        return run

    def end(self, run: Run, state: State) -> None:
        """Records how a run ended."""
        run.state = state
        properties = {
            "pipeline": run.pipeline,
            "state": int(state),
            "parameters": dump_canonical_json(run.parameters),
            **run.owner.to_properties(),
        }
        with self.transaction() as cursor:
            context_id = database.get_or_create_context(cursor, "pipeline_run", run.id)
            database.update_record(cursor, database.CONTEXT, context_id, declared=properties)

    def register(self, execution: Execution, run: Run) -> None:
        """Records the start of an execution, or the reuse of another one.

        Args:
          execution: RUNNING; or CACHED, with the outputs of the other execution. Its id is set.
          run: The run it belongs to.
        """
        properties = {
            "node": execution.node,
            "fingerprint": execution.fingerprint,
            "code": execution.code,
            "parameters": dump_canonical_json(execution.parameters),
            **execution.owner.to_properties(),
        }
        inputs = {k: [a.id for a in v] for k, v in execution.inputs.items()}
        with self.transaction() as cursor:
            execution.id = database.insert_record(
                cursor,
                database.EXECUTION,
                execution.component,
                {"last_known_state": int(execution.state)},
                properties,
                execution.parameters,
            )
            contexts = _get_contexts(cursor, execution, run)
            if execution.state is State.RUNNING:
                contexts.append(_get_cache_context(cursor, execution))
            database.link_contexts(cursor, database.EXECUTION, contexts, execution.id)
            database.insert_events(cursor, execution.id, database.INPUT_EVENT, inputs)
            self._record_outputs(cursor, execution, run)

    def publish(self, execution: Execution, run: Run, *, reusable: bool = True) -> None:
        """Records that an execution is complete.

        Args:
          execution: A registered execution. The ids of its outputs are set.
          run: The run it belongs to.
          reusable: Whether its fingerprint identifies the code that ran.

        Raises:
          MetadataError: Another process has recorded it as abandoned.
        """
        with self.transaction() as cursor:
            if not _end_execution(cursor, execution.id, State.COMPLETE):
                raise errors.MetadataError(
                    f"Another process has ended execution {execution.id} of {execution.node}. Run "
                    "the same command to resume."
                )
            self._record_outputs(cursor, execution, run)
            if not reusable:
                cursor.execute(
                    "DELETE FROM Association WHERE context_id = ? AND execution_id = ?",
                    (_get_cache_context(cursor, execution), execution.id),
                )
        execution.state = State.COMPLETE

    def fail(self, execution: int, error: str) -> bool:
        """Records why a running execution failed; returns False if it was not running."""
        with self.transaction() as cursor:
            was_running = _end_execution(cursor, execution, State.FAILED)
            if was_running:
                database.update_record(
                    cursor, database.EXECUTION, execution, declared={"error": error}
                )
        return was_running

    def update_artifact(self, artifact: Artifact, damage: str) -> None:
        """Records an artifact's state, its manifest and its damage, "" if there is none."""
        properties = {"manifest": dump_canonical_json(artifact.manifest), "damage": damage}
        with self.transaction() as cursor:
            database.update_record(
                cursor, database.ARTIFACT, artifact.id, {"state": int(artifact.state)}, properties
            )

    def reserve_ids(self, execution: int) -> None:
        """Ensures that the ids of later executions are above `execution`."""
        with self.transaction() as cursor:
            # AUTOINCREMENT never uses an id twice.
            cursor.execute("INSERT INTO Execution (id, type_id) VALUES (?, 0)", (execution,))
            cursor.execute("DELETE FROM Execution WHERE id = ?", (execution,))

    def _record_outputs(self, cursor: sqlite3.Cursor, execution: Execution, run: Run) -> None:
        contexts = _get_contexts(cursor, execution, run)
        ids: dict[str, list[int]] = {}
        for key, artifacts in execution.outputs.items():
            for artifact in artifacts:
                artifact.id = artifact.id or self._insert_artifact(cursor, artifact)
                database.link_contexts(cursor, database.ARTIFACT, contexts, artifact.id)
            ids[key] = [artifact.id for artifact in artifacts]
        database.insert_events(cursor, execution.id, database.OUTPUT_EVENT, ids)

    def _insert_artifact(self, cursor: sqlite3.Cursor, artifact: Artifact) -> int:
        return database.insert_record(
            cursor,
            database.ARTIFACT,
            artifact.type_name,
            {"uri": self.to_stored_uri(artifact.path), "state": int(artifact.state)},
            {"digest": artifact.digest, "manifest": dump_canonical_json(artifact.manifest)},
            artifact.properties,
        )


def _get_contexts(cursor: sqlite3.Cursor, execution: Execution, run: Run) -> list[int]:
    return [
        database.get_or_create_context(cursor, "pipeline", run.pipeline),
        database.get_or_create_context(cursor, "pipeline_run", run.id),
        database.get_or_create_context(cursor, "node", f"{run.pipeline}.{execution.node}"),
    ]


def _get_cache_context(cursor: sqlite3.Cursor, execution: Execution) -> int:
    return database.get_or_create_context(cursor, CACHE_CONTEXT, execution.fingerprint)


def _end_execution(cursor: sqlite3.Cursor, execution: int, state: State) -> bool:
    """Ends an execution; returns whether it was running."""
    cursor.execute(
        "UPDATE Execution SET last_known_state = ? WHERE id = ? AND last_known_state = ?",
        (int(state), execution, int(State.RUNNING)),
    )
    was_running = cursor.rowcount == 1
    if was_running:
        database.update_record(cursor, database.EXECUTION, execution)
    return was_running
