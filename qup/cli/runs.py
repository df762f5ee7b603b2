"""Lists the runs of pipelines: their states, their size on disk and their differences.

    qup runs
    qup runs runs/mnist --format=csv

PATH is a working directory, a pipeline root, or a folder of them; the default is the environment
variable QUP_PIPELINE_ROOT, else runs/. The table has the parameters that differ between the runs
of one root. A run is abandoned if its process died. The size of a run is that of the artifacts that
it made or reused, so that several runs count what they share.
`qup prune` removes what no kept run needs.
"""

import csv
import dataclasses
import io
import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from qup.cli import program
from qup.core import config, formatting, hashing
from qup.orchestration import OrchestrationError, pruning
from qup.orchestration.executions import Run, State
from qup.orchestration.lineage import graph
from qup.orchestration.lineage import text as lineage_text
from qup.orchestration.storage import ROOT_VARIABLE


@dataclasses.dataclass(frozen=True)
class RunRow:
    """A row of the table.

    Attributes:
      run: The run.
      executed: Number of its executions that computed something.
      reused: Number of its executions that reused a result.
      num_bytes: Size on disk of the artifacts that it made or reused.
      parameters: Those that differ between the runs of the root.
    """

    run: Run
    executed: int
    reused: int
    num_bytes: int
    parameters: dict[str, Any]

    @property
    def age_s(self) -> float:
        """Seconds since the run ended; since it began, if it has not ended."""
        return max(0.0, time.time() - self.run.updated / 1000)


@dataclasses.dataclass(frozen=True)
class RootTable:
    """The runs of one root, oldest first, and the size on disk of all that is in the root."""

    rows: Sequence[RunRow]
    num_bytes: int


def define_flags() -> None:
    """Defines all flags."""
    flags.DEFINE_enum("format", "text", ["text", "csv"], "A table for the terminal, or CSV.")


def main(path: str) -> str:
    """Returns the table of the runs in `path`."""
    tables, problems = {}, []
    for database in graph.find_databases_below(path):
        try:
            tables[database.parent] = _load_table(graph.ReadOnlyMetadata(database))
        except OrchestrationError as error:
            problems.append(str(error))
    text = (_format_csv if flags.FLAGS.format == "csv" else _format_text)(tables)
    if problems:
        # The other roots are printed despite a damaged one.
        program.print_text(text)
        raise flags.Error(" ".join(problems))
    return text


def _load_table(metadata: graph.ReadOnlyMetadata) -> RootTable:
    runs, counts = metadata.list_runs(), metadata.count_executions()
    paths = {artifact.id: artifact.path for artifact in pruning.read_artifacts(metadata)}
    sizes = {number: pruning.measure_disk([path]) for number, path in paths.items()}
    artifact_ids = pruning.read_artifacts_of_runs(metadata)
    differing = _select_differing([config.flatten(run.parameters) for run in runs])
    rows = [
        RunRow(
            run,
            *counts.get(run.id, (0, 0)),
            sum(sizes.get(number, 0) for number in artifact_ids.get(run.id, ())),
            parameters,
        )
        for run, parameters in zip(runs, differing, strict=True)
    ]
    return RootTable(rows, pruning.measure_disk([metadata.path.parent]))


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


def _format_text(tables: Mapping[pathlib.Path, RootTable]) -> str:
    blocks = []
    for root, table in tables.items():
        head = "run pipeline state started age duration executed reused size differing"
        lines = [head.split()]
        for row in table.rows:
            run = row.run
            facts = (run.id, run.pipeline, lineage_text.format_state(run))
            started = lineage_text.format_time(run.created)
            age = formatting.format_duration(row.age_s)
            counts = (str(row.executed), str(row.reused))
            size = formatting.format_bytes(row.num_bytes)
            differing = lineage_text.format_settings(row.parameters)
            elapsed = lineage_text.format_elapsed(run)
            lines.append([*facts, started, age, elapsed, *counts, size, differing])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        aligned = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
        title = f"{root}: {_format_root(table)}"
        blocks.append("\n".join([lineage_text.to_printable(title), *aligned]))
    return "\n\n".join(blocks)


def _format_root(table: RootTable) -> str:
    """Returns the size of a root, and the age of its newest run."""
    size = formatting.format_bytes(table.num_bytes)
    if not table.rows:
        return size
    age = formatting.format_duration(min(row.age_s for row in table.rows))
    return f"{size}, last used {age} ago"


def _format_csv(tables: Mapping[pathlib.Path, RootTable]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    head = (
        "root run pipeline state started seconds executed reused differing bytes age_seconds "
        "root_bytes"
    )
    writer.writerow(head.split())
    for root, table in tables.items():
        for row in table.rows:
            run = row.run
            seconds = (run.updated - run.created) / 1000
            if run.state is State.RUNNING:
                seconds = ""
            facts = (root, run.id, run.pipeline, lineage_text.format_state(run))
            started = lineage_text.format_time(run.created)
            counts = (row.executed, row.reused)
            differing = hashing.dump_canonical_json(row.parameters)
            sizes = (row.num_bytes, round(row.age_s, 3), table.num_bytes)
            writer.writerow([*facts, started, seconds, *counts, differing, *sizes])
    return file.getvalue().rstrip("\n")


def run() -> None:
    """Runs the command."""
    program.run_query(main, lambda: os.environ.get(ROOT_VARIABLE) or "runs")
