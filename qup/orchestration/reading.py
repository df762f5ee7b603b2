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
CACHE = "execution_cache"
_TIMES = "create_time_since_epoch, last_update_time_since_epoch"


class MetadataReader(database.Database):
    """An ML Metadata database, to read; see `Database`."""

    def artifact(self, number: int) -> Artifact:
        """Returns the artifact of that id, or raises a MetadataError."""
        with self.transaction(write=False) as cursor:
            return self._artifact(cursor, number)

    def find_artifact(self, path: str | os.PathLike) -> Artifact | None:
        """Returns the artifact whose folder is or contains `path`."""
        path = pathlib.Path(path).resolve()
        with self.transaction(write=False) as cursor:
            for folder in (path, *path.parents):
                row = cursor.execute(
                    "SELECT id FROM Artifact WHERE uri = ?",
                    (self.stored(folder),),
                ).fetchone()
                if row:
                    return self._artifact(cursor, row[0])
        return None

    def execution(self, number: int) -> Execution:
        """Returns the execution of that id, or raises a MetadataError."""
        with self.transaction(write=False) as cursor:
            return self._execution(cursor, number)

    def producer(self, artifact: int) -> Execution | None:
        """Returns the execution that made an artifact, from its id."""
        # The first one: those after it reused it.
        found = self._select(
            "SELECT min(execution_id) FROM Event "
            "WHERE artifact_id = ? AND type = ? HAVING count(*)",
            (artifact, schema.OUTPUT),
        )
        return found[0] if found else None

    def executions(self, run: str) -> list[Execution]:
        """Returns the executions of a run, from its id, in order."""
        return self._in_context("pipeline_run", run)

    def known(self, fingerprint: str, state: State) -> list[Execution]:
        """Returns a fingerprint's executions in a state, newest first."""
        found = self._in_context(CACHE, fingerprint)
        return [e for e in found[::-1] if e.state is state]

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

    def unfinished(self) -> list[Execution]:
        """Returns all executions that have not ended."""
        return self._select(
            "SELECT id FROM Execution WHERE last_known_state = ?",
            (State.RUNNING,),
        )

    def nodes(self) -> dict[int, tuple[str, State]]:
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

    def runs(self) -> list[Run]:
        """Returns all runs, the oldest first."""
        with self.transaction(write=False) as cursor:
            found = cursor.execute(
                f"SELECT Context.id, Context.name, {_TIMES} "
                "FROM Context JOIN Type ON type_id = Type.id "
                "WHERE Type.name = 'pipeline_run' AND type_kind = ? "
                "ORDER BY Context.id",
                (schema.CONTEXT,),
            ).fetchall()
            return [_run(cursor, *row) for row in found]

    def stored(self, path: pathlib.Path) -> str:
        """Returns a path as it is kept: relative, so that roots may move."""
        folder = self.path.parent
        inside = path.is_relative_to(folder)
        return path.relative_to(folder).as_posix() if inside else str(path)

    def _in_context(self, type_name: str, name: str) -> list[Execution]:
        return self._select(
            "SELECT execution_id FROM Type "
            "JOIN Context ON Context.type_id = Type.id "
            "JOIN Association ON context_id = Context.id "
            "WHERE Type.name = ? AND type_kind = ? AND Context.name = ? "
            "ORDER BY execution_id",
            (type_name, schema.CONTEXT, name),
        )

    def _select(self, query: str, values: tuple) -> list[Execution]:
        with self.transaction(write=False) as cursor:
            numbers = cursor.execute(query, values).fetchall()
            return [self._execution(cursor, number) for (number,) in numbers]

    def _artifact(self, cursor: sqlite3.Cursor, number: int) -> Artifact:
        row = self._row(cursor, "Artifact", "uri, state", number)
        held, custom = rows.properties(cursor, schema.ARTIFACT, number)
        manifest = json.loads(held.get("manifest", "{}"))
        return Artifact(
            id=number,
            type_name=row[0],
            uri=str(self.path.parent / row[1]),
            state=ArtifactState(row[2]),
            properties=custom,
            digest=held.get("digest", ""),
            manifest={k: manifests.Entry(*v) for k, v in manifest.items()},
        )

    def _execution(self, cursor: sqlite3.Cursor, number: int) -> Execution:
        row = self._row(
            cursor, "Execution", f"last_known_state, {_TIMES}", number
        )
        held, _ = rows.properties(cursor, schema.EXECUTION, number)
        inputs, outputs = (
            {
                key: [self._artifact(cursor, n) for n in numbers]
                for key, numbers in rows.events(cursor, number, way).items()
            }
            for way in (schema.INPUT, schema.OUTPUT)
        )
        return Execution(
            id=number,
            component=row[0],
            state=State(row[1]),
            created=row[2],
            updated=row[3],
            node=held["node"],
            fingerprint=held["fingerprint"],
            code=held["code"],
            parameters=json.loads(held["parameters"]),
            error=held.get("error", ""),
            owner=_owner(held),
            inputs=inputs,
            outputs=outputs,
        )

    def _row(
        self, cursor: sqlite3.Cursor, table: str, columns: str, number: int
    ) -> tuple:
        """Returns (name of the type, columns...)."""
        row = cursor.execute(
            f"SELECT Type.name, {columns} FROM {table} "
            f"JOIN Type ON type_id = Type.id WHERE {table}.id = ?",
            (number,),
        ).fetchone()
        if not row:
            raise errors.MetadataError(
                f"{self.path} knows no {table.lower()} {number}. Name one "
                "that it lists."
            )
        return row


def _owner(held: dict[str, Any]) -> Owner:
    return Owner(held["host"], held["process"], held["process_start"])


def _run(
    cursor: sqlite3.Cursor, number: int, name: str, created: int, updated: int
) -> Run:
    held, _ = rows.properties(cursor, schema.CONTEXT, number)
    return Run(
        id=name,
        pipeline=held["pipeline"],
        parameters=json.loads(held["parameters"]),
        state=State(held["state"]),
        owner=_owner(held),
        created=created,
        updated=updated,
    )
