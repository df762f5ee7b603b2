"""Lists the runs of pipelines: their states, their size on disk and their differences.

    qup runs
    qup runs runs/mnist --format=csv

PATH is a working directory, a pipeline root, or a folder of them; the default is the environment
variable QUP_PIPELINE_ROOT, else runs/. The table says what each run was asked to do (model, attack,
epsilon, ...), and which other parameters differ between the runs of one root. A run is abandoned if
its process died. The size of a run is that of the artifacts that it made or reused, so that several
runs count what they share.
`qup prune` removes what no kept run needs.

A second table lists the trainings of `qup train`, each in a folder of its own.
A training is unfinished if it still runs, or was interrupted.
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
from qup.pipelines.training_folder import TrainingFolder, find_trainings

# The parameter of a run with what it was asked to do.
_REQUEST = "request."
_REQUEST_ORDER = ("model", "dataset", "attack", "method", "epsilon", "norm")
_MAX_VALUE_LENGTH = 60
# What a training was asked to do, of the settings in its folder.
_TRAINING_KEYS = ("dataset.name", "method", "epsilon", "norm")


@dataclasses.dataclass(frozen=True)
class RunRow:
    """A row of the table.

    Attributes:
      run: The run.
      executed: Number of its executions that computed something.
      reused: Number of its executions that reused a result.
      num_bytes: Size on disk of the artifacts that it made or reused.
      request: What it was asked to do; empty for a run that does not say it.
      parameters: Those that differ between the runs of the root.
    """

    run: Run
    executed: int
    reused: int
    num_bytes: int
    request: dict[str, Any]
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


@dataclasses.dataclass(frozen=True)
class TrainingRow:
    """A row of the table of trainings.

    Attributes:
      training: The training.
      num_bytes: Size on disk of its folder.
      request: What it was asked to do.
      parameters: Other settings that differ between the trainings.
    """

    training: TrainingFolder
    num_bytes: int
    request: dict[str, Any]
    parameters: dict[str, Any]

    @property
    def state(self) -> str:
        """COMPLETE or unfinished."""
        return State.COMPLETE.name if self.training.is_complete else "unfinished"

    @property
    def age_s(self) -> float:
        """Seconds since the training or its last epoch ended."""
        return max(0.0, time.time() - self.training.updated)


def define_flags() -> None:
    """Defines all flags."""
    flags.DEFINE_enum("format", "text", ["text", "csv"], "A table for the terminal, or CSV.")


def main(path: str) -> str:
    """Returns the tables of the runs and the trainings in `path`."""
    tables, problems = {}, []
    trainings = _load_trainings(path)
    for database in _find_databases(path, needs_one=not trainings):
        try:
            tables[database.parent] = _load_table(graph.ReadOnlyMetadata(database))
        except OrchestrationError as error:
            problems.append(str(error))
    text = (_format_csv if flags.FLAGS.format == "csv" else _format_text)(tables, trainings)
    if problems:
        # The other roots are printed despite a damaged one.
        program.print_text(text)
        raise flags.Error(" ".join(problems))
    return text


def _find_databases(path: str, *, needs_one: bool) -> list[pathlib.Path]:
    """Returns the paths of the databases.

    Raises:
      OrchestrationError: There is none, although one is needed.
    """
    try:
        return graph.find_databases_below(path)
    except OrchestrationError:
        if needs_one:
            raise
        return []


def _load_trainings(path: str) -> list[TrainingRow]:
    trainings = find_trainings(path)
    differing = _select_differing([config.flatten(training.settings) for training in trainings])
    rows = []
    for training, parameters in zip(trainings, differing, strict=True):
        request = _get_training_request(training.settings)
        others = {k: v for k, v in parameters.items() if k not in (*_TRAINING_KEYS, "model.name")}
        num_bytes = pruning.measure_disk([training.path])
        rows.append(TrainingRow(training, num_bytes, request, others))
    return rows


def _get_training_request(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the model, the data set and the method of a training."""
    flat = config.flatten(settings)
    model = {"model": flat.get("model.name", "a file")}
    request = {key.partition(".")[0]: flat[key] for key in _TRAINING_KEYS if key in flat}
    if isinstance(epsilon := request.get("epsilon"), float):
        # It imports NumPy, which a list without trainings does not need.
        from qup.core.numbers import format_epsilon

        request["epsilon"] = format_epsilon(epsilon)
    return model | request


def _load_table(metadata: graph.ReadOnlyMetadata) -> RootTable:
    runs, counts = metadata.list_runs(), metadata.count_executions()
    paths = {artifact.id: artifact.path for artifact in pruning.read_artifacts(metadata)}
    sizes = {number: pruning.measure_disk([path]) for number, path in paths.items()}
    artifact_ids = pruning.read_artifacts_of_runs(metadata)
    settings = [config.flatten(run.parameters) for run in runs]
    requests = [
        {
            key.removeprefix(_REQUEST): flat.pop(key)
            for key in list(flat)
            if key.startswith(_REQUEST)
        }
        for flat in settings
    ]
    rows = [
        RunRow(
            run,
            *counts.get(run.id, (0, 0)),
            sum(sizes.get(number, 0) for number in artifact_ids.get(run.id, ())),
            request,
            parameters,
        )
        for run, request, parameters in zip(
            runs, requests, _select_differing(settings), strict=True
        )
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


def _format_text(tables: Mapping[pathlib.Path, RootTable], trainings: Sequence[TrainingRow]) -> str:
    blocks = []
    for root, table in tables.items():
        head = "run pipeline state started age duration executed reused size request differing"
        lines = [head.split()]
        for row in table.rows:
            run = row.run
            facts = (run.id, run.pipeline, lineage_text.format_state(run))
            started = lineage_text.format_time(run.created)
            age = formatting.format_duration(row.age_s)
            counts = (str(row.executed), str(row.reused))
            size = formatting.format_bytes(row.num_bytes)
            elapsed = lineage_text.format_elapsed(run)
            words = (_format_request(row.request), lineage_text.format_settings(row.parameters))
            lines.append([*facts, started, age, elapsed, *counts, size, *words])
        blocks.append(_align(f"{root}: {_format_root(table)}", lines))
    if trainings:
        head = "training state started age epochs size request differing"
        lines = [head.split()]
        for row in trainings:
            training = row.training
            started = lineage_text.format_time(round(1000 * training.started))
            age = formatting.format_duration(row.age_s)
            size = formatting.format_bytes(row.num_bytes)
            facts = (lineage_text.to_printable(str(training.path)), row.state, started, age)
            words = (_format_request(row.request), lineage_text.format_settings(row.parameters))
            lines.append([*facts, str(training.num_epochs), size, *words])
        total = formatting.format_bytes(sum(row.num_bytes for row in trainings))
        blocks.append(_align(f"trainings: {total}", lines))
    return "\n\n".join(blocks)


def _align(title: str, lines: list[list[str]]) -> str:
    """Returns a title and the lines of a table; columns without any value are left out."""
    columns = [column for column in zip(*lines, strict=True) if any(column[1:]) or len(lines) == 1]
    widths = [max(map(len, column)) for column in columns]
    rows = zip(*columns, strict=True)
    aligned = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join([lineage_text.to_printable(title), *aligned])


def _format_request(request: Mapping[str, Any]) -> str:
    """Returns "name=value name=value"; a long value is shortened."""
    # The database sorts the names.
    known = [name for name in _REQUEST_ORDER if name in request]
    names = dict.fromkeys([*known, *request])
    words = (f"{name}={_shorten(str(request[name]))}" for name in names)
    return lineage_text.to_printable(" ".join(words))


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_VALUE_LENGTH else f"{text[: _MAX_VALUE_LENGTH - 1]}…"


def _format_root(table: RootTable) -> str:
    """Returns the size of a root, and the age of its newest run."""
    size = formatting.format_bytes(table.num_bytes)
    if not table.rows:
        return size
    age = formatting.format_duration(min(row.age_s for row in table.rows))
    return f"{size}, last used {age} ago"


def _format_csv(tables: Mapping[pathlib.Path, RootTable], trainings: Sequence[TrainingRow]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    head = (
        "root run pipeline state started seconds executed reused differing bytes age_seconds "
        "root_bytes request"
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
            request = hashing.dump_canonical_json(row.request)
            writer.writerow([*facts, started, seconds, *counts, differing, *sizes, request])
    for row in trainings:
        training = row.training
        facts = (training.path, "", "train", row.state)
        started = lineage_text.format_time(round(1000 * training.started))
        differing, request = map(hashing.dump_canonical_json, (row.parameters, row.request))
        sizes = (row.num_bytes, round(row.age_s, 3), row.num_bytes)
        writer.writerow([*facts, started, "", "", "", differing, *sizes, request])
    return file.getvalue().rstrip("\n")


def run() -> None:
    """Runs the command."""
    program.run_query(main, lambda: os.environ.get(ROOT_VARIABLE) or "runs")
