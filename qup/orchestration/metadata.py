"""What is recorded: runs, executions, artifacts, in one transaction each.

```python
metadata = Metadata("runs/demo/pipeline/metadata.sqlite")
```
"""

import os
import secrets
import sqlite3
import time
from typing import Any

from qup.core.hashing import canonical
from qup.orchestration import errors, reading, rows, schema
from qup.orchestration.artifacts import Artifact
from qup.orchestration.executions import Execution, Run, State


class Metadata(reading.MetadataReader):
    """An ML Metadata database, to write."""

    def __init__(self, path: str | os.PathLike, *, rename_if_damaged: bool = False):
        """Opens the database `path`, or makes it; see `Database`."""
        super().__init__(path, create=True, rename_if_damaged=rename_if_damaged)

    def begin(self, pipeline: str, parameters: dict[str, Any]) -> Run:
        """Records that a run of a pipeline begins, and returns the run."""
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
            "parameters": canonical(run.parameters),
            **run.owner.to_properties(),
        }
        with self.transaction() as cursor:
            context_id = rows.get_or_create_context(cursor, "pipeline_run", run.id)
            rows.update_record(cursor, schema.CONTEXT, context_id, declared=properties)

    def register(self, execution: Execution, run: Run) -> None:
        """Records an execution: one that begins, or the reuse of another.

        Args:
          execution: In state RUNNING, or CACHED and with the outputs of the
            other; gets its id.
          run: The run it belongs to.
        """
        properties = {
            "node": execution.node,
            "fingerprint": execution.fingerprint,
            "code": execution.code,
            "parameters": canonical(execution.parameters),
            **execution.owner.to_properties(),
        }
        inputs = {k: [a.id for a in v] for k, v in execution.inputs.items()}
        with self.transaction() as cursor:
            execution.id = rows.insert_record(
                cursor,
                schema.EXECUTION,
                execution.component,
                {"last_known_state": int(execution.state)},
                properties,
                execution.parameters,
            )
            contexts = _get_contexts(cursor, execution, run)
            if execution.state is State.RUNNING:
                contexts.append(_get_cache_context(cursor, execution))
            rows.link_contexts(cursor, schema.EXECUTION, contexts, execution.id)
            rows.insert_events(cursor, execution.id, schema.INPUT_EVENT, inputs)
            self._record_outputs(cursor, execution, run)

    def publish(self, execution: Execution, run: Run, *, reusable: bool = True) -> None:
        """Records, all or nothing, that an execution is complete.

        Args:
          execution: A registered one; its outputs get their ids.
          run: The run it belongs to.
          reusable: Whether its fingerprint may be trusted.

        Raises:
          MetadataError: Another process took it for abandoned.
        """
        with self.transaction() as cursor:
            if not _end_execution(cursor, execution.id, State.COMPLETE):
                raise errors.MetadataError(
                    f"Execution {execution.id} of {execution.node} was ended "
                    "by another process. Run again."
                )
            self._record_outputs(cursor, execution, run)
            if not reusable:
                cursor.execute(
                    "DELETE FROM Association WHERE context_id = ? AND execution_id = ?",
                    (_get_cache_context(cursor, execution), execution.id),
                )
        execution.state = State.COMPLETE

    def fail(self, execution: int, error: str) -> bool:
        """Records why an execution failed; returns whether it was running.

        If it was not, nothing is changed.
        """
        with self.transaction() as cursor:
            running = _end_execution(cursor, execution, State.FAILED)
            if running:
                rows.update_record(cursor, schema.EXECUTION, execution, declared={"error": error})
        return running

    def update_artifact(self, artifact: Artifact, damage: str) -> None:
        """Records state, manifest and damage ("" for none) of an artifact."""
        properties = {"manifest": canonical(artifact.manifest), "damage": damage}
        with self.transaction() as cursor:
            rows.update_record(
                cursor, schema.ARTIFACT, artifact.id, {"state": int(artifact.state)}, properties
            )

    def reserve_ids(self, execution: int) -> None:
        """Sees to it that later executions have ids above `execution`."""
        with self.transaction() as cursor:
            # AUTOINCREMENT never gives an id a second time.
            cursor.execute("INSERT INTO Execution (id, type_id) VALUES (?, 0)", (execution,))
            cursor.execute("DELETE FROM Execution WHERE id = ?", (execution,))

    def _record_outputs(self, cursor: sqlite3.Cursor, execution: Execution, run: Run) -> None:
        contexts = _get_contexts(cursor, execution, run)
        ids: dict[str, list[int]] = {}
        for key, artifacts in execution.outputs.items():
            for artifact in artifacts:
                artifact.id = artifact.id or self._insert_artifact(cursor, artifact)
                rows.link_contexts(cursor, schema.ARTIFACT, contexts, artifact.id)
            ids[key] = [artifact.id for artifact in artifacts]
        rows.insert_events(cursor, execution.id, schema.OUTPUT_EVENT, ids)

    def _insert_artifact(self, cursor: sqlite3.Cursor, artifact: Artifact) -> int:
        return rows.insert_record(
            cursor,
            schema.ARTIFACT,
            artifact.type_name,
            {"uri": self.to_stored_uri(artifact.path), "state": int(artifact.state)},
            {"digest": artifact.digest, "manifest": canonical(artifact.manifest)},
            artifact.properties,
        )


def _get_contexts(cursor: sqlite3.Cursor, execution: Execution, run: Run) -> list[int]:
    return [
        rows.get_or_create_context(cursor, "pipeline", run.pipeline),
        rows.get_or_create_context(cursor, "pipeline_run", run.id),
        rows.get_or_create_context(cursor, "node", f"{run.pipeline}.{execution.node}"),
    ]


def _get_cache_context(cursor: sqlite3.Cursor, execution: Execution) -> int:
    return rows.get_or_create_context(cursor, reading.CACHE_CONTEXT, execution.fingerprint)


def _end_execution(cursor: sqlite3.Cursor, execution: int, state: State) -> bool:
    """Ends an execution; returns whether it was running."""
    cursor.execute(
        "UPDATE Execution SET last_known_state = ? WHERE id = ? AND last_known_state = ?",
        (int(state), execution, int(State.RUNNING)),
    )
    ended = cursor.rowcount == 1
    if ended:
        rows.update_record(cursor, schema.EXECUTION, execution)
    return ended
