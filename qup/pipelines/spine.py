"""The runner of the pipelines: what code counts, and what is told."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from qup import errors
from qup.orchestration import (
    Code,
    Execution,
    LocalRunner,
    Metadata,
    Node,
    Notice,
)
from qup.pipelines.opening import Run

_log = logging.getLogger("qup")

CODE = Code(
    packages=("qup",),
    distributions=("tensorflow", "keras", "numpy"),
)


def tell(notice: Notice) -> None:
    """Logs what happens to a node."""
    level = logging.INFO
    if notice.kind in ("damaged", "failed", "changed", "abandoned"):
        level = logging.WARNING
    _log.log(level, "%s", notice)


def runner(this: Run, on_event: Callable[[Notice], None] = tell) -> LocalRunner:
    """Returns the runner of a run's pipeline root.

    Args:
      this: The run.
      on_event: Told of all that happens.

    Raises:
      OrchestrationError: The root or its database cannot be used.
    """
    return LocalRunner(
        this.pipeline_root,
        Metadata(this.pipeline_root / "metadata.sqlite", keep_aside=True),
        enable_cache=this.config.enable_cache,
        verify=this.config.verify,
        on_event=on_event,
        code=CODE,
    )


def run(
    this: Run,
    nodes: list[Node],
    pipeline: str,
    told: Mapping[str, Any],
    *,
    on_event: Callable[[Notice], None] = tell,
    on_failure: Callable[[Node, Exception], None] | None = None,
    on_success: Callable[[Node, Execution], None] | None = None,
) -> dict[str, Execution]:
    """Runs nodes whose results are not known yet.

    Args:
      this: The run.
      nodes: Its nodes.
      pipeline: Name of the pipeline.
      told: What is noted of the run.
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
        return runner(this, on_event).run(
            nodes, pipeline=pipeline, parameters=told,
            on_failure=on_failure, on_success=on_success,
        )  # fmt: skip
    except OSError as error:
        # Components write their files without further ado.
        raise errors.InputError(
            f"Cannot use {error.filename or this.pipeline_root}: "
            f"{error.strerror or error}. Make room or give access; the same "
            "command goes on from here."
        ) from error
