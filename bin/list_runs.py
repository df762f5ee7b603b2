"""The runs of pipelines: which there are, how they ended, what differs.

    python -m bin.list_runs
    python -m bin.list_runs runs/mnist --format=csv

PATH is a working directory, a pipeline root, or a folder of them; the
default is runs/. Of the parameters, those are shown that differ between the
runs of one root. A run is abandoned if its process died.
"""

import csv
import io
import pathlib
from collections.abc import Mapping
from typing import Any

from absl import flags

from bin import reading
from qup import nesting
from qup.lineage import phrases, roots
from qup.orchestration import OrchestrationError
from qup.orchestration.executions import Run, State
from qup.orchestration.parameters import canonical

_FORMAT = flags.DEFINE_enum(
    "format", "text", ["text", "csv"], "A table to read, or one to compute on."
)

# The runs of one root, oldest first: (run, executed, reused, parameters).
Rows = list[tuple[Run, int, int, dict[str, Any]]]


def main(path: str) -> str:
    """Returns the table of the runs in `path`."""
    tables, troubles = {}, []
    for database in roots.below(path):
        try:
            tables[database.parent] = _rows(roots.Records(database))
        except OrchestrationError as error:
            troubles.append(str(error))
    text = (_csv if _FORMAT.value == "csv" else _text)(tables)
    if troubles:
        # One damaged root does not hide the others.
        reading.show(text)
        raise flags.Error(" ".join(troubles))
    return text


def _rows(records: roots.Records) -> Rows:
    runs, counts = records.runs(), records.counts()
    differing = _differing([nesting.flatten(run.parameters) for run in runs])
    return [
        (run, *counts.get(run.id, (0, 0)), parameters)
        for run, parameters in zip(runs, differing, strict=True)
    ]


def _differing(settings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns what is not the same, or not there, in all of them."""
    values: dict[str, set[str]] = {}
    for held in settings:
        for name, value in held.items():
            values.setdefault(name, set()).add(canonical(value))
    common = {
        name
        for name, found in values.items()
        if len(found) == 1 and all(name in held for held in settings)
    }
    return [
        {name: held[name] for name in sorted(held.keys() - common)}
        for held in settings
    ]


def _text(tables: Mapping[pathlib.Path, Rows]) -> str:
    blocks = []
    for root, rows in tables.items():
        head = "run pipeline state started duration executed reused differing"
        lines = [head.split()]
        for run, executed, reused, parameters in rows:
            told = phrases.settings(parameters)
            facts = (run.id, run.pipeline, phrases.state(run))
            begun = phrases.moment(run.created)
            counts = (str(executed), str(reused))
            lines.append([*facts, begun, phrases.lasted(run), *counts, told])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        aligned = (
            "  ".join(map(str.ljust, line, widths)).rstrip() for line in lines
        )
        blocks.append("\n".join([phrases.printable(f"{root}:"), *aligned]))
    return "\n\n".join(blocks)


def _csv(tables: Mapping[pathlib.Path, Rows]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    head = "root run pipeline state started seconds executed reused differing"
    writer.writerow(head.split())
    for root, rows in tables.items():
        for run, executed, reused, parameters in rows:
            seconds = (run.updated - run.created) / 1000
            if run.state is State.RUNNING:
                seconds = ""
            facts = (root, run.id, run.pipeline, phrases.state(run))
            begun = phrases.moment(run.created)
            counts = (executed, reused)
            told = canonical(parameters)
            writer.writerow([*facts, begun, seconds, *counts, told])
    return file.getvalue().rstrip("\n")


if __name__ == "__main__":
    reading.run(main, lambda: "runs")
