"""What the nodes of an uncertainty run left, read back."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from qup import measurements
from qup.measurements import Row
from qup.measures.uncertainty import records
from qup.orchestration import Execution
from qup.pipelines.opening import RunContext


@dataclasses.dataclass(frozen=True)
class AnalyzerOutput:
    """What one analyzer left.

    Attributes:
      setting: What it measured, and what was "refused" and why.
      records: Of each estimator, see `records.load`.
      rows: Its rows.
    """

    setting: Mapping[str, Any]
    records: Mapping[str, tuple]
    rows: list[Row]

    def find_row(self, measure: str, estimator: str, axis: str | None = None) -> Row | None:
        """Returns the mean over the pixels, or what was found along an axis.

        Where there is one row of a measure, it is that one.
        """
        for row in self.rows:
            parameters = row.parameters
            if (
                row.measure == measure
                and parameters["estimator"] == estimator
                and parameters.get("statistic", "mean") == "mean"
                and parameters.get("axis") == axis
            ):
                return row
        return None

    def list_axes(self, estimator: str) -> list[str]:
        """Returns the names of the axes that have rows of their own."""
        axis_names = (
            row.parameters.get("axis")
            for row in self.rows
            if row.parameters["estimator"] == estimator
        )
        return list(dict.fromkeys(name for name in axis_names if name))


@dataclasses.dataclass(frozen=True)
class RunResults:
    """What a run measured.

    Attributes:
      analyses: Of every analyzer, in their order.
      accuracies: Rows of every meter.
    """

    analyses: list[AnalyzerOutput]
    accuracies: list[Row]

    @property
    def rows(self) -> list[Row]:
        """Every row."""
        return [*self.accuracies, *(row for analysis in self.analyses for row in analysis.rows)]

    @property
    def records(self) -> list[tuple]:
        """Every record."""
        return [record for analysis in self.analyses for record in analysis.records.values()]

    def find_accuracy_row(self, measure: str, setting: Mapping[str, Any]) -> Row | None:
        """Returns the row of a network's accuracy, at its temperature."""
        for row in self.accuracies:
            if row.measure == measure and all(
                setting[name] == value
                for name, value in (
                    ("model", row.model),
                    ("epochs", row.epochs),
                    ("control", row.parameters["control"]),
                    ("temperature", row.parameters["temperature"]),
                )
            ):
                return row
        return None


def load_results(run: RunContext, executions: Mapping[str, Execution]) -> RunResults:
    """Reads what the nodes left; artifacts are told from the workdir."""
    analyses, accuracies = [], []
    for execution in executions.values():
        rows: list[Row] = []
        for artifact in execution.outputs.get("evaluation", ()):
            rows += measurements.read_rows(artifact.path / "measurements.csv")
        for artifact in execution.outputs.get("relations", ()):
            analyses.append(_load_analyzer_output(run, artifact.path, rows))
        if execution.component == "AccuracyMeter":
            accuracies += rows
    return RunResults(analyses, accuracies)


def _load_analyzer_output(run: RunContext, folder: pathlib.Path, rows: list[Row]) -> AnalyzerOutput:
    setting = json.loads((folder / "setting.json").read_text(encoding="utf-8"))
    loaded_records = {path.stem: records.load(path) for path in sorted(folder.glob("*.npz"))}
    relative_folder = os.path.relpath(folder, run.workdir.path)
    rows = [dataclasses.replace(row, artifact=f"{relative_folder}/{row.artifact}") for row in rows]
    return AnalyzerOutput(setting, loaded_records, rows)
