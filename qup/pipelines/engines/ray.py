"""Ray computes the parts of a divided step on the processes of a cluster.

    qup attack --dataset=mnist --attack=autoattack --engine=ray [--ray_address=auto]

This process runs the pipeline. A step that can be cut is sent to Ray in parts, whose processes
write their shards into the pipeline root, which they must see at the same path. A part whose
process dies is computed again; parts that fail are named at the end, and what is complete is kept.
"""

import importlib.metadata
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from qup.core import errors, progress
from qup.core.parts import Part
from qup.orchestration import DividedWork, Execution, Node, NodeEvent
from qup.pipelines.engines import Engine
from qup.pipelines.run import CODE, RunContext, create_runner

_log = logging.getLogger("qup")
# How often the part of a killed process is computed again.
_MAX_RETRIES = 5
_PARTS_PER_CORE = 4
# A part has one core of the cluster; with more threads, the workers of a machine would share cores.
_WORKER_VARIABLES = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}
_VERSIONS = ("qup", "tensorflow", "keras", "numpy")
_NUM_LISTED_FAILURES = 5
# A file in the folder of the shards, by which a process sees that it is the same folder.
_TOKEN = ".driver"


def run_nodes(
    engine: Engine,
    run: RunContext,
    nodes: list[Node],
    pipeline: str,
    run_parameters: Mapping[str, Any],
    *,
    on_event: Callable[[NodeEvent], None],
    on_failure: Callable[[Node, Exception], None] | None,
    on_success: Callable[[Node, Execution], None] | None,
) -> dict[str, Execution]:
    """Runs nodes by the built-in runner, and the parts of divided ones by Ray; see `run.run_nodes`.

    Raises:
      InputError: There is no cluster at the address, or parts failed.
    """
    parts = RayParts(engine.options.get("ray_address"), engine.options.get("num_parts"))
    try:
        return create_runner(run, on_event, part_engine=parts).run(
            nodes,
            pipeline=pipeline,
            parameters=run_parameters,
            on_failure=on_failure,
            on_success=on_success,
        )
    finally:
        parts.close()


class RayParts:
    """A cluster, connected when the first step is divided."""

    def __init__(self, address: str | None = None, num_parts: int | None = None):
        """Checks the options.

        Args:
          address: "auto", or "HOST:PORT" of the cluster; None starts one on this machine.
          num_parts: Parts of each step; None for 4 per core of the cluster.

        Raises:
          InputError: `num_parts` is below 1.
        """
        if num_parts is not None:
            errors.check_number("num_parts", num_parts, at_least=1)
        self._address, self._num_parts = address, num_parts
        self._is_connected = False

    def compute(self, work: DividedWork) -> None:
        """Computes every part of a step.

        Raises:
          InputError: There is no cluster, or parts failed; the others are kept.
        """
        import ray

        self._connect()
        num_cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
        count = self._num_parts or num_cores * _PARTS_PER_CORE
        (work.state / _TOKEN).write_text(work.code, encoding="utf-8")
        task = ray.remote(max_retries=_MAX_RETRIES)(compute_part)
        shared_work = ray.put((work, collect_versions()))
        pending = {
            task.remote([shared_work], number, count): number for number in range(1, count + 1)
        }
        failures: dict[int, str] = {}
        try:
            with progress.open_counter(work.node, count, "part") as finish:
                while pending:
                    done, _ = ray.wait(list(pending), num_returns=1)
                    for reference in done:
                        number = pending.pop(reference)
                        try:
                            failure = ray.get(reference)
                        except ray.exceptions.RayError as error:
                            # The last line of a traceback has the reason.
                            failure = str(error).strip().splitlines()[-1][:300]
                        if failure:
                            failures[number] = failure
                            _log.warning("%s: part %d/%d: %s", work.node, number, count, failure)
                        finish(1)
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)
        if failures:
            raise _build_failure(work.node, count, failures)

    def _connect(self) -> None:
        import ray

        if self._is_connected:
            return
        try:
            ray.init(
                address=self._address or "local",
                log_to_driver=False,
                include_dashboard=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": _WORKER_VARIABLES},
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            text = " ".join(str(error).split())[:200]
            raise errors.InputError(
                f"There is no Ray cluster at {self._address or 'local'}: {text} Start one with "
                "`ray start --head`, or omit --ray_address."
            ) from error
        self._is_connected = True

    def close(self) -> None:
        """Ends the connection, and a cluster that it has started."""
        if self._is_connected:
            import ray

            ray.shutdown()
            self._is_connected = False


def compute_part(shared_work: list, number: int, count: int) -> str:
    """Computes one part; runs on the cluster.

    Args:
      shared_work: A reference to the work and the versions where the pipeline was started.
      number: Of the part.
      count: Of all parts.

    Returns:
      Why it cannot be computed; "" if it was.
    """
    import ray

    work, versions = ray.get(shared_work[0])
    part = Part(number, count)
    if reason := _find_obstacle(work, versions, CODE):
        return reason
    try:
        work.compute(part)
    except (errors.InputError, OSError) as error:
        return " ".join(str(error).split())
    return ""


def _find_obstacle(work: DividedWork, versions: Mapping[str, str], code: Any) -> str:
    """Returns why this process must not compute a part; "" if it may."""
    here, place = collect_versions(), f"process {os.getpid()} on {os.uname().nodename}"
    differences = [
        f"{name} {here[name]} instead of {versions[name]}"
        for name in _VERSIONS
        if here[name] != versions[name]
    ]
    if differences:
        return f"{place} has {', '.join(differences)}. Install the same versions everywhere."
    try:
        token = (work.state / _TOKEN).read_text(encoding="utf-8")
    except OSError:
        token = ""
    if token != work.code:
        return (
            f"{place} does not see the folder {work.state}. Put the workdir on a file system that "
            "all machines mount at the same path."
        )
    if code.compute_fingerprint(work.component.fn, work.counted_parameters) != work.code:
        return (
            f"{place} has other code of qup, or computes in another way (processor, device, number "
            "format), so that its results could differ. Use equal machines and one installation."
        )
    return ""


def collect_versions() -> dict[str, str]:
    """Returns the versions that must agree on all machines."""
    import qup

    versions = {name: importlib.metadata.version(name) for name in _VERSIONS[1:]}
    return {"qup": qup.__version__, **versions}


def _build_failure(node: str, count: int, failures: Mapping[int, str]) -> errors.InputError:
    reasons: dict[str, list[int]] = {}
    for number, reason in sorted(failures.items()):
        reasons.setdefault(reason, []).append(number)
    listed = [
        f"{', '.join(map(str, numbers[:10]))}{', ...' if len(numbers) > 10 else ''}: {reason}"
        for reason, numbers in list(reasons.items())[:_NUM_LISTED_FAILURES]
    ]
    return errors.InputError(
        f"{node}: {len(failures)} of {count} parts failed; the others are kept. Parts "
        f"{'; '.join(listed)} The same command computes what is missing."
    )
