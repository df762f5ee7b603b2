"""Every table and figure of the paper, over the components of the road.

Each experiment is a pipeline of its own in one pipeline root, so that what
several need is made once, and what is known is not computed again. One that
fails does not stop the others.

```python
print(run(Request(pathlib.Path("runs/reproduction")), load=settings_of))
```
"""

import dataclasses
import functools
import json
import logging
import pathlib
import shlex
import statistics
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from qup.core import errors, files, measurements
from qup.core.measurements import Row
from qup.orchestration import Execution, MetadataReader, Node, NodeEvent, State
from qup.pipelines import run as pipelines_run
from qup.pipelines.run import Workdir
from qup.reproduction import experiments, presets, tensorboard
from qup.reproduction import request as reproduction_request
from qup.reproduction.builder import ConfigLoader, DatasetContexts, ExperimentBuilder
from qup.reproduction.report import data, render, stamp
from qup.reproduction.report.data import (
    MEASUREMENTS_FILE,
    RUN_INFO_FILE,
    SOURCES_FILE,
    ReportData,
    compute_row_digest,
    read_json,
    read_run_info,
)

# What the nodes of a reproduction measured, gathered in its folder.
#
# ```python
# gathered = Gathered(folder)
# gathered.add(node, execution, maker=execution)
# gathered.write(about)
# ```


# Outputs that hold rows.
_ROW_OUTPUTS = ("evaluation", "analysis")
_ARRAYS_FOLDER = "arrays"
# Of an attack, image by image.
_RECORDS_OUTPUT, _RECORDS_FILE = "records", "records.npz"


class ResultsStore:
    """Rows with their sources; of equal keys the newest counts.

    Attributes:
      rows: By their keys.
      sources: By the rows' digests.
    """

    def __init__(self, folder: pathlib.Path):
        """Opens a folder; what an earlier run measured stays.

        Raises:
          InputError: What it holds is damaged, or of an older version.
        """
        self.folder = folder
        self.rows: dict[tuple, Row] = {}
        self.sources: dict[str, Any] = {}
        self._load_existing()

    def _load_existing(self) -> None:
        """Adds what the folder holds; our own rows count more."""
        rows, sources = self.folder / MEASUREMENTS_FILE, self.folder / SOURCES_FILE
        if sources.exists():
            stored_sources = read_json(sources)
            self.sources = stored_sources | self.sources
            if stored_sources and not rows.exists():
                raise errors.InputError(
                    f"{rows} is missing, and {sources.name} tells of "
                    f"{len(stored_sources)} measurements in it. Put it back, or remove "
                    f"{sources.name} to begin anew."
                )
        if rows.exists():
            stored_rows = measurements.read_rows(rows)
            self.rows = {row.key(): row for row in stored_rows} | self.rows

    def add(self, node: Node, execution: Execution, producer: Execution) -> None:
        """Takes in what a node measured.

        Args:
          node: The node.
          execution: Of now; its outputs may have been found.
          producer: The execution that made them.
        """
        for key in _ROW_OUTPUTS:
            for artifact in execution.outputs.get(key, ()):
                source = {
                    "node": node.id,
                    "artifact": artifact.id,
                    "execution": producer.id,
                    "code": producer.code,
                }
                for row in measurements.read_rows(artifact.path / MEASUREMENTS_FILE):
                    self._add_row(self._link_row_arrays(row, execution), source)

    def _add_row(self, row: Row, source: Mapping[str, Any]) -> None:
        self.rows[row.key()] = row
        self.sources[compute_row_digest(row)] = dict(source)

    def _link_row_arrays(self, row: Row, execution: Execution) -> Row:
        """Returns a row whose arrays, if it has any, lie in our folder."""
        if not row.artifact:
            return self._attach_class_counts(row, execution)
        array_path = pathlib.Path(_ARRAYS_FOLDER, execution.node, row.artifact)
        for artifacts in execution.outputs.values():
            for output in artifacts:
                if (output.path / row.artifact).is_file():
                    self._link_file(output.path / row.artifact, self.folder / array_path)
        return dataclasses.replace(row, artifact=array_path.as_posix())

    def _attach_class_counts(self, row: Row, execution: Execution) -> Row:
        """Returns a row with the counts of each class, where it has records.

        The records themselves, of each image, stay in the pipeline root: of
        all networks they are too large to stand beside a report.
        """
        record_paths = [
            artifact.path / _RECORDS_FILE for artifact in execution.outputs.get(_RECORDS_OUTPUT, ())
        ]
        if row.measure != "robust_accuracy" or not record_paths:
            return row
        array_path = pathlib.Path(_ARRAYS_FOLDER, execution.node, data.PER_CLASS_FILE)
        with np.load(record_paths[0], allow_pickle=False) as record_arrays:
            counts = data.count_per_class(
                record_arrays["label"], record_arrays["right"], ~record_arrays["success"]
            )
        with files.atomic_write(self.folder / array_path) as partial:
            np.savez(partial, **counts)
        return dataclasses.replace(row, artifact=array_path.as_posix())

    def _link_file(self, source: pathlib.Path, target: pathlib.Path) -> None:
        if target.exists() and target.samefile(source):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with files.atomic_write(target) as partial:
            files.link_or_copy(source, partial)

    def write(self, about: Mapping[str, Any]) -> None:
        """Writes measurements.csv, sources.json and reproduction.json.

        Raises:
          InputError: The folder cannot be written.
        """
        # Another run may have added to them meanwhile.
        self._load_existing()
        measurements.write_rows(self.folder / MEASUREMENTS_FILE, self.rows.values())
        rows_by_digest = {compute_row_digest(row): row for row in self.rows.values()}
        sources = {k: v for k, v in self.sources.items() if k in rows_by_digest}
        files.write_text(self.folder / SOURCES_FILE, _format_json(sources))
        files.write_text(self.folder / RUN_INFO_FILE, _format_json(about))


def _format_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


# How much of a reproduction is left, and about how long it will take.
#
# ```python
# remaining = Remaining(["Trainer.a", "Evaluator.a"])
# remaining.done("Trainer.a", 12.0)
# print(remaining)
# ```


class RemainingTime:
    """Counts nodes, and learns how long those of like names take.

    A name is made of parts between full stops, of which the first is the
    component: "Attacker.pgd.mnist.convnet.seed-0.epoch-30". Parts that begin
    with "seed-" tell nothing of the time.
    """

    def __init__(self, nodes: Iterable[str]):
        """Starts with nothing done.

        Args:
          nodes: The ids of all nodes.
        """
        self._pending = dict.fromkeys(nodes)
        self._total = len(self._pending)
        # Of one component, the parts of a name to the times of such nodes.
        self._durations: dict[str, dict[frozenset[str], list[float]]] = {}

    def mark_done(self, node: str, seconds: float | None) -> None:
        """Notes that a node is done.

        Args:
          node: Its id.
          seconds: How long it takes; None where nobody knows.
        """
        was_pending = node in self._pending
        self._pending.pop(node, None)
        # What several experiments ask for was made once.
        if was_pending and seconds is not None:
            component, name_parts = _split_node_id(node)
            component_durations = self._durations.setdefault(component, {})
            component_durations.setdefault(name_parts, []).append(seconds)

    def estimate_seconds(self) -> float | None:
        """Returns how long the rest will take; None while nothing is known.

        Each node counts as the mean of those of its component whose names
        have most parts in common with its own; one of a component that has
        not run yet, as the mean over components.
        """
        if not self._durations:
            return None
        component_means = [
            statistics.fmean(x for durations in component_durations.values() for x in durations)
            for component_durations in self._durations.values()
        ]
        overall_mean = statistics.fmean(component_means)
        return sum(self._estimate_node_seconds(node, overall_mean) for node in self._pending)

    def _estimate_node_seconds(self, node: str, overall_mean: float) -> float:
        component, name_parts = _split_node_id(node)
        component_durations = self._durations.get(component)
        if not component_durations:
            return overall_mean
        most_shared = max(len(name_parts & other_parts) for other_parts in component_durations)
        return statistics.fmean(
            x
            for other_parts, durations in component_durations.items()
            if len(name_parts & other_parts) == most_shared
            for x in durations
        )

    def __str__(self) -> str:
        """Returns "[37 of 212, about 2 h 10 min left]"."""
        text = f"{self._total - len(self._pending)} of {self._total}"
        seconds = self.estimate_seconds()
        if seconds is not None and self._pending:
            text += f", about {format_duration(seconds)} left"
        return f"[{text}]"


def _split_node_id(node: str) -> tuple[str, frozenset[str]]:
    component, *name_parts = node.split(".")
    return component, frozenset(p for p in name_parts if not p.startswith("seed-"))


def format_duration(seconds: float) -> str:
    """Returns "2 h 10 min", "3 min" or "20 s"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


ReproductionRequest = reproduction_request.ReproductionRequest
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
        self._scale = presets.get_scale(request.scale)
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

        any_run = self._contexts.get_any_run()
        run_metadata = {
            "experiment": name,
            "scale": self._scale.name,
            "versions": pipelines_run.collect_versions(),
        }
        pipelines_run.run_nodes(
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
            "versions": pipelines_run.collect_versions(),
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
            tensorboard.write_sweep(report_data, log_dir)
            pages = [folder / "report" / name for name in render.PAGE_NAMES]
            if not stamp.is_up_to_date(report_data, folder / "report"):
                render.write_report(report_data, folder / "report")
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
