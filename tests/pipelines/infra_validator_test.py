"""InfraValidator and Pusher: what is compared, what is pushed, and what is not."""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import synthetic
from qup import datasets, models
from qup.core import errors
from qup.core.measurements import ModelInfo
from qup.datasets import examples as example_files
from qup.models import saving
from qup.models.serving import requests as serving_requests
from qup.models.serving import runtimes
from qup.pipelines import config as pipeline_config
from qup.pipelines import defaults, ifa
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import (
    Examples,
    InfraBlessing,
    Model,
    ModelBlessing,
    PushedModel,
)
from qup.pipelines.components.examples import ExampleGen
from qup.pipelines.components.infra_validator import InfraValidator
from qup.pipelines.components.pusher import Pusher

_INFO = ModelInfo(dataset="synthetic", model="convnet", classifier="CL", epochs=0, seed=0)


@pytest.fixture
def make(tmp_path):
    def make_artifact(kind, name=None):
        folder = tmp_path / (name or kind.__name__)
        folder.mkdir(parents=True)
        return kind(uri=str(folder))

    return make_artifact


@pytest.fixture
def examples(make):
    examples = make(Examples)
    source = datasets.load("synthetic").compute_source_digest()
    ExampleGen.fn(examples, dataset="synthetic", source=source)
    return examples


@pytest.fixture
def model(make, examples):
    info = example_files.read(examples.path).info
    model = make(Model)
    artifacts.save_classifier(models.build("convnet", info, seed=1), _INFO, model)
    return model


def _validate(make, examples, model, name="first", **options):
    blessing = make(InfraBlessing, f"blessing-{name}")
    options = {"runtimes": ["tensorflow"], "exports": [], "versions": {}, **options}
    InfraValidator.fn(examples, model, blessing, **options)
    return blessing, json.loads((blessing.path / "infra_blessing.json").read_text())


def _push(make, model, infra_blessing, folder, name="first"):
    pushed, blessing = make(PushedModel, f"pushed-{name}"), make(ModelBlessing, f"accuracy-{name}")
    blessing.properties["blessed"] = True
    arguments = {"destination": str(folder), "version": 1}
    Pusher.fn(model, blessing, infra_blessing, pushed, **arguments)
    return pushed.properties["pushed"], json.loads((pushed.path / "pushed.json").read_text())


def test_a_model_that_answers_as_keras_does_is_pushed_with_its_requests(
    make, examples, model, tmp_path
):
    blessing, record = _validate(make, examples, model)
    assert blessing.properties["blessed"] and (blessing.path / "INFRA_BLESSED").exists()
    (check,) = record["checks"]
    assert check["state"] == "passed" and check["version"] == tf.__version__
    assert check["num_agreeing"] == check["num_images"] == 72
    assert set(check["differences"]) == {"1", "7", "64"}
    folder = tmp_path / "serving"
    assert _push(make, model, blessing, folder)[0]
    assert saving.is_intact(folder / "1")
    requests = serving_requests.read_requests(folder / "1")
    images, _, _ = example_files.read(examples.path).get_arrays("test")
    np.testing.assert_array_equal(requests.images[: len(images)], images[:72])
    # The version is not copied again, unless an addition is missing there.
    file = folder / "1" / serving_requests.WARMUP_FILE
    time = file.stat().st_mtime_ns
    _push(make, model, blessing, folder, "second")
    assert file.stat().st_mtime_ns == time
    (blessing.additions / "model.onnx").write_bytes(b"onnx")
    assert _push(make, model, blessing, folder, "third")[1]["version"] == 1
    assert (folder / "1" / "model.onnx").exists() and saving.is_intact(folder / "1")


def _change_weights(network):
    for weight in network.weights:
        weight.assign(-weight)


def _add_to_bias(network):
    network.weights[-1].assign_add([5e-4] + [0] * (network.output_shape[-1] - 1))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(_change_weights, "images get another class", marks=pytest.mark.slow),
        # The accuracy is the same: only the logits show it.
        (_add_to_bias, r"tensorflow: a logit differs by 5\.0e-04, more than 1\.0e-04"),
    ],
)
def test_another_model_in_the_export_is_not_pushed(make, examples, model, tmp_path, change, reason):
    network = artifacts.load_network(model.path)
    change(network)
    saving.export_saved_model(network, model.path / artifacts.SERVING)
    blessing, record = _validate(make, examples, model)
    assert not blessing.properties["blessed"]
    assert (blessing.path / "INFRA_NOT_BLESSED").exists()
    pushed, push_record = _push(make, model, blessing, tmp_path / "serving")
    assert not pushed and not (tmp_path / "serving").exists()
    assert record["reason"] in push_record["reason"]
    assert re.search(reason, push_record["reason"]), push_record["reason"]


@pytest.mark.slow
def test_a_signature_that_differs_is_found(make, examples, model):
    network = artifacts.load_network(model.path)
    spec = [tf.TensorSpec((None, *network.input_shape[1:]), tf.float32, name="image")]
    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint("serve", lambda image: {"logits": network(image)}, spec)
    archive.add_endpoint("predict", lambda image: {"logits": 1 + network(image)}, spec)
    archive.write_out(str(model.path / "other"), verbose=False)
    (model.path / artifacts.SERVING).rename(model.path / "before")
    (model.path / "other").rename(model.path / artifacts.SERVING)
    _, record = _validate(make, examples, model)
    assert "differs by 1.0e+00" in record["reason"]


@pytest.mark.slow
def test_a_damaged_export_is_not_blessed(make, examples, model):
    graph = model.path / artifacts.SERVING / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:50])
    blessing, record = _validate(make, examples, model)
    assert not blessing.properties["blessed"] and record["checks"][0]["state"] == "failed"


def test_a_runtime_that_is_not_installed_blesses_nothing(make, examples, model, monkeypatch):
    monkeypatch.setattr(runtimes, "find_missing", lambda name, python: ["openvino"])
    blessing, record = _validate(make, examples, model, runtimes=["openvino"])
    assert not blessing.properties["blessed"]
    assert "openvino is not installed: pip install 'qup[serving]'" in record["reason"]


def test_logits_that_are_not_finite_bless_nothing(make, examples, model):
    network = artifacts.load_network(model.path)
    network.weights[-1].assign(np.full(network.output_shape[-1], np.nan))
    artifacts.save_network(network, model)
    blessing, record = _validate(make, examples, model)
    assert not blessing.properties["blessed"] and "not finite" in record["reason"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"runtimes": "openvin"}, "Did you mean 'openvino'"),
        ({"runtimes": "kserve"}, "Unknown value of serving.runtimes 'kserve'"),
        ({"runtimes": " "}, "serving.runtimes is empty"),
        ({"exports": "onx"}, "Did you mean 'onnx'"),
    ],
)
def test_wrong_settings_are_refused_before_the_first_step(values, message):
    config = defaults.get_config()
    config.serving.update(values)
    with pytest.raises(errors.InputError, match=message):
        pipeline_config.check_config(config)


def test_settings_of_serving_change_no_identity():
    config = defaults.get_config()
    before = pipeline_config.get_config_identity(config)
    config.serving.exports = "onnx,litert"
    assert pipeline_config.get_config_identity(config) == before
    assert "serving" not in before
    assert pipeline_config.get_serving_exports(config) == ["onnx", "litert"]
    expected = ["tensorflow", "onnxruntime", "litert"]
    assert pipeline_config.get_serving_runtimes(config) == expected


@pytest.mark.slow
def test_a_run_whose_model_no_runtime_confirms_says_so_and_resumes(tmp_path, monkeypatch):
    config = synthetic.get_config("smoke")
    config.workdir = str(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(runtimes, "TOLERANCE", -1.0)
        with pytest.raises(errors.InputError, match=r"pushed nothing.*does not answer as Keras"):
            ifa.run(config)
    assert (tmp_path / "run" / "measurements.csv").exists()
    assert not (tmp_path / "run" / "serving").exists()
    config.enable_cache = False
    assert "classifier/" in ifa.run(config)
    assert list((tmp_path / "run" / "serving").glob("*/*/saved_model.pb"))
