"""The runner of the pipelines: what code counts, and what is told."""

import logging

from qup.orchestration import Code, LocalRunner, Metadata, Notice
from qup.pipelines.opening import Run

_log = logging.getLogger("qup")

CODE = Code(
    packages=("qup",),
    plugins=("qup.datasets", "qup.models", "qup.attacks"),
    distributions=("tensorflow", "keras", "numpy"),
)


def runner(this: Run) -> LocalRunner:
    """Returns the runner of a run's pipeline root.

    Raises:
      OrchestrationError: The root or its database cannot be used.
    """
    return LocalRunner(
        this.pipeline_root,
        Metadata(this.pipeline_root / "metadata.sqlite", keep_aside=True),
        enable_cache=this.config.enable_cache,
        verify=this.config.verify,
        on_event=_tell,
        code=CODE,
    )


def _tell(notice: Notice) -> None:
    level = logging.INFO
    if notice.kind in ("damaged", "failed", "changed", "abandoned"):
        level = logging.WARNING
    _log.log(level, "%s", notice)
