"""ML Metadata itself reads our database, in a process of its own.

It is installed for this test alone and without its dependencies, because these conflict with
TensorFlow's.
"""

import json
import os
import subprocess
import sys

import pytest

from qup.orchestration import (
    Artifact,
    In,
    LocalRunner,
    Metadata,
    MetadataReader,
    Out,
    State,
    component,
)

_PACKAGE = "ml-metadata==1.17.1"


class Examples(Artifact):
    pass


class Model(Artifact):
    pass


@component
def ExampleGen(examples: Out[Examples], *, dataset: str = "toy") -> None:
    (examples.path / "rows").write_text("1 2 3")


@component
def Trainer(
    examples: In[Examples],
    model: Out[Model],
    *,
    epochs: int = 3,
    rate: float = 0.25,
    fused: bool = True,
    sizes: list[int] = [1, 2],  # noqa: B006
) -> None:
    model.properties.update(accuracy=0.5, name="größer", good=True, steps=7)


@component
def Reporter(models: In[list[Model]], best: In[Model], out: Out[Model]) -> None:
    pass


_QUESTIONS = """
import json, sys
from google.protobuf import json_format
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb

def connect(path, mode):
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = path
    config.sqlite.connection_mode = mode
    return metadata_store.MetadataStore(config)

path, fresh = sys.argv[1:]
connect(fresh, 3)
READONLY, READWRITE, READWRITE_OPENCREATE = 1, 2, 3
for mode in (READWRITE, READWRITE_OPENCREATE, READONLY):
    store = connect(path, mode)

def plain(messages):
    return [json_format.MessageToDict(
        m, preserving_proto_field_name=True) for m in messages]

executions = store.get_executions()
options = pb.LineageSubgraphQueryOptions(
    starting_artifacts=pb.LineageSubgraphQueryOptions.StartingNodes(
        filter_query="uri = 'Reporter/out/4'"),
    max_num_hops=20,
    direction=pb.LineageSubgraphQueryOptions.UPSTREAM)
graph = store.get_lineage_subgraph(options)
print(json.dumps({
    "artifacts": plain(store.get_artifacts()),
    "models": plain(store.get_artifacts_by_type("Model")),
    "uri": plain(store.get_artifacts_by_uri("ExampleGen/examples/1")),
    "executions": plain(executions),
    "trained": plain(store.get_executions(metadata_store.ListOptions(
        filter_query="custom_properties.epochs.int_value = 3"))),
    "events": plain(store.get_events_by_execution_ids(
        [e.id for e in executions])),
    "contexts": plain(store.get_contexts()),
    "run": plain(store.get_executions_by_context(
        store.get_contexts_by_type("pipeline_run")[0].id)),
    "graph": {
        "artifacts": sorted(a.id for a in graph.artifacts),
        "executions": sorted(e.id for e in graph.executions),
        "events": len(graph.events)},
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ml_metadata")
    install = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--disable-pip-version-check",
            "--target",
            folder,
            _PACKAGE,
        ],
        capture_output=True,
        text=True,
    )
    if install.returncode:
        reason = install.stderr.strip().splitlines()[-1:]
        # Where nothing may be left out, as in .ci/run, this is a failure.
        strict = os.environ.get("QUP_SKIP_NOTHING")
        leave = pytest.fail if strict else pytest.skip
        leave(f"{_PACKAGE} cannot be installed: {reason}")
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("lineage") / "a Würzel"
    gen = ExampleGen()
    trainers = [
        Trainer(examples=gen.outputs["examples"], epochs=n).with_id(f"T{n}") for n in (3, 4)
    ]
    models = [trainer.outputs["model"] for trainer in trainers]
    nodes = [gen, *trainers, Reporter(models=models, best=models[1])]
    metadata = Metadata(root / "metadata.sqlite")
    for _ in range(2):
        LocalRunner(root, metadata).run(nodes, pipeline="toys")
    return root


@pytest.fixture(scope="module")
def answers(installed, root):
    result = subprocess.run(
        [sys.executable, "-c", _QUESTIONS, root / "metadata.sqlite", root / "fresh.sqlite"],
        env={"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_ml_metadata_finds_artifacts(answers):
    examples, *models = answers["artifacts"]
    assert examples["uri"] == "ExampleGen/examples/1"
    assert examples["type"] == "Examples" and examples["state"] == "LIVE"
    assert len(examples["properties"]["digest"]["string_value"]) == 64
    assert answers["models"] == models and len(models) == 3
    assert answers["uri"] == [examples]
    assert models[0]["custom_properties"] == {
        "accuracy": {"double_value": 0.5},
        "name": {"string_value": "größer"},
        "good": {"bool_value": True},
        "steps": {"int_value": "7"},
    }


def test_ml_metadata_finds_executions_and_runs(answers):
    executions = answers["executions"]
    states = [execution["last_known_state"] for execution in executions]
    assert states == ["COMPLETE"] * 4 + ["CACHED"] * 4
    types = [execution["type"] for execution in executions]
    assert types == ["ExampleGen", "Trainer", "Trainer", "Reporter"] * 2
    held = executions[1]["properties"]
    assert json.loads(held["parameters"]["string_value"]) == {
        "epochs": 3,
        "rate": 0.25,
        "fused": True,
        "sizes": [1, 2],
    }
    assert executions[1]["custom_properties"] == {
        "epochs": {"int_value": "3"},
        "rate": {"double_value": 0.25},
        "fused": {"bool_value": True},
    }
    assert [e["id"] for e in answers["trained"]] == ["2", "6"]
    assert sorted(e["id"] for e in answers["run"]) == list("1234")
    kinds = {context["type"] for context in answers["contexts"]}
    assert kinds == {"pipeline", "pipeline_run", "node", "execution_cache"}


def test_ml_metadata_finds_events_with_their_keys(answers):
    paths = {
        (event["execution_id"], event["type"], event["artifact_id"]): [
            step.get("key", step.get("index")) for step in event["path"]["steps"]
        ]
        for event in answers["events"]
    }
    assert len(paths) == 2 * 8
    assert paths["2", "INPUT", "1"] == ["examples", "0"]
    assert paths["2", "OUTPUT", "2"] == ["model", "0"]
    assert paths["4", "INPUT", "2"] == ["models", "0"]
    assert paths["4", "INPUT", "3"] == ["models", "1", "best", "0"]
    assert paths["8", "OUTPUT", "4"] == ["out", "0"]


def test_ml_metadata_follows_the_lineage(answers):
    graph = answers["graph"]
    assert graph["artifacts"] == [1, 2, 3, 4]
    assert set(graph["executions"]) >= {1, 2, 3, 4}
    assert graph["events"] >= 8


def test_ml_metadata_creates_the_same_schema(answers, root):
    ours, theirs = (_form(root / name) for name in ("metadata.sqlite", "fresh.sqlite"))
    assert ours == theirs


def _form(path):
    def rows(query):
        with MetadataReader(path).transaction(write=False) as cursor:
            return sorted(cursor.execute(query).fetchall())

    names = "FROM sqlite_master WHERE type = "
    return {
        "tables": {
            table: rows(f"PRAGMA table_info('{table}')")
            for (table,) in rows(f"SELECT name {names} 'table'")
        },
        "indexes": rows(
            "SELECT master.name, tbl_name, column.seqno, column.name "
            "FROM sqlite_master AS master, "
            "pragma_index_info(master.name) AS column "
            "WHERE master.type = 'index'"
        ),
        "version": rows("SELECT * FROM MLMDEnv"),
        "types": rows("SELECT name, type_kind FROM Type WHERE name LIKE 'mlmd.%'"),
    }


def test_second_run_is_cached(root):
    metadata = MetadataReader(root / "metadata.sqlite")
    assert [run.state for run in metadata.list_runs()] == [State.COMPLETE] * 2
