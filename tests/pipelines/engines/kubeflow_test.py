"""The whole package tfx: BeamDagRunner, and the specification for Kubeflow, executed step by step.

The specification is read by Kubeflow's own package; its containers are run in this process, on a
store that stands for gs://.
"""

import json
import os

import pytest
import tensorflow as tf

from qup.pipelines.engines import kubeflow_step, steps
from tests.pipelines.engines.steps_test import store as store
from tests.pipelines.engines.tfx_test import check_error, install_requirements, run_python

pytestmark = pytest.mark.exhaustive

_FLAGS = ("-m", "bin.run_ifa", "--dataset=digits", "--smoke")
_STORE_ROOT = "store://bucket/ifa"
_PARSE = """
import sys
from kfp import components
component = components.load_component_from_file(sys.argv[1])
print(component.name, len(component.pipeline_spec.root.dag.tasks))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return install_requirements("requirements-tfx-full.txt", tmp_path_factory.mktemp("tfx"))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """measurements.csv of the built-in runner."""
    workdir = tmp_path_factory.mktemp("own") / "run"
    run_python(os.environ, *_FLAGS, f"--workdir={workdir}")
    return (workdir / "measurements.csv").read_bytes()


def test_the_pipeline_on_beam(environment, table, tmp_path):
    done = run_python(environment, *_FLAGS, f"--workdir={tmp_path}", "--engine=tfx-beam")
    assert (tmp_path / "measurements.csv").read_bytes() == table
    assert "Trainer.epoch-2: complete in" in done.stderr
    # The package has TFX's own artifact types.
    shown = run_python(os.environ, "-m", "bin.show_lineage", tmp_path).stdout
    assert "Examples 1  ExampleGen/examples/1" in shown and "qup.Examples" not in shown
    assert "qup.Deltas" in shown
    flags = [*_FLAGS, f"--workdir={tmp_path}", "--engine=tfx-beam"]
    assert "Trainer.epoch-2: reused by TFX" in run_python(environment, *flags).stderr
    # Beam passes on no exceptions, only their texts.
    check_error(environment, tmp_path, flags)


def test_the_specification_computes_the_same(environment, table, tmp_path, store):
    path = tmp_path / "ifa.yaml"
    done = run_python(
        environment,
        *_FLAGS,
        f"--workdir={tmp_path / 'w'}",
        *("--engine=kubeflow", "--image=registry/qup:1", f"--output={path}"),
        "--cluster_root=gs://bucket/ifa/",
    )
    assert done.stdout.startswith(f"Wrote {path}: 13 steps in the image registry/qup:1")
    assert run_python(environment, "-c", _PARSE, path).stdout.split() == ["ifa", "13"]
    text = path.read_text()
    assert str(tmp_path) not in text
    specification = json.loads(text.replace("gs://bucket/ifa", _STORE_ROOT))
    assert specification["schemaVersion"] == "2.1.0"
    assert specification["defaultPipelineRoot"] == _STORE_ROOT
    tasks = specification["root"]["dag"]["tasks"]
    uncached = {name for name, task in tasks.items() if "cachingOptions" not in task}
    assert uncached == {"pusher-classifier-epoch-2", "pusher-augmented-classifier-epoch-2"}
    outputs = _execute(specification)
    report = store / outputs["reporter"]["report"]["uri"].removeprefix("store://")
    assert (report / "measurements.csv").read_bytes() == table
    served = store / "bucket/ifa/workdir/serving/classifier/2"
    assert tf.saved_model.contains_saved_model(str(served))


def _execute(specification):
    """Runs the command of each task as Kubeflow does; returns the artifacts of each task."""
    tasks = specification["root"]["dag"]["tasks"]
    outputs = {}

    def execute(name):
        if name in outputs:
            return
        task = tasks[name]
        for producer in task.get("dependentTasks", ()):
            execute(producer)
        declared = specification["components"][task["componentRef"]["name"]]
        container = specification["deploymentSpec"]["executors"][declared["executorLabel"]]
        request = _build_request(name, task, declared, outputs)
        command = container["container"]["command"] + container["container"]["args"]
        assert command[:3] == ["python", "-m", kubeflow_step.__name__]
        arguments = [json.dumps(request) if word == "{{$}}" else word for word in command[3:]]
        assert kubeflow_step.main(arguments) == 0
        with steps.gfile.GFile(request["outputs"]["outputFile"], "r") as file:
            produced = json.loads(file.read())["artifacts"]
        outputs[name] = {key: listed["artifacts"][0] for key, listed in produced.items()}

    for name in tasks:
        execute(name)
    return outputs


def _build_request(name, task, declared, outputs):
    folder = f"{_STORE_ROOT}/run-1/{name}"
    parameters = task["inputs"]["parameters"]
    artifacts = {
        key: value["taskOutputArtifact"]
        for key, value in task["inputs"].get("artifacts", {}).items()
    }
    return {
        "inputs": {
            "parameterValues": {k: v["runtimeValue"]["constant"] for k, v in parameters.items()},
            "artifacts": {
                key: {"artifacts": [outputs[a["producerTask"]][a["outputArtifactKey"]]]}
                for key, a in artifacts.items()
            },
        },
        "outputs": {
            "artifacts": {
                key: {"artifacts": [{"name": f"{name}/{key}", "uri": f"{folder}/{key}"}]}
                for key in declared["outputDefinitions"]["artifacts"]
            },
            "outputFile": f"{folder}/executor_output.json",
        },
    }
