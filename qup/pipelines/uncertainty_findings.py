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
from qup.pipelines.opening import Run


@dataclasses.dataclass(frozen=True)
class Measured:
    """What one analyzer left.

    Attributes:
      told: What it measured, and what was "refused" and why.
      records: Of each estimator, see `records.load`.
      rows: Its rows.
    """

    told: Mapping[str, Any]
    records: Mapping[str, tuple]
    rows: list[Row]

    def row(
        self, measure: str, estimator: str, axis: str | None = None
    ) -> Row | None:
        """Returns the mean over the pixels, or what was found along an axis.

        Where there is one row of a measure, it is that one.
        """
        for row in self.rows:
            told = row.parameters
            if (
                row.measure == measure
                and told["estimator"] == estimator
                and told.get("statistic", "mean") == "mean"
                and told.get("axis") == axis
            ):
                return row
        return None

    def axes(self, estimator: str) -> list[str]:
        """Returns the names of the axes that have rows of their own."""
        found = (
            row.parameters.get("axis")
            for row in self.rows
            if row.parameters["estimator"] == estimator
        )
        return list(dict.fromkeys(name for name in found if name))


@dataclasses.dataclass(frozen=True)
class Found:
    """What a run measured.

    Attributes:
      measured: Of every analyzer, in their order.
      accuracies: Rows of every meter.
    """

    measured: list[Measured]
    accuracies: list[Row]

    @property
    def rows(self) -> list[Row]:
        """Every row."""
        return [
            *self.accuracies,
            *(row for each in self.measured for row in each.rows),
        ]

    @property
    def records(self) -> list[tuple]:
        """Every record."""
        return [r for each in self.measured for r in each.records.values()]

    def accuracy(self, measure: str, told: Mapping[str, Any]) -> Row | None:
        """Returns the row of a network's accuracy, at its temperature."""
        for row in self.accuracies:
            if row.measure == measure and all(
                told[name] == value
                for name, value in (
                    ("model", row.model),
                    ("epochs", row.epochs),
                    ("control", row.parameters["control"]),
                    ("temperature", row.parameters["temperature"]),
                )
            ):
                return row
        return None


def collected(this: Run, done: Mapping[str, Execution]) -> Found:
    """Reads what the nodes left; artifacts are told from the workdir."""
    measured, accuracies = [], []
    for execution in done.values():
        rows: list[Row] = []
        for held in execution.outputs.get("evaluation", ()):
            rows += measurements.read(held.path / "measurements.csv")
        for held in execution.outputs.get("relations", ()):
            measured.append(_measured(this, held.path, rows))
        if execution.component == "AccuracyMeter":
            accuracies += rows
    return Found(measured, accuracies)


def _measured(this: Run, folder: pathlib.Path, rows: list[Row]) -> Measured:
    told = json.loads((folder / "setting.json").read_text(encoding="utf-8"))
    held = {
        path.stem: records.load(path) for path in sorted(folder.glob("*.npz"))
    }
    place = os.path.relpath(folder, this.workdir.path)
    rows = [
        dataclasses.replace(row, artifact=f"{place}/{row.artifact}")
        for row in rows
    ]
    return Measured(told, held, rows)
