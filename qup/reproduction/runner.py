"""Runs the experiments of the paper on the pipeline's components, and writes the report.

Each experiment is a pipeline, and all use one pipeline root: a node that several need is computed
once. An experiment that fails does not stop the others.

```python
request = ReproductionRequest(pathlib.Path("runs/reproduction"))
print(run(request, load_config, overrides={}))
```
"""

import functools
import logging
import shlex
import statistics
import time
from collections.abc import Iterable, Mapping
from typing import Any

from qup.core import errors
from qup.orchestration import Execution, MetadataReader, Node, NodeEvent, State
from qup.pipelines import run as pipelines_run
from qup.pipelines.engines import LOCAL, Engine
from qup.pipelines.run import Workdir, format_part
from qup.reproduction import experiments, presets, tensorboard
from qup.reproduction.builder import ConfigLoader, ExperimentBuilder
from qup.reproduction.report import digest, render
from qup.reproduction.report.data import MEASUREMENTS_FILE, RUN_INFO_FILE, ReportData, read_run_info
from qup.reproduction.request import ReproductionRequest
from qup.reproduction.results import ResultsStore

_log = logging.getLogger("qup")
_PROGRAM = "reproduce"


class RemainingTime:
    """Counts nodes, and estimates the remaining time from nodes with similar names.

    A node id consists of parts between full stops; the first is the component:
    "Attacker.pgd.mnist.convnet.seed-0.epoch-30". The seed has no influence on the time.
    """

    def __init__(self, node_ids: Iterable[str]):
        """Starts with all nodes pending."""
        self._pending = dict.fromkeys(node_ids)
        self._total = len(self._pending)
        # Component -> parts of a node id -> seconds of such nodes.
        self._durations: dict[str, dict[frozenset[str], list[float]]] = {}

    def mark_done(self, node_id: str, seconds: float | None) -> None:
        """Records the duration of a node; None if unknown."""
        is_pending = node_id in self._pending
        self._pending.pop(node_id, None)
        # A node that several experiments need counts once.
        if is_pending and seconds is not None:
            component, parts = _split_node_id(node_id)
            component_durations = self._durations.setdefault(component, {})
            component_durations.setdefault(parts, []).append(seconds)

    def estimate_seconds(self) -> float | None:
        """Returns the remaining time; None while no duration is known.

        The estimate of a node is the mean over nodes of its component whose ids have most parts in
        common with its id; for a component without durations, the mean over components.
        """
        if not self._durations:
            return None
        component_means = [
            statistics.fmean(x for durations in component_durations.values() for x in durations)
            for component_durations in self._durations.values()
        ]
        overall_mean = statistics.fmean(component_means)
        return sum(self._estimate_node_seconds(node_id, overall_mean) for node_id in self._pending)

    def _estimate_node_seconds(self, node_id: str, overall_mean: float) -> float:
        component, parts = _split_node_id(node_id)
        component_durations = self._durations.get(component)
        if not component_durations:
            return overall_mean
        most_shared = max(len(parts & other_parts) for other_parts in component_durations)
        return statistics.fmean(
            x
            for other_parts, durations in component_durations.items()
            if len(parts & other_parts) == most_shared
            for x in durations
        )

    def __str__(self) -> str:
        """Returns "[37 of 212, about 2 h 10 min left]"."""
        text = f"{self._total - len(self._pending)} of {self._total}"
        seconds = self.estimate_seconds()
        if seconds is not None and self._pending:
            text += f", about {format_duration(seconds)} left"
        return f"[{text}]"


def _split_node_id(node_id: str) -> tuple[str, frozenset[str]]:
    component, *parts = node_id.split(".")
    return component, frozenset(part for part in parts if not part.startswith("seed-"))


def format_duration(seconds: float) -> str:
    """Returns "2 h 10 min", "3 min" or "20 s"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def run(
    request: ReproductionRequest,
    load_config: ConfigLoader,
    overrides: Mapping[str, Any],
    engine: Engine = LOCAL,
) -> str:
    """Runs the requested experiments, and writes the report.

    Args:
      request: Experiments, scale, seeds and folder.
      load_config: Returns the settings of a dataset, by its name.
      overrides: Settings by name that replace those of all datasets.
      engine: What runs the steps.

    Returns:
      The written files, as text; of a part, what is left.

    Raises:
      InputError: The request cannot be used, or an experiment failed. Completed measurements are
        kept, and the same call resumes.
      OrchestrationError: The pipeline root cannot be used.
    """
    request.check()
    workdir = Workdir(request.workdir)
    request.check_workdir(_PROGRAM)
    with workdir.lock("to begin"):
        workdir.write_config({"program": _PROGRAM, "scale": request.scale})
    return _ReproductionRunner(request, workdir, load_config, overrides, engine).run()


class _ReproductionRunner:
    """One run: its nodes, its results, and its failures."""

    def __init__(
        self,
        request: ReproductionRequest,
        workdir: Workdir,
        load_config: ConfigLoader,
        overrides: Mapping[str, Any],
        engine: Engine,
    ):
        self._request, self._engine = request, engine
        self._scale = presets.get_scale(request.scale)
        self._builder = ExperimentBuilder(
            self._scale,
            load_config,
            {**overrides, "workdir": str(request.workdir)},
            folders=request.get_folders(),
            models=request.validate_models(),
            epochs=request.parse_epochs(),
        )
        self._workdir = workdir
        self._results = ResultsStore(request.workdir)
        self._failures: dict[str, str] = {}
        self._start_time = time.time()
        # False if the cache has all results.
        self._computed_anything = False

    def run(self) -> str:
        nodes_by_experiment = self._build_experiments()
        node_ids = {node.id for nodes in nodes_by_experiment.values() for node in nodes}
        remaining = RemainingTime(node_ids)
        _log.info(
            "%s, scale %s, seeds %s: %d steps",
            ", ".join(nodes_by_experiment) or "nothing",
            self._scale.name,
            self._request.parse_seeds(),
            len(node_ids),
        )
        executions: dict[str, Execution] = {}
        for name, nodes in nodes_by_experiment.items():
            try:
                executions |= self._run_experiment(name, nodes, remaining)
            finally:
                # An interrupted experiment keeps its results so far. The results of parts are
                # those of the last process, which has all.
                if self._engine.part.is_whole:
                    self._write_results()
        all_nodes = {node.id: node for nodes in nodes_by_experiment.values() for node in nodes}
        run = self._builder.get_any_run() if all_nodes else None
        if run and (text := format_part(run, self._engine, list(all_nodes.values()), executions)):
            self._check_failures(text)
            return text
        return self._write_report()

    def _write_results(self) -> None:
        with self._workdir.lock("to write its results"):
            self._results.write(self._build_run_info())

    def _build_experiments(self) -> dict[str, list[Node]]:
        """Returns the nodes of each experiment whose settings and data can be used."""
        nodes_by_experiment: dict[str, list[Node]] = {}
        for name in self._request.select_experiments():
            try:
                nodes = self._builder.build(experiments.get(name), self._request.select_seeds(name))
            except errors.InputError as error:
                self._record_failure(name, str(error))
                continue
            if nodes:
                nodes_by_experiment[name] = list(nodes.values())
        return nodes_by_experiment

    def _run_experiment(
        self, name: str, nodes: list[Node], remaining: RemainingTime
    ) -> dict[str, Execution]:
        _log.info("== %s", name)
        start_times: dict[str, float] = {}

        def on_event(event: NodeEvent) -> None:
            pipelines_run.log_event(event)
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

        run_metadata = {
            "experiment": name,
            "scale": self._scale.name,
            "versions": pipelines_run.collect_versions(),
        }
        executions = pipelines_run.run_nodes(
            self._builder.get_any_run(),
            nodes,
            f"{_PROGRAM}-{name}",
            run_metadata,
            engine=self._engine,
            on_event=on_event,
            on_failure=on_failure,
            on_success=on_success,
        )
        for node in nodes:
            remaining.mark_done(node.id, None)
        return executions

    @functools.cached_property
    def _metadata_reader(self) -> MetadataReader:
        return MetadataReader(self._builder.get_any_run().pipeline_root / "metadata.sqlite")

    def _find_producer(self, execution: Execution) -> Execution:
        """Returns the execution that computed the outputs of an execution."""
        if execution.state is not State.CACHED:
            return execution
        artifact = next(iter(execution.outputs.values()))[0]
        return self._metadata_reader.find_producer(artifact.id)

    def _record_failure(self, name: str, reason: str) -> None:
        _log.warning("%s failed: %s", name, reason)
        self._failures[name] = " ".join(reason.split())

    def _build_run_info(self) -> dict[str, Any]:
        """Returns the content of reproduction.json."""
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
            "versions": pipelines_run.collect_versions(),
            "class_names": previous.get("class_names", {}) | self._builder.get_class_names(),
            # Messages contain names of folders.
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
            tensorboard.write_sweep(report_data, log_dir)
            pages = [folder / "report" / name for name in render.PAGE_NAMES]
            if not digest.is_up_to_date(report_data, folder / "report"):
                render.write_report(report_data, folder / "report")
                digest.write_digest(report_data, folder / "report")
        text = "\n".join(
            [
                f"{len(self._results.rows)} measurements in "
                f"{format_duration(self._build_run_info()['seconds'])} of all runs in this folder",
                f"Measurements  {folder / MEASUREMENTS_FILE}",
                *(f"Report        {page}" for page in pages),
                f"TensorBoard   tensorboard --logdir {shlex.quote(str(log_dir))}",
            ]
        )
        self._check_failures(f"All other results are in the report, {folder / 'report'}.")
        return text

    def _check_failures(self, text: str) -> None:
        """Raises an InputError that names the steps that failed, and ends with a text."""
        if self._failures:
            failure_text = "; ".join(f"{name}: {reason}" for name, reason in self._failures.items())
            raise errors.InputError(
                f"{len(self._failures)} steps failed: {failure_text} {text} Run the same command "
                "to retry."
            )
