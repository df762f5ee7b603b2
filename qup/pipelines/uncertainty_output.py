"""The output of an uncertainty run: measurements, files, TensorBoard curves, the report."""

import dataclasses
import json
import os
import pathlib
import re
import textwrap
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from qup.core import files, measurements
from qup.core.measurements import Row
from qup.orchestration import Execution
from qup.pipelines.run import RunContext
from qup.pipelines.uncertainty_request import UncertaintyRequest
from qup.uncertainty.records import find_accuracy_rows

_CURVE_MEASURES = ("sigma_x", "sigma_p", "uncertainty_product", "uncertainty_bound")
_TEXT_WIDTH = 100


@dataclasses.dataclass(frozen=True)
class AnalyzerOutput:
    """The output of one analyzer.

    Attributes:
      setting: Its setting.json.
      estimators: Names of the estimators that gave a result.
      rows: Its measurements.
    """

    setting: Mapping[str, Any]
    estimators: list[str]
    rows: list[Row]

    def find_mean(self, measure: str) -> Row:
        """Returns the row of the mean over the pixels, by the first estimator."""
        return next(
            row
            for row in self.rows
            if row.measure == measure
            and row.parameters["estimator"] == self.estimators[0]
            and row.parameters.get("statistic") == "mean"
        )


@dataclasses.dataclass(frozen=True)
class RunResults:
    """The results of a run: a list of analyses, and the rows of all accuracies."""

    analyses: list[AnalyzerOutput]
    accuracies: list[Row]

    @property
    def rows(self) -> list[Row]:
        """Every row."""
        return [*self.accuracies, *(row for analysis in self.analyses for row in analysis.rows)]


def load_results(run: RunContext, executions: Mapping[str, Execution]) -> RunResults:
    """Reads the artifacts of a run; paths of artifacts in rows are relative to the workdir."""
    analyses, accuracies = [], []
    for execution in executions.values():
        rows: list[Row] = []
        for artifact in execution.outputs.get("evaluation", ()):
            rows += measurements.read_rows(artifact.path / "measurements.csv")
        for artifact in execution.outputs.get("relations", ()):
            folder = os.path.relpath(artifact.path, run.workdir.path)
            rows = [dataclasses.replace(row, artifact=f"{folder}/{row.artifact}") for row in rows]
            setting = json.loads((artifact.path / "setting.json").read_text(encoding="utf-8"))
            estimators = [path.stem for path in sorted(artifact.path.glob("*.npz"))]
            analyses.append(AnalyzerOutput(setting, estimators, rows))
        if execution.component == "AccuracyMeter":
            accuracies += rows
    return RunResults(analyses, accuracies)


def write_outputs(
    run: RunContext,
    request: UncertaintyRequest,
    results: RunResults,
    executions: Mapping[str, Execution],
) -> str:
    """Copies figures and summary to the workdir, writes curves to TensorBoard.

    Returns:
      The summary, Markdown.
    """
    (report,) = executions["UncertaintyReporter"].outputs["report"]
    summary = (report.path / "findings.md").read_text(encoding="utf-8")
    name = _build_slug(request)
    files.write_text(run.get_path(f"uncertainty-{name}.md"), summary)
    figures = {
        f"uncertainty-{name}-{path.name}": path.read_bytes()
        for path in sorted(report.path.glob("*.png"))
    }
    for figure, content in figures.items():
        files.write_bytes(run.get_path("figures", figure), content)
    for path in run.get_path("figures").glob(f"uncertainty-{name}-*.png"):
        # Of an earlier run with more networks.
        if path.name not in figures:
            files.remove_path(path)
    _write_tensorboard(run, request, results, report.path, summary)
    return summary


def _build_slug(request: UncertaintyRequest) -> str:
    """Returns packet and domain as part of a file name: "loss-window-0.1"."""
    return re.sub(r"[^\w.]+", "-", f"{request.packet}-{request.format_domain()}")


def _write_tensorboard(
    run: RunContext,
    request: UncertaintyRequest,
    results: RunResults,
    folder: pathlib.Path,
    summary: str,
) -> None:
    board, run_name = run.summaries, f"uncertainty/{_build_slug(request)}"
    board.clear(run_name)
    board.write_text(run_name, "findings", summary)
    pages = _load_pages(folder)
    if pages:
        step = max(run.config.training.epochs)
        board.write_images(run_name, step, pages, sheet_tag="0_all")
    for label, points in _build_curves(request, results).items():
        curve = f"{run_name}/label-{label}"
        board.clear(curve)
        for epochs, values in sorted(points.items()):
            board.write_scalars(curve, epochs, values)


def _build_curves(request: UncertaintyRequest, results: RunResults) -> dict[int, dict[int, dict]]:
    """Returns label -> epochs -> values by tag."""
    curves: dict[int, dict[int, dict]] = {}
    for analysis in results.analyses:
        setting = analysis.setting
        # Training begins at the untrained network.
        is_trained_network = setting["control"] in ("", "untrained") and analysis.estimators
        is_unmodified = setting["temperature"] == 1 and (
            setting["domain"] == request.format_domain()
        )
        if is_trained_network and is_unmodified:
            rows = [analysis.find_mean(measure) for measure in _CURVE_MEASURES]
            rows += find_accuracy_rows(results.accuracies, setting).values()
            points = curves.setdefault(setting["label"], {})
            points[setting["epochs"]] = {f"uncertainty/{row.measure}": row.value for row in rows}
    return curves


def _load_pages(folder: pathlib.Path) -> dict[str, tf.Tensor]:
    """Returns figures as images of one width: float32 [1, height, width, 3]."""
    pages = {
        path.stem: tf.io.decode_png(path.read_bytes(), channels=3)
        for path in sorted(folder.glob("*.png"))
    }
    width = max((page.shape[1] for page in pages.values()), default=0)
    return {
        stem: tf.pad(
            tf.cast(page[None], tf.float32) / 255,
            [[0, 0], [0, 0], [0, width - page.shape[1]], [0, 0]],
            constant_values=1.0,
        )
        for stem, page in pages.items()
    }


def format_report(run: RunContext, request: UncertaintyRequest, summary: str) -> str:
    """Returns the summary and the paths of all results, for a terminal."""
    name = _build_slug(request)
    lines: list[str] = []
    for line in summary.splitlines():
        is_table = line.startswith("|")
        lines += [line] if is_table else textwrap.wrap(line, _TEXT_WIDTH) or [""]
    return "\n".join(
        [
            *lines,
            "",
            f"Measurements  {run.get_path('measurements.csv')}",
            f"Figures       {run.get_path('figures')}/uncertainty-{name}-*.png",
            f"Findings      {run.get_path(f'uncertainty-{name}.md')}",
            *run.format_locations(),
        ]
    )
