"""What an engine passes to a component, without TFX and Kubeflow."""

import json
import os
import pathlib
import signal
import types

import pytest
import tensorflow as tf

from qup.core.errors import InputError
from qup.orchestration import Artifact, In, Location, Out, PipelineError, StatefulDir, component
from qup.orchestration.artifacts import find_damage
from qup.orchestration.records import (
    ARTIFACT_KEY,
    decode_artifact,
    encode_artifact,
    encode_parameters,
)
from qup.pipelines.components.trainer import Trainer
from qup.pipelines.engines import kubeflow_step, steps

_STORE = "store://bucket"


class Numbers(Artifact):
    pass


class Total(Artifact):
    pass


@component
def Writer(  # noqa: N802
    numbers: Out[Numbers],
    *,
    count: int,
    sizes: tuple[int, ...] = (),
    scratch_dir: Location[str | None] = None,
) -> None:
    (numbers.path / "sub").mkdir()
    (numbers.path / "sub" / "numbers.txt").write_text(" ".join(map(str, range(count))))
    numbers.properties.update(count=count, even=count % 2 == 0, mean=(count - 1) / 2, name="n")
    if scratch_dir:
        (pathlib.Path(scratch_dir) / f"{count}.log").write_text(repr(sizes))


@component
def Adder(  # noqa: N802
    numbers: In[list[Numbers]],
    first: In[Numbers],
    total: Out[Total],
    state: StatefulDir,
    extra: In[Numbers] = None,
    *,
    destination: str,
) -> None:
    seen = [(n.path / "sub" / "numbers.txt").read_text().split() for n in numbers]
    total.properties["total"] = sum(int(x) for words in seen for x in words)
    (total.path / "order.txt").write_text(" ".join(str(len(words)) for words in seen))
    assert extra is None and first.properties["even"] is True
    folder = pathlib.Path(destination)
    (folder / "versions.txt").write_text(" ".join(sorted(p.name for p in folder.iterdir())))
    marker = state / "begun"
    if not marker.exists():
        marker.write_text("half of the work")
        raise RuntimeError("killed")


def _build_nodes(scratch_dir=None, destination="/w/serving"):
    writers = [
        Writer(count=n, sizes=(n, 1), scratch_dir=scratch_dir).with_id(f"Writer.{n}")
        for n in range(2, 14)
    ]
    outputs = [writer.outputs["numbers"] for writer in writers]
    adder = Adder(numbers=outputs, first=outputs[0], destination=destination)
    return writers, adder


def test_a_list_of_inputs_is_a_numbered_set_and_back():
    writers, adder = _build_nodes()
    channels = steps.name_inputs(adder)
    assert list(channels) == [*(f"numbers_{n}" for n in range(12)), "first"]
    assert channels["numbers_3"].producer is writers[3]
    artifacts = {name: Numbers(uri=f"/{c.producer.id}") for name, c in channels.items()}
    # Another order, as from a dictionary that was sorted by name: numbers_10 before numbers_2.
    groups = steps.group_inputs(Adder, dict(sorted(artifacts.items())))
    assert [a.uri for a in groups["numbers"]] == [f"/Writer.{n}" for n in range(2, 14)]
    assert [a.uri for a in groups["first"]] == ["/Writer.2"]


@pytest.mark.parametrize("name", ["other", "first_0", "numbers_x", "numbers", "_3"])
def test_an_input_of_another_version_is_one_line(name):
    if name == "numbers":
        assert steps.parse_input_name(Adder, name) == ("numbers", 0)
        return
    with pytest.raises(InputError, match=f"Adder has no input '{name}'"):
        steps.group_inputs(Adder, {name: Numbers(uri="/x")})


def test_parameters_return_in_their_types():
    (writer, *_), _ = _build_nodes()
    texts = encode_parameters(writer.parameters)
    assert texts == {"count": "2", "sizes": "[2, 1]", "scratch_dir": "null"}
    assert steps.decode_parameters(Writer, {**texts, "qup_code": "no JSON"}) == {
        "count": 2,
        "sizes": (2, 1),
        "scratch_dir": None,
    }
    with pytest.raises(PipelineError, match=r"'count' of Writer: expected int, received 2\.5"):
        steps.decode_parameters(Writer, {"count": "2.5"})


def test_a_component_is_found_by_its_name():
    path = steps.get_component_path(Trainer)
    assert path == "qup.pipelines.components.trainer.Trainer"
    assert steps.import_component(path) is Trainer
    for wrong in ("qup.pipelines.components.trainer.Other", "no.such.Trainer", "Trainer", "json"):
        with pytest.raises(InputError, match=f"There is no component '{wrong}'"):
            steps.import_component(wrong)


def test_only_whole_folders_are_replaced():
    value = {"a": "/w/x", "b": ["/w", "/work/x", 3, None], "c": ("/w/y/z", True)}
    assert steps.replace_prefix(value, "/w", "{workdir}") == {
        "a": "{workdir}/x",
        "b": ["{workdir}", "/work/x", 3, None],
        "c": ("{workdir}/y/z", True),
    }
    folders = steps.list_folders(
        {"a": "s://r/x", "b": ("s://r/y", 1, None), "c": "s://rest"}, "s://r"
    )
    assert folders == ["s://r/x", "s://r/y"]


def test_an_artifact_keeps_what_an_engine_cannot_hold(tmp_path):
    (tmp_path / "x").write_text("1")
    outputs = steps.run_step(
        Writer, {"count": 4}, {}, {"numbers": str(tmp_path / "out")}, str(tmp_path / "state")
    )
    properties = encode_artifact(outputs["numbers"])
    assert {k: v for k, v in properties.items() if k != ARTIFACT_KEY} == {
        "count": 4,
        "even": 1,
        "mean": 1.5,
        "name": "n",
    }
    assert {type(v) for v in properties.values()} == {int, float, str}
    # Engines may return numbers as floats.
    changed = {k: float(v) if isinstance(v, int) else v for k, v in properties.items()}
    artifact = decode_artifact(Numbers, outputs["numbers"].uri, changed, id=7)
    assert artifact.id == 7 and artifact.properties == outputs["numbers"].properties
    assert artifact.properties["even"] is True and type(artifact.properties["count"]) is int
    assert artifact.digest == outputs["numbers"].digest and len(artifact.digest) == 64
    assert find_damage(artifact.path, artifact.manifest)[0] == ""
    os.truncate(artifact.path / "sub" / "numbers.txt", 2)
    assert "has 2 bytes instead of 7" in find_damage(artifact.path, artifact.manifest)[0]
    foreign = decode_artifact(Numbers, "/x", {"blessed": 1})
    assert foreign.properties == {"blessed": 1} and foreign.digest == ""


def test_unfinished_work_is_named_by_what_determines_it():
    def name(component="a.B", texts=None, **fields):
        return steps.compute_state_name(
            component, texts or {"x": "1"}, {"i": Numbers(**{"uri": "/1", "digest": "d"} | fields)}
        )

    assert name() == name(uri="/2", id=5)
    others = [name("a.C"), name(texts={"x": "2"}), name(digest="e"), name(digest="", id=1)]
    assert len({name(), *others}) == 5


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store of another machine, as gs:// is one: its files are in the folder that is returned."""
    folder = tmp_path / "store"
    real = tf.io.gfile

    def to_local(uri):
        return str(uri).replace("store://", f"{folder}/")

    def walk(top, topdown=True):
        for path, folders, names in real.walk(to_local(top), topdown):
            yield path.replace(f"{folder}/", "store://"), folders, names

    monkeypatch.setattr(
        steps,
        "gfile",
        types.SimpleNamespace(
            GFile=lambda path, mode: real.GFile(to_local(path), mode),
            copy=lambda a, b, overwrite: real.copy(to_local(a), to_local(b), overwrite),
            isdir=lambda path: real.isdir(to_local(path)),
            makedirs=lambda path: real.makedirs(to_local(path)),
            rmtree=lambda path: real.rmtree(to_local(path)),
            walk=walk,
        ),
    )
    return folder


def _build_request(node, name, artifacts):
    """The ExecutorInput of a node, as Kubeflow fills it in."""
    parameters = steps.replace_prefix(node.parameters, "/w", steps.WORKDIR)
    component = node.component
    return {
        "inputs": {
            "parameterValues": {
                **encode_parameters(parameters),
                "qup_component": steps.get_component_path(component),
                "qup_code": "c0de",
            },
            "artifacts": {
                key: {"artifacts": [artifacts[channel.producer.id]]}
                for key, channel in steps.name_inputs(node).items()
            },
        },
        "outputs": {
            "artifacts": {
                key: {"artifacts": [{"name": f"n/{key}", "uri": f"{_STORE}/run/{name}/{key}"}]}
                for key in node.outputs
            },
            "outputFile": f"{_STORE}/run/{name}/executor_output.json",
        },
    }


def _read_artifact(store, name, key):
    text = (store / "bucket/run" / name / "executor_output.json").read_text()
    return json.loads(text)["artifacts"][key]["artifacts"][0]


def test_the_steps_of_a_cluster_share_a_store(store):
    root = f"{_STORE}/ifa"
    writers, adder = _build_nodes(scratch_dir="/w/scratch")
    artifacts = {}
    for writer in writers:
        kubeflow_step.run(_build_request(writer, writer.id, {}), root)
        artifacts[writer.id] = _read_artifact(store, writer.id, "numbers")
    assert artifacts["Writer.2"]["name"] == "n/numbers"
    assert artifacts["Writer.2"]["uri"] == f"{_STORE}/run/Writer.2/numbers"
    assert artifacts["Writer.2"]["metadata"]["even"] == 1
    logs = store / "bucket/ifa/workdir/scratch"
    assert {p.name for p in logs.iterdir()} == {f"{n}.log" for n in range(2, 14)}
    assert (logs / "5.log").read_text() == "(5, 1)"

    served = store / "bucket/ifa/workdir/serving"
    served.mkdir()
    (served / "1").write_text("of an earlier run")
    unchanged = (served / "1").stat().st_mtime_ns
    request = _build_request(adder, "Adder", artifacts)
    # The first attempt fails after half of its work, which is in the store and not lost.
    with pytest.raises(RuntimeError, match="killed"):
        kubeflow_step.run(request, root)
    (state,) = (store / "bucket/ifa/.system/stateful_working_dir").iterdir()
    assert (state / "begun").read_text() == "half of the work"
    assert not (store / "bucket/run/Adder").exists()
    kubeflow_step.run(request, root)
    assert not state.exists()
    assert _read_artifact(store, "Adder", "total")["metadata"]["total"] == sum(
        sum(range(n)) for n in range(2, 14)
    )
    order = store / "bucket/run/Adder/total/order.txt"
    assert order.read_text() == " ".join(map(str, range(2, 14)))
    assert (served / "versions.txt").read_text() == "1"
    assert (served / "1").stat().st_mtime_ns == unchanged


def test_the_model_file_is_copied_after_what_it_needs(store, tmp_path, monkeypatch):
    copied = []
    real = steps.gfile.copy
    monkeypatch.setattr(steps.gfile, "copy", lambda *a: (copied.append(a[1]), real(*a)))
    with steps.Staging() as staging:
        folder = staging.open(f"{_STORE}/m")
        (folder / "variables").mkdir()
        for name in ("saved_model.pb", "fingerprint.pb", "variables/variables.index"):
            (folder / name).write_text(name)
        staging.upload(f"{_STORE}/m")
        assert [c.rpartition("/")[2] for c in copied] == [
            "variables.index",
            "fingerprint.pb",
            "saved_model.pb",
        ]
        copied.clear()
    with steps.Staging() as staging:
        (staging.open(f"{_STORE}/m") / "fingerprint.pb").write_text("longer than before")
        copied.clear()
        staging.upload(f"{_STORE}/m")
        assert [c.rpartition("/")[2] for c in copied] == ["fingerprint.pb"]


def test_an_error_of_a_step_is_one_line(capsys):
    request = _build_request(_build_nodes()[0][0], "Writer", {})
    request["inputs"]["parameterValues"]["qup_component"] = "qup.Gone"
    arguments = [
        f"--root={_STORE}",
        "--executor_class_path=x",
        f"--json_serialized_invocation_args={json.dumps(request)}",
    ]
    handler = signal.getsignal(signal.SIGTERM)
    try:
        assert kubeflow_step.main(arguments) == 1
    finally:
        signal.signal(signal.SIGTERM, handler)
    error = capsys.readouterr().err
    assert error.startswith("Error: There is no component 'qup.Gone'") and error.count("\n") == 1
