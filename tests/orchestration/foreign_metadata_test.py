"""Databases that TFX wrote: their runs, executions and artifacts are shown.

`_WRITER` records a pipeline by ML Metadata's own library as TFX's launcher does: contexts
"pipeline", "pipeline_run" (its child) and "node" without any property, executions of components by
their full names with custom properties, whole paths or addresses, and no owner.
"""

import contextlib
import csv
import os
import re
import sqlite3
import subprocess
import sys

import pytest

from qup.orchestration import Metadata, State, database
from qup.orchestration.lineage import graph, page
from qup.orchestration.lineage import text as lineage_text
from tests.orchestration.ml_metadata_test import installed as installed

_WRITER = """
import sys
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb

config = pb.ConnectionConfig()
config.sqlite.filename_uri, config.sqlite.connection_mode = sys.argv[1], 3
store = metadata_store.MetadataStore(config)

def put_type(proto, name, put):
    proto.name = name
    return put(proto)

def context(kind, name):
    type_id = put_type(pb.ContextType(), kind, store.put_context_type)
    found = store.get_context_by_type_and_name(kind, name)
    if found: return found
    (number,) = store.put_contexts([pb.Context(type_id=type_id, name=name)])
    return store.get_contexts_by_id([number])[0]

def artifact(kind, uri):
    return pb.Artifact(type_id=put_type(pb.ArtifactType(), kind, store.put_artifact_type), uri=uri,
                       state=pb.Artifact.LIVE)

def event(kind, key, number=None):
    step = [pb.Event.Path.Step(key=key), pb.Event.Path.Step(index=0)]
    return pb.Event(type=kind, artifact_id=number, path=pb.Event.Path(steps=step))

def execute(run, node, component, state, inputs, outputs, **properties):
    contexts = [context("pipeline", "penguins"), context("pipeline_run", run),
                context("node", "penguins." + node)]
    links = store.get_parent_contexts_by_context(contexts[1].id)
    if not links:
        store.put_parent_contexts(
            [pb.ParentContext(child_id=contexts[1].id, parent_id=contexts[0].id)])
    type_id = put_type(pb.ExecutionType(), component, store.put_execution_type)
    execution = pb.Execution(type_id=type_id, last_known_state=state)
    for name, value in properties.items():
        field = {int: "int_value", float: "double_value", str: "string_value"}[type(value)]
        setattr(execution.custom_properties[name], field, value)
    pairs = [(a, event(pb.Event.INPUT, key, a.id)) for key, a in inputs]
    pairs += [(a, event(pb.Event.OUTPUT, key, a.id or None)) for key, a in outputs]
    _, numbers, _ = store.put_execution(execution, pairs, contexts)
    return store.get_artifacts_by_id(numbers[len(inputs):])

E = pb.Execution
for run, first in (("2024-05-01T10:00:00.1", E.COMPLETE), ("2024-05-02T10:00:00.1", E.CACHED)):
    old = [a for a in store.get_artifacts() if "examples" in a.uri]
    examples = old[:1] or [artifact("Examples", "/data/penguins/CsvExampleGen/examples/1")]
    examples = execute(run, "CsvExampleGen",
                       "tfx.components.example_gen.csv_example_gen.component.CsvExampleGen",
                       first, [], [("examples", examples[0])], input_base="/data/csv", span=0)
    model = artifact("Model", "gs://bucket/penguins/Trainer/model/2")
    failed = first == E.CACHED
    execute(run, "Trainer", "tfx.components.trainer.component.Trainer",
            E.FAILED if failed else E.COMPLETE, [("examples", examples[0])],
            [] if failed else [("model", model)], rate=0.5, module_file="train.py")
"""


@pytest.fixture(scope="module")
def written(installed, tmp_path_factory):
    """A database by ML Metadata's library."""
    path = tmp_path_factory.mktemp("tfx") / "metadata.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", _WRITER, str(path)],
        env={"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return path


def _load(path):
    return graph.ReadOnlyMetadata(graph.find_database(path))


def _check_first_run(shown):
    assert shown[0].startswith("Run 2024-05-01T10:00:00.1: COMPLETE 2")
    assert shown[0].endswith("2 executed, 0 reused")
    assert shown[2] == "Model 2  gs://bucket/penguins/Trainer/model/2"
    assert re.match(
        r"│ by Trainer \(tfx\.components\.trainer\.component\.Trainer\), execution 2: "
        r"COMPLETE \S+, \d\.\d\d s$",
        shown[3],
    )
    assert shown[4] == "│ module_file=train.py rate=0.5"
    assert shown[5] == "└─ examples: Examples 1  /data/penguins/CsvExampleGen/examples/1"
    assert "CsvExampleGen (tfx.components" in shown[6]
    assert shown[7] == "     input_base=/data/csv span=0"


def test_runs_of_tfx_are_shown(written):
    metadata = _load(written)
    first, second = metadata.list_runs()
    assert (first.pipeline, first.state) == ("penguins", State.COMPLETE)
    assert second.state is State.FAILED and not second.is_abandoned
    assert first.updated >= first.created > 0
    lineage = graph.trace_run(metadata, first.id)
    _check_first_run(lineage_text.format_tree(lineage, 200).splitlines())
    lineage = graph.trace_run(metadata, second.id)
    shown = lineage_text.format_tree(lineage, 200)
    assert "FAILED" in shown and "1 executed, 1 reused" in shown
    shown = page.format_page(graph.trace_run(metadata, first.id))
    assert "…/Trainer/model/2" in shown and "gs:" not in shown and "code <code></code>" not in shown


@pytest.mark.parametrize("place", ["file", "folder", "other name"])
def test_the_programs_show_it(written, tmp_path, place):
    path = written if place == "file" else written.parent
    if place == "other name":
        path = tmp_path / "metadata.db"
        path.write_bytes(written.read_bytes())
    before = written.read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "bin.show_lineage", str(path), "--run=2024-05-01T10:00:00.1"],
        text=True,
        capture_output=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    _check_first_run(done.stdout.splitlines())
    if place == "folder":
        done = subprocess.run(
            [sys.executable, "-m", "bin.list_runs", str(path), "--format=csv"],
            text=True,
            capture_output=True,
        )
        rows = list(csv.DictReader(done.stdout.splitlines()))
        assert [row["state"] for row in rows] == ["COMPLETE", "FAILED"], done.stderr
        assert [row["pipeline"] for row in rows] == ["penguins"] * 2
        assert [(row["executed"], row["reused"]) for row in rows] == [("2", "0"), ("1", "1")]
    assert written.read_bytes() == before


def test_a_path_of_an_artifact_is_found(written):
    lineage = graph.trace_artifact(_load(written), "/data/penguins/CsvExampleGen/examples/1/rows")
    assert lineage.results == (1,)


@contextlib.contextmanager
def _open(path):
    """An empty database of the schema, and helpers to fill it as other programs do."""
    Metadata(path)
    connection = sqlite3.connect(path)
    with contextlib.closing(connection), connection:
        yield connection.cursor()


def _insert(cursor, table, **columns):
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    cursor.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(columns.values()))
    return cursor.lastrowid


def _fill(cursor, state=3, uri="/data/x", path=((0, None, "model"), (1, 0, None)), kind=4):
    types = [
        _insert(cursor, "Type", name=name, type_kind=number)
        for name, number in (("a.b.Trainer", 0), ("Model", 1), ("pipeline_run", 2))
    ]
    execution = _insert(cursor, "Execution", type_id=types[0], last_known_state=state)
    artifact = _insert(cursor, "Artifact", type_id=types[1], uri=uri, state=None)
    context = _insert(cursor, "Context", type_id=types[2], name="run-1")
    _insert(cursor, "Association", context_id=context, execution_id=execution)
    event = _insert(cursor, "Event", artifact_id=artifact, execution_id=execution, type=kind)
    for is_index, index, key in path:
        _insert(
            cursor,
            "EventPath",
            event_id=event,
            is_index_step=is_index,
            step_index=index,
            step_key=key,
        )
    return context


@pytest.mark.parametrize("state", [None, 0, 1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("uri", [None, "", "gs://b/c", "relative/path", "/data/x"])
def test_any_state_and_address_is_shown(tmp_path, state, uri):
    with _open(tmp_path / "metadata.sqlite") as cursor:
        _fill(cursor, state, uri)
    metadata = _load(tmp_path)
    (run,) = metadata.list_runs()
    expected = {0: "UNKNOWN", 5: "COMPLETE"}.get(state or 0, State(state or 0).name)
    assert run.state.name == expected and run.pipeline == ""
    shown = lineage_text.format_tree(graph.trace_run(metadata, run.id))
    assert "by Trainer (a.b.Trainer), execution 1" in shown or state == 5
    assert page.format_page(graph.trace_run(metadata, run.id))


@pytest.mark.parametrize("kind", [4, 1, 6])
@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ((), [""]),
        (((0, None, "model"),), ["model"]),
        (((1, 0, None),), [""]),
        (((0, None, "model"), (1, 0, None)), ["model"]),
        (((0, None, "b"), (1, 1, None), (0, None, "a"), (1, 0, None)), ["a", "b"]),
    ],
)
def test_events_without_keys_or_indexes_are_shown(tmp_path, kind, path, keys):
    with _open(tmp_path / "metadata.sqlite") as cursor:
        _fill(cursor, path=path, kind=kind)
    metadata = _load(tmp_path)
    assert sorted(metadata.get_execution(1).outputs) == keys
    assert metadata.find_producer(1).id == 1
    assert graph.trace_run(metadata, "run-1").results == (1,)


def test_a_run_without_executions_and_with_properties(tmp_path):
    with _open(tmp_path / "metadata.sqlite") as cursor:
        kind = _insert(cursor, "Type", name="pipeline_run", type_kind=2)
        context = _insert(cursor, "Context", type_id=kind, name="run-1")
        _insert(
            cursor,
            "ContextProperty",
            context_id=context,
            name="pipeline_name",
            is_custom_property=0,
            string_value="old",
        )
    (run,) = _load(tmp_path).list_runs()
    assert (run.pipeline, run.state) == ("old", State.UNKNOWN)
    assert lineage_text.format_tree(graph.trace_run(_load(tmp_path), run.id))


@pytest.mark.parametrize("number", ["9" * 19, "9" * 21, "0" * 30 + "1", "1" * 5000])
def test_an_id_of_many_digits_is_one_line(written, number):
    done = subprocess.run(
        [sys.executable, "-m", "bin.show_lineage", str(written), f"--artifact={number}"],
        text=True,
        capture_output=True,
    )
    assert done.returncode == 1 and len(done.stderr) < 400
    assert re.fullmatch(r"Error: .*\n", done.stderr), done.stderr


def test_our_own_events_are_read_as_before(tmp_path):
    with _open(tmp_path / "metadata.sqlite") as cursor:
        database.insert_events(cursor, 1, database.INPUT_EVENT, {"b": [3, 2], "a": [2], "c": [4]})
        read = database.read_events(cursor, 1, database.INPUT_EVENT)
    assert read == {"a": [2], "b": [3, 2], "c": [4]}
