"""Lists the runs of pipelines: their states and their differences.

    qup runs
    qup runs runs/mnist --format=csv

PATH is a working directory, a pipeline root, or a folder of them; the
default is runs/. The table has the parameters that differ between the runs of
one root. A run is abandoned if its process died.
"""

import csv
import io
import pathlib
from collections.abc import Mapping
from typing import Any

from absl import flags

from qup.cli import program
from qup.core import config, hashing
from qup.orchestration import OrchestrationError
from qup.orchestration.executions import Run, State
from qup.orchestration.lineage import graph
from qup.orchestration.lineage import text as lineage_text

# The runs of one root, oldest first: (run, executed, reused, parameters).
RunRows = list[tuple[Run, int, int, dict[str, Any]]]


def define_flags() -> None:
    """Defines all flags."""
    flags.DEFINE_enum("format", "text", ["text", "csv"], "A table for the terminal, or CSV.")


def main(path: str) -> str:
    """Returns the table of the runs in `path`."""
    tables, problems = {}, []
    for database in graph.find_databases_below(path):
        try:
            tables[database.parent] = _load_rows(graph.ReadOnlyMetadata(database))
        except OrchestrationError as error:
            problems.append(str(error))
    text = (_format_csv if flags.FLAGS.format == "csv" else _format_text)(tables)
    if problems:
        # The other roots are printed despite a damaged one.
        program.print_text(text)
        raise flags.Error(" ".join(problems))
    return text


def _load_rows(metadata: graph.ReadOnlyMetadata) -> RunRows:
    runs, counts = metadata.list_runs(), metadata.count_executions()
    differing = _select_differing([config.flatten(run.parameters) for run in runs])
    return [
        (run, *counts.get(run.id, (0, 0)), parameters)
        for run, parameters in zip(runs, differing, strict=True)
    ]


def _select_differing(settings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the parameters that differ between the runs, or are missing in one."""
    values: dict[str, set[str]] = {}
    for parameters in settings:
        for name, value in parameters.items():
            values.setdefault(name, set()).add(hashing.dump_canonical_json(value))
    common = {
        name
        for name, texts in values.items()
        if len(texts) == 1 and all(name in parameters for parameters in settings)
    }
    return [
        {name: parameters[name] for name in sorted(parameters.keys() - common)}
        for parameters in settings
    ]


def _format_text(tables: Mapping[pathlib.Path, RunRows]) -> str:
    blocks = []
    for root, rows in tables.items():
        head = "run pipeline state started duration executed reused differing"
        lines = [head.split()]
        for run, executed, reused, parameters in rows:
            differing = lineage_text.format_settings(parameters)
            facts = (run.id, run.pipeline, lineage_text.format_state(run))
            started = lineage_text.format_time(run.created)
            counts = (str(executed), str(reused))
            lines.append([*facts, started, lineage_text.format_elapsed(run), *counts, differing])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        aligned = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
        blocks.append("\n".join([lineage_text.to_printable(f"{root}:"), *aligned]))
    return "\n\n".join(blocks)


def _format_csv(tables: Mapping[pathlib.Path, RunRows]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    head = "root run pipeline state started seconds executed reused differing"
    writer.writerow(head.split())
    for root, rows in tables.items():
        for run, executed, reused, parameters in rows:
            seconds = (run.updated - run.created) / 1000
            if run.state is State.RUNNING:
                seconds = ""
            facts = (root, run.id, run.pipeline, lineage_text.format_state(run))
            started = lineage_text.format_time(run.created)
            counts = (executed, reused)
            differing = hashing.dump_canonical_json(parameters)
            writer.writerow([*facts, started, seconds, *counts, differing])
    return file.getvalue().rstrip("\n")


def run() -> None:
    """Runs the command."""
    program.run_query(main, lambda: "runs")
