"""Every table and figure of the paper, over the components of the road.

Each experiment is a pipeline of its own in one pipeline root, so that what
several need is made once, and what is known is not computed again. One that
fails does not stop the others.

```python
print(run(Request(pathlib.Path("runs/reproduction")), load=settings_of))
```
"""

import functools
import logging
import shlex
import time
from collections.abc import Mapping
from typing import Any

from qup import errors, scales, versions
from qup.orchestration import Execution, MetadataReader, Node, NodeEvent, State
from qup.pipelines import boards, experiments, reproduce_request, spine
from qup.pipelines.benches import ConfigLoader, DatasetContexts
from qup.pipelines.collecting import ResultsStore
from qup.pipelines.lab import ExperimentBuilder
from qup.pipelines.remaining import RemainingTime, format_duration
from qup.report import stamp, writing
from qup.report.material import RUN_INFO_FILE, ReportData, read_run_info
from qup.workdir import Workdir

ReproductionRequest = reproduce_request.ReproductionRequest
_log = logging.getLogger("qup")
_PROGRAM = "reproduce"


def run(
    request: ReproductionRequest, load_config: ConfigLoader, overrides: Mapping[str, Any]
) -> str:
    """Runs the experiments asked for, and writes the report.

    Args:
      request: Which experiments, how large, where.
      load_config: Returns the settings of a dataset, by its name.
      overrides: Settings by their names, the same for all datasets.

    Returns:
      Where everything lies, as text.

    Raises:
      InputError: Something given cannot be used, or an experiment failed;
        what was measured is kept, and a second start goes on.
      OrchestrationError: The pipeline root cannot be used.
    """
    request.check()
    workdir = Workdir(request.workdir)
    request.check_workdir(_PROGRAM)
    with workdir.lock("to begin"):
        workdir.write_config({"program": _PROGRAM, "scale": request.scale})
    return _ReproductionRunner(request, workdir, load_config, overrides).run()


class _ReproductionRunner:
    """One run: its laboratory, what it gathers, what failed."""

    def __init__(
        self,
        request: ReproductionRequest,
        workdir: Workdir,
        load_config: ConfigLoader,
        overrides: Mapping[str, Any],
    ):
        """Plans nothing yet."""
        self._request = request
        self._scale = scales.get_scale(request.scale)
        root = {"workdir": str(request.workdir)}
        self._contexts = DatasetContexts(load_config, {**overrides, **root})
        self._workdir = workdir
        self._results = ResultsStore(request.workdir)
        self._failures: dict[str, str] = {}
        self._start_time = time.time()
        # Whether anything was computed, not only looked up.
        self._computed_anything = False

    def run(self) -> str:
        nodes_by_experiment = self._plan_experiments()
        node_ids = {node.id for nodes in nodes_by_experiment.values() for node in nodes}
        remaining = RemainingTime(node_ids)
        _log.info(
            "%s, scale %s, seeds %s: %d steps",
            ", ".join(nodes_by_experiment) or "nothing",
            self._scale.name,
            self._request.parse_seeds(),
            len(node_ids),
        )
        for name, nodes in nodes_by_experiment.items():
            try:
                self._run_experiment(name, nodes, remaining)
            finally:
                # Of an experiment that is stopped, what it has so far.
                self._write_results()
        return self._write_report()

    def _write_results(self) -> None:
        """Adds to the folder what was measured."""
        with self._workdir.lock("to write its results"):
            self._results.write(self._build_description())

    def _plan_experiments(self) -> dict[str, list[Node]]:
        """Returns the nodes of each experiment that can be planned."""
        nodes_by_experiment: dict[str, list[Node]] = {}
        shared: dict[str, Node] = {}
        for name in self._request.select_experiments():
            builder = ExperimentBuilder(
                self._scale,
                self._contexts,
                shared=shared,
                folders=self._request.get_folders(),
                models=self._request.validate_models(),
                epochs=self._request.parse_epochs(),
            )
            try:
                experiments.get(name)(builder, self._request.select_seeds(name))
            except errors.InputError as error:
                self._record_failure(name, str(error))
                continue
            if builder.nodes:
                nodes_by_experiment[name] = list(builder.nodes.values())
        return nodes_by_experiment

    def _run_experiment(self, name: str, nodes: list[Node], remaining: RemainingTime) -> None:
        _log.info("== %s", name)
        start_times: dict[str, float] = {}

        def on_event(event: NodeEvent) -> None:
            spine.log_event(event)
            if event.kind == "running":
                start_times[event.node] = time.monotonic()
            self._computed_anything |= event.kind in ("complete", "failed")

        def on_success(node: Node, execution: Execution) -> None:
            producer = self._find_producer(execution)
            self._results.add(node, execution, producer)
            if producer is execution:
                remaining.mark_done(node.id, time.monotonic() - start_times[node.id])
                _log.info("%s", remaining)
            else:
                seconds = (producer.updated - producer.created) / 1000
                remaining.mark_done(node.id, seconds)

        def on_failure(node: Node, error: Exception) -> None:
            _log.debug("%s", node.id, exc_info=error)
            self._record_failure(node.id, f"{type(error).__name__}: {error}")
            remaining.mark_done(node.id, None)

        any_run = self._contexts.get_any_run()
        run_metadata = {
            "experiment": name,
            "scale": self._scale.name,
            "versions": versions.collect_versions(),
        }
        spine.run_nodes(
            any_run,
            nodes,
            f"{_PROGRAM}-{name}",
            run_metadata,
            on_event=on_event,
            on_failure=on_failure,
            on_success=on_success,
        )
        for node in nodes:
            remaining.mark_done(node.id, None)

    @functools.cached_property
    def _metadata_reader(self) -> MetadataReader:
        root = self._contexts.get_any_run().pipeline_root
        return MetadataReader(root / "metadata.sqlite")

    def _find_producer(self, execution: Execution) -> Execution:
        """Returns the execution that made the outputs of this one."""
        if execution.state is not State.CACHED:
            return execution
        artifact = next(iter(execution.outputs.values()))[0]
        return self._metadata_reader.find_producer(artifact.id)

    def _record_failure(self, name: str, reason: str) -> None:
        _log.warning("%s failed: %s", name, reason)
        self._failures[name] = " ".join(reason.split())

    def _build_description(self) -> dict[str, Any]:
        """Returns what the report tells of the run beside its rows."""
        path = self._request.workdir / RUN_INFO_FILE
        previous = read_run_info(path) if path.exists() else {}
        seconds = previous.get("seconds", 0)
        if self._computed_anything:
            seconds += time.time() - self._start_time
            self._start_time = time.time()
        return {
            "scale": self._scale.name,
            "seeds": sorted({r.seed for r in self._results.rows.values()}),
            "seconds": round(seconds, 1),
            "versions": versions.collect_versions(),
            "class_names": previous.get("class_names", {}) | self._contexts.get_class_names(),
            # Messages name folders.
            "failed": {
                name: "failed" if self._request.anonymous else reason
                for name, reason in self._failures.items()
            },
            "anonymous": self._request.anonymous,
        }

    def _write_report(self) -> str:
        folder = self._request.workdir
        self._write_results()
        log_dir = folder / "tensorboard"
        with self._workdir.lock("to write its report"):
            report_data = ReportData.read(folder)
            boards.write_sweep(report_data, log_dir)
            pages = [folder / "report" / name for name in writing.PAGE_NAMES]
            if not stamp.is_up_to_date(report_data, folder / "report"):
                writing.write_report(report_data, folder / "report")
                stamp.write_digest(report_data, folder / "report")
        text = "\n".join(
            [
                f"{len(self._results.rows)} measurements in "
                f"{format_duration(self._build_description()['seconds'])} of all runs here",
                f"Measurements  {folder / 'measurements.csv'}",
                *(f"Report        {page}" for page in pages),
                f"TensorBoard   tensorboard --logdir {shlex.quote(str(log_dir))}",
            ]
        )
        if not self._failures:
            return text
        failure_text = "; ".join(f"{k}: {v}" for k, v in self._failures.items())
        raise errors.InputError(
            f"{len(self._failures)} steps failed, and the report says so: "
            f"{failure_text} All else is kept: {folder / 'report'}. The same command "
            "tries them again."
        )
