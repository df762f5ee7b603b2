"""The runner of the pipelines: what code counts, and what is told."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from qup import errors
from qup.orchestration import Code, Execution, LocalRunner, Metadata, Node, NodeEvent
from qup.pipelines.opening import RunContext

_log = logging.getLogger("qup")

CODE = Code(packages=("qup",), distributions=("tensorflow", "keras", "numpy"))


def log_event(event: NodeEvent) -> None:
    """Logs what happens to a node."""
    level = logging.INFO
    if event.kind in ("damaged", "failed", "changed", "abandoned"):
        level = logging.WARNING
    _log.log(level, "%s", event)


def create_runner(
    run: RunContext, on_event: Callable[[NodeEvent], None] = log_event
) -> LocalRunner:
    """Returns the runner of a run's pipeline root.

    Args:
      run: The run.
      on_event: Told of all that happens.

    Raises:
      OrchestrationError: The root or its database cannot be used.
    """
    return LocalRunner(
        run.pipeline_root,
        Metadata(run.pipeline_root / "metadata.sqlite", rename_if_damaged=True),
        enable_cache=run.config.enable_cache,
        verify=run.config.verify,
        on_event=on_event,
        code=CODE,
    )


def run_nodes(
    run: RunContext,
    nodes: list[Node],
    pipeline: str,
    run_parameters: Mapping[str, Any],
    *,
    on_event: Callable[[NodeEvent], None] = log_event,
    on_failure: Callable[[Node, Exception], None] | None = None,
    on_success: Callable[[Node, Execution], None] | None = None,
) -> dict[str, Execution]:
    """Runs nodes whose results are not known yet.

    Args:
      run: The run.
      nodes: Its nodes.
      pipeline: Name of the pipeline.
      run_parameters: What is noted of the run.
      on_event: Told of all that happens.
      on_failure: See `LocalRunner.run`.
      on_success: The same.

    Returns:
      Each node's execution.

    Raises:
      InputError: The disk is full, or a folder is closed to us.
      OrchestrationError: The pipeline root cannot be used.
    """
    try:
        return create_runner(run, on_event).run(
            nodes,
            pipeline=pipeline,
            parameters=run_parameters,
            on_failure=on_failure,
            on_success=on_success,
        )
    except OSError as error:
        # Components write their files without further ado.
        raise errors.InputError(
            f"Cannot use {error.filename or run.pipeline_root}: "
            f"{error.strerror or error}. Make room or give access; the same "
            "command goes on from here."
        ) from error
