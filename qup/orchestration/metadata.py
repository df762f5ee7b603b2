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

    def __init__(self, path: str | os.PathLike, *, keep_aside: bool = False):
        """Opens the database `path`, or makes it; see `Database`."""
        super().__init__(path, create=True, keep_aside=keep_aside)

    def begin(self, pipeline: str, parameters: dict[str, Any]) -> Run:
        """Records that a run of a pipeline begins, and returns the run."""
        stamp = time.strftime("%Y%m%d-%H%M%S")
        name = f"{pipeline}.{stamp}-{secrets.token_hex(4)}"
        run = Run(id=name, pipeline=pipeline, parameters=parameters)
        self.end(run, State.RUNNING)
        return run

    def end(self, run: Run, state: State) -> None:
        """Records how a run ended."""
        run.state = state
        held = {
            "pipeline": run.pipeline,
            "state": int(state),
            "parameters": canonical(run.parameters),
            **run.owner.properties(),
        }
        with self.transaction() as cursor:
            number = rows.context(cursor, "pipeline_run", run.id)
            rows.change(cursor, schema.CONTEXT, number, declared=held)

    def register(self, execution: Execution, run: Run) -> None:
        """Records an execution: one that begins, or the reuse of another.

        Args:
          execution: In state RUNNING, or CACHED and with the outputs of the
            other; gets its id.
          run: The run it belongs to.
        """
        held = {
            "node": execution.node,
            "fingerprint": execution.fingerprint,
            "code": execution.code,
            "parameters": canonical(execution.parameters),
            **execution.owner.properties(),
        }
        inputs = {k: [a.id for a in v] for k, v in execution.inputs.items()}
        with self.transaction() as cursor:
            execution.id = rows.add(
                cursor,
                schema.EXECUTION,
                execution.component,
                {"last_known_state": int(execution.state)},
                held,
                execution.parameters,
            )
            contexts = _contexts(cursor, execution, run)
            if execution.state is State.RUNNING:
                contexts.append(_cache(cursor, execution))
            rows.link(cursor, schema.EXECUTION, contexts, execution.id)
            rows.put_events(cursor, execution.id, schema.INPUT, inputs)
            self._put_outputs(cursor, execution, run)

    def publish(
        self, execution: Execution, run: Run, *, reusable: bool = True
    ) -> None:
        """Records, all or nothing, that an execution is complete.

        Args:
          execution: A registered one; its outputs get their ids.
          run: The run it belongs to.
          reusable: Whether its fingerprint may be trusted.

        Raises:
          MetadataError: Another process took it for abandoned.
        """
        with self.transaction() as cursor:
            if not _end(cursor, execution.id, State.COMPLETE):
                raise errors.MetadataError(
                    f"Execution {execution.id} of {execution.node} was ended "
                    "by another process. Run again."
                )
            self._put_outputs(cursor, execution, run)
            if not reusable:
                cursor.execute(
                    "DELETE FROM Association "
                    "WHERE context_id = ? AND execution_id = ?",
                    (_cache(cursor, execution), execution.id),
                )
        execution.state = State.COMPLETE

    def fail(self, execution: int, error: str) -> bool:
        """Records why an execution failed; returns whether it was running.

        If it was not, nothing is changed.
        """
        with self.transaction() as cursor:
            running = _end(cursor, execution, State.FAILED)
            if running:
                rows.change(
                    cursor,
                    schema.EXECUTION,
                    execution,
                    declared={"error": error},
                )
        return running

    def update(self, artifact: Artifact, damage: str) -> None:
        """Records state, manifest and damage ("" for none) of an artifact."""
        held = {"manifest": canonical(artifact.manifest), "damage": damage}
        with self.transaction() as cursor:
            rows.change(
                cursor,
                schema.ARTIFACT,
                artifact.id,
                {"state": int(artifact.state)},
                held,
            )

    def reserve(self, execution: int) -> None:
        """Sees to it that later executions have ids above `execution`."""
        with self.transaction() as cursor:
            # AUTOINCREMENT never gives an id a second time.
            cursor.execute(
                "INSERT INTO Execution (id, type_id) VALUES (?, 0)",
                (execution,),
            )
            cursor.execute("DELETE FROM Execution WHERE id = ?", (execution,))

    def _put_outputs(
        self, cursor: sqlite3.Cursor, execution: Execution, run: Run
    ) -> None:
        contexts = _contexts(cursor, execution, run)
        numbers: dict[str, list[int]] = {}
        for key, artifacts in execution.outputs.items():
            for artifact in artifacts:
                artifact.id = artifact.id or self._put(cursor, artifact)
                rows.link(cursor, schema.ARTIFACT, contexts, artifact.id)
            numbers[key] = [artifact.id for artifact in artifacts]
        rows.put_events(cursor, execution.id, schema.OUTPUT, numbers)

    def _put(self, cursor: sqlite3.Cursor, artifact: Artifact) -> int:
        return rows.add(
            cursor,
            schema.ARTIFACT,
            artifact.type_name,
            {
                "uri": self.stored(artifact.path),
                "state": int(artifact.state),
            },
            {
                "digest": artifact.digest,
                "manifest": canonical(artifact.manifest),
            },
            artifact.properties,
        )


def _contexts(
    cursor: sqlite3.Cursor, execution: Execution, run: Run
) -> list[int]:
    return [
        rows.context(cursor, "pipeline", run.pipeline),
        rows.context(cursor, "pipeline_run", run.id),
        rows.context(cursor, "node", f"{run.pipeline}.{execution.node}"),
    ]


def _cache(cursor: sqlite3.Cursor, execution: Execution) -> int:
    return rows.context(cursor, reading.CACHE, execution.fingerprint)


def _end(cursor: sqlite3.Cursor, execution: int, state: State) -> bool:
    """Ends an execution; returns whether it was running."""
    cursor.execute(
        "UPDATE Execution SET last_known_state = ? "
        "WHERE id = ? AND last_known_state = ?",
        (int(state), execution, int(State.RUNNING)),
    )
    ended = cursor.rowcount == 1
    if ended:
        rows.change(cursor, schema.EXECUTION, execution)
    return ended
