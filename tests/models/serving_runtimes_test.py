"""Exported classifiers in the real runtimes, which pip installs next to this environment."""

import concurrent.futures
import functools
import json
import pathlib
import subprocess

import numpy as np
import pytest

from qup import augmentation, datasets, models
from qup.models import pix2pix, saving
from qup.models.serving import exports, requests, runtimes
from tests import environments

pytestmark = pytest.mark.slow
_ROOT = pathlib.Path(__file__).parents[2]
_PACKAGES = {
    "runtimes": ("openvino", "onnxruntime", "tf2onnx", "ai-edge-litert", "tensorflow-serving-api"),
    "kserve": ("kserve==0.21.0",),
}
_NAMES = ("classifier", "augmented")


def _run(*command, **options):
    return subprocess.run([*map(str, command)], text=True, capture_output=True, **options)


@pytest.fixture(scope="session")
def install(tmp_path_factory):
    """Returns a function that makes an environment with packages and with those of this one."""

    @functools.cache
    def make(name):
        return environments.create(tmp_path_factory.mktemp(name), *_PACKAGES[name])

    return make


@pytest.fixture(scope="module")
def networks():
    """A classifier, and the same behind a translator, with statistics that are not the initial."""
    data = datasets.load("digits")
    classifier = models.build("resnet", data.info, seed=1, depth=20, width=0.25)
    translator = pix2pix.build_unet(data.info.image_shape, width=8)
    images = data.get_arrays("test")[0][:64] / np.float32(255)
    for network in (classifier, translator):
        network(images, training=True)
    return dict(
        zip(_NAMES, (classifier, augmentation.combine(classifier, translator)), strict=True)
    )


@pytest.fixture(scope="module")
def exported(networks, tmp_path_factory):
    """The folder of each model's version, with its requests and warm-up requests."""
    folder = tmp_path_factory.mktemp("exported")
    images = datasets.load("digits").get_arrays("test")[0]
    for name, network in networks.items():
        saving.export_saved_model(network, folder / name)
        asked = requests.build_requests(lambda x, n=network: n(x, training=False), images)
        requests.write_requests(asked, folder / name)
        requests.write_warmup_requests(asked, folder / name)
    return folder


@pytest.mark.parametrize("name", _NAMES)
@pytest.mark.parametrize("runtime", runtimes.LOCAL_RUNTIMES)
def test_each_runtime_answers_as_keras_does(exported, install, name, runtime, tmp_path):
    python = install("runtimes")
    # The whole of it runs where the packages are: the conversion, too.
    code = (
        "import dataclasses, json, pathlib, sys\n"
        "from qup.models.serving import requests, runtimes\n"
        "path = pathlib.Path(sys.argv[2])\n"
        "check = runtimes.check_runtime(sys.argv[1], path, requests.read_requests(path))\n"
        "print(json.dumps(dataclasses.asdict(check)))"
    )
    done = _run(python, "-c", code, runtime, exported / name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    check = json.loads(done.stdout.splitlines()[-1])
    assert check["state"] == "passed" and check["num_agreeing"] == 72, check
    assert check["version"] and max(check["differences"].values()) < 1e-4


@pytest.mark.parametrize("name", _NAMES)
def test_kserve_answers_as_keras_does(exported, install, name):
    asked = requests.read_requests(exported / name)
    check = runtimes.check_runtime("kserve", exported / name, asked, python=install("kserve"))
    assert (check.state, check.version) == ("passed", "0.21.0"), check.reason


def test_another_model_in_a_runtime_fails(exported, install):
    asked = requests.read_requests(exported / "classifier")
    other = requests.Requests(asked.images, np.roll(asked.logits, 1, axis=-1))
    check = runtimes.check_runtime(
        "openvino", exported / "classifier", other, python=install("runtimes")
    )
    assert check.state == "failed" and "images get another class" in check.reason


def test_without_the_hint_openvino_is_found_out(exported, install, monkeypatch):
    """On processors with bfloat16; elsewhere its default is float32, and passes."""
    source = runtimes.inspect.getsource(runtimes.worker)
    changed = source.replace('options = {"INFERENCE_PRECISION_HINT": "f32"}', "options = {}")
    assert changed != source
    monkeypatch.setattr(runtimes.inspect, "getsource", lambda module: changed)
    asked = requests.read_requests(exported / "classifier")
    python = install("runtimes")
    check = runtimes.check_runtime("openvino", exported / "classifier", asked, python=python)
    code = "import openvino; print('BF16' in openvino.Core().get_property('CPU', "
    code += "'OPTIMIZATION_CAPABILITIES'))"
    has_bfloat16 = _run(python, "-c", code).stdout.strip() == "True"
    assert check.state == ("failed" if has_bfloat16 else "passed"), check


@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_exports_are_in_a_version_and_are_what_is_checked(exported, install, name, tmp_path):
    python = install("runtimes")
    code = "import sys; from qup.models.serving import exports; exports.convert(*sys.argv[1:])"
    file = tmp_path / exports.FILES[name]
    done = _run(python, "-c", code, exported / "classifier", name, file)
    assert done.returncode == 0, done.stderr
    asked = requests.read_requests(exported / "classifier")
    runtime = runtimes.RUNTIME_OF_EXPORT[name]
    options = {"python": python, "exported": tmp_path}
    check = runtimes.check_runtime(runtime, exported / "classifier", asked, **options)
    assert check.state == "passed", check.reason
    file.write_bytes(file.read_bytes()[:100])
    check = runtimes.check_runtime(runtime, exported / "classifier", asked, **options)
    assert check.state == "failed" and check.reason


# A PredictionService over gRPC as TensorFlow Serving has it, the client of docs/serving.md, and the
# warm-up requests as tensorflow-serving-api reads them.
_GRPC = """
import json, pathlib, re, sys
from concurrent import futures
import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    predict_pb2, prediction_log_pb2, prediction_service_pb2_grpc)

path, document = sys.argv[1:]
model = tf.saved_model.load(path)

class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    def Predict(self, request, context):
        assert request.model_spec.name in ("", "classifier")
        signature = model.signatures[request.model_spec.signature_name]
        (name,) = request.inputs
        outputs = signature(**{name: tf.constant(tf.make_ndarray(request.inputs[name]))})
        response = predict_pb2.PredictResponse()
        for key, value in outputs.items():
            response.outputs[key].CopyFrom(tf.make_tensor_proto(value.numpy()))
        return response

server = grpc.server(futures.ThreadPoolExecutor(1))
prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
channel = grpc.insecure_channel(f"127.0.0.1:{port}")
stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

def ask(images, signature, output):
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    request.inputs["image"].CopyFrom(tf.make_tensor_proto(images))
    return tf.make_ndarray(stub.Predict(request).outputs[output])

arrays = np.load(f"{path}/assets.extra/qup-requests.npz")
images, logits = arrays["images"] / np.float32(255), arrays["logits"]
greatest, start = 0.0, 0
for size in (1, 7, 64):
    batch, expected = images[start:start + size], logits[start:start + size]
    start += size
    for signature in ("serving_default", "serve", "predict"):
        answer = ask(batch, signature, "logits")
        assert (answer.argmax(-1) == expected.argmax(-1)).all()
        greatest = max(greatest, float(np.abs(answer - expected).max()))
    probabilities = ask(batch, "predict", "probabilities")
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)

signatures = []
records = tf.data.TFRecordDataset(f"{path}/assets.extra/tf_serving_warmup_requests")
for record in records.as_numpy_iterator():
    log = prediction_log_pb2.PredictionLog.FromString(record)
    assert log.WhichOneof("log_type") == "predict_log"
    request = log.predict_log.request
    signatures.append(request.model_spec.signature_name)
    np.testing.assert_array_equal(tf.make_ndarray(request.inputs["image"]), images[:1])
    assert stub.Predict(request).outputs["logits"].tensor_shape.dim[0].size == 1

text = pathlib.Path(document).read_text()
(example,) = [b for b in re.findall("```python\\n(.*?)```", text, re.DOTALL) if "import grpc" in b]
assert "localhost:8500" in example
exec(example.replace("localhost:8500", f"127.0.0.1:{port}"))
print(json.dumps([greatest, signatures]))
"""


@pytest.mark.parametrize("name", _NAMES)
def test_a_prediction_service_answers_as_keras_does(exported, install, name):
    python, document = install("runtimes"), _ROOT / "docs" / "serving.md"
    done = _run(python, "-c", _GRPC, exported / name, document)
    assert done.returncode == 0, done.stderr
    greatest, signatures = json.loads(done.stdout.splitlines()[-1])
    assert greatest < 1e-4 and signatures == ["serving_default", "serve", "predict"]


def test_two_checks_at_once_do_not_meet(exported, install):
    """KServe's workers choose ports, and each has temporary files of its own."""
    asked = requests.read_requests(exported / "classifier")
    arguments = ("kserve", exported / "classifier", asked)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        python = install("kserve")
        jobs = [pool.submit(runtimes.check_runtime, *arguments, python=python) for _ in range(2)]
        assert [job.result().state for job in jobs] == ["passed", "passed"]
