"""Questions to the metadata: what was run, and what came from what.

```python
metadata = MetadataReader("runs/demo/pipeline/metadata.sqlite")
report = metadata.find_artifact("runs/demo/pipeline/Reporter/report/9")
execution = metadata.producer(report.id)
execution.parameters, execution.inputs  # and so on, back to the data
```
"""

import json
import os
import pathlib
import sqlite3
from typing import Any

from qup.orchestration import database, errors, manifests, rows, schema
from qup.orchestration.artifacts import Artifact, ArtifactState
from qup.orchestration.executions import Execution, Run, State
from qup.orchestration.processes import Owner

# The type of the contexts that find executions by their fingerprints.
CACHE_CONTEXT = "execution_cache"
_TIME_COLUMNS = "create_time_since_epoch, last_update_time_since_epoch"


class MetadataReader(database.Database):
    """An ML Metadata database, to read; see `Database`."""

    def get_artifact(self, artifact_id: int) -> Artifact:
        """Returns the artifact of that id, or raises a MetadataError."""
        with self.transaction(write=False) as cursor:
            return self._read_artifact(cursor, artifact_id)

    def find_artifact(self, path: str | os.PathLike) -> Artifact | None:
        """Returns the artifact whose folder is or contains `path`."""
        path = pathlib.Path(path).resolve()
        with self.transaction(write=False) as cursor:
            for folder in (path, *path.parents):
                row = cursor.execute(
                    "SELECT id FROM Artifact WHERE uri = ?", (self.to_stored_uri(folder),)
                ).fetchone()
                if row:
                    return self._read_artifact(cursor, row[0])
        return None

    def get_execution(self, execution_id: int) -> Execution:
        """Returns the execution of that id, or raises a MetadataError."""
        with self.transaction(write=False) as cursor:
            return self._read_execution(cursor, execution_id)

    def find_producer(self, artifact: int) -> Execution | None:
        """Returns the execution that made an artifact, from its id."""
        # The first one: those after it reused it.
        executions = self._query_executions(
            "SELECT min(execution_id) FROM Event "
            "WHERE artifact_id = ? AND type = ? HAVING count(*)",
            (artifact, schema.OUTPUT_EVENT),
        )
        return executions[0] if executions else None

    def list_executions(self, run: str) -> list[Execution]:
        """Returns the executions of a run, from its id, in order."""
        return self._list_in_context("pipeline_run", run)

    def find_executions(self, fingerprint: str, state: State) -> list[Execution]:
        """Returns a fingerprint's executions in a state, newest first."""
        executions = self._list_in_context(CACHE_CONTEXT, fingerprint)
        return [e for e in executions[::-1] if e.state is state]

    def codes(self, component: str) -> list[str]:
        """Returns the codes that a component has had, newest first."""
        with self.transaction(write=False) as cursor:
            found = cursor.execute(
                "SELECT held.string_value FROM Execution "
                "JOIN Type ON type_id = Type.id "
                "JOIN ExecutionProperty AS held "
                "ON execution_id = Execution.id AND held.name = 'code' "
                "AND is_custom_property = 0 "
                "WHERE Type.name = ? AND last_known_state = ? "
                "GROUP BY held.string_value ORDER BY max(Execution.id) DESC",
                (component, State.COMPLETE),
            ).fetchall()
        return [code for (code,) in found]

    def list_unfinished(self) -> list[Execution]:
        """Returns all executions that have not ended."""
        return self._query_executions(
            "SELECT id FROM Execution WHERE last_known_state = ?", (State.RUNNING,)
        )

    def get_node_states(self) -> dict[int, tuple[str, State]]:
        """Returns the node and the state of every execution, by its id."""
        with self.transaction(write=False) as cursor:
            return {
                number: (node, State(state))
                for number, node, state in cursor.execute(
                    "SELECT id, string_value, last_known_state "
                    "FROM Execution JOIN ExecutionProperty AS held "
                    "ON execution_id = id AND held.name = 'node' "
                    "AND is_custom_property = 0"
                )
            }

    def list_runs(self) -> list[Run]:
        """Returns all runs, the oldest first."""
        with self.transaction(write=False) as cursor:
            records = cursor.execute(
                f"SELECT Context.id, Context.name, {_TIME_COLUMNS} "
                "FROM Context JOIN Type ON type_id = Type.id "
                "WHERE Type.name = 'pipeline_run' AND type_kind = ? "
                "ORDER BY Context.id",
                (schema.CONTEXT,),
            ).fetchall()
            return [_read_run(cursor, *row) for row in records]

    def to_stored_uri(self, path: pathlib.Path) -> str:
        """Returns a path as it is kept: relative, so that roots may move."""
        folder = self.path.parent
        inside = path.is_relative_to(folder)
        return path.relative_to(folder).as_posix() if inside else str(path)

    def _list_in_context(self, type_name: str, name: str) -> list[Execution]:
        return self._query_executions(
            "SELECT execution_id FROM Type "
            "JOIN Context ON Context.type_id = Type.id "
            "JOIN Association ON context_id = Context.id "
            "WHERE Type.name = ? AND type_kind = ? AND Context.name = ? "
            "ORDER BY execution_id",
            (type_name, schema.CONTEXT, name),
        )

    def _query_executions(self, query: str, values: tuple) -> list[Execution]:
        with self.transaction(write=False) as cursor:
            numbers = cursor.execute(query, values).fetchall()
            return [self._read_execution(cursor, number) for (number,) in numbers]

    def _read_artifact(self, cursor: sqlite3.Cursor, number: int) -> Artifact:
        row = self._read_row(cursor, "Artifact", "uri, state", number)
        declared, custom = rows.read_properties(cursor, schema.ARTIFACT, number)
        manifest = json.loads(declared.get("manifest", "{}"))
        return Artifact(
            id=number,
            type_name=row[0],
            uri=str(self.path.parent / row[1]),
            state=ArtifactState(row[2]),
            properties=custom,
            digest=declared.get("digest", ""),
            manifest={k: manifests.Entry(*v) for k, v in manifest.items()},
        )

    def _read_execution(self, cursor: sqlite3.Cursor, number: int) -> Execution:
        row = self._read_row(cursor, "Execution", f"last_known_state, {_TIME_COLUMNS}", number)
        declared, _ = rows.read_properties(cursor, schema.EXECUTION, number)
        inputs, outputs = (
            {
                key: [self._read_artifact(cursor, n) for n in numbers]
                for key, numbers in rows.read_events(cursor, number, direction).items()
            }
            for direction in (schema.INPUT_EVENT, schema.OUTPUT_EVENT)
        )
        return Execution(
            id=number,
            component=row[0],
            state=State(row[1]),
            created=row[2],
            updated=row[3],
            node=declared["node"],
            fingerprint=declared["fingerprint"],
            code=declared["code"],
            parameters=json.loads(declared["parameters"]),
            error=declared.get("error", ""),
            owner=_build_owner(declared),
            inputs=inputs,
            outputs=outputs,
        )

    def _read_row(self, cursor: sqlite3.Cursor, table: str, columns: str, number: int) -> tuple:
        """Returns (name of the type, columns...)."""
        row = cursor.execute(
            f"SELECT Type.name, {columns} FROM {table} "
            f"JOIN Type ON type_id = Type.id WHERE {table}.id = ?",
            (number,),
        ).fetchone()
        if not row:
            raise errors.MetadataError(
                f"{self.path} knows no {table.lower()} {number}. Name one that it lists."
            )
        return row


def _build_owner(properties: dict[str, Any]) -> Owner:
    return Owner(properties["host"], properties["process"], properties["process_start"])


def _read_run(cursor: sqlite3.Cursor, number: int, name: str, created: int, updated: int) -> Run:
    declared, _ = rows.read_properties(cursor, schema.CONTEXT, number)
    return Run(
        id=name,
        pipeline=declared["pipeline"],
        parameters=json.loads(declared["parameters"]),
        state=State(declared["state"]),
        owner=_build_owner(declared),
        created=created,
        updated=updated,
    )
