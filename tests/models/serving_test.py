"""Comparisons of runtimes with Keras, and the requests that a SavedModel contains."""

import dataclasses
import http.server
import json
import sys
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup.core import errors, extras
from qup.models import saving
from qup.models.serving import exports, requests, runtimes

_SIZES = requests.BATCH_SIZES


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    return keras.Sequential(layers)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (30, 4, 4, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def asked(classifier, images):
    return requests.build_requests(classifier, images)


@pytest.fixture(scope="module")
def saved_model(classifier, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "classifier"
    saving.export_saved_model(classifier, path)
    return path


def test_requests_are_the_images_in_turn_and_survive_a_file(asked, images, classifier, tmp_path):
    assert asked.images.shape == (72, 4, 4, 1)
    np.testing.assert_array_equal(asked.images[30:60], images)
    requests.write_requests(asked, tmp_path)
    batches = requests.read_requests(tmp_path).split()
    assert [len(x) for x, _ in batches] == list(_SIZES)
    for pixels, logits in batches:
        assert pixels.dtype == logits.dtype == np.float32
        np.testing.assert_allclose(logits, classifier(pixels), atol=1e-6)
    assert requests.read_requests(tmp_path / "another") is None


@pytest.mark.parametrize("content", [b"", b"PK\3\4", None])
def test_damaged_requests_are_reported(asked, content, tmp_path):
    if content is None:
        # Of a future with other batches.
        asked = requests.Requests(asked.images[:9], asked.logits[:9])
    requests.write_requests(asked, tmp_path)
    path = tmp_path / requests.REQUESTS_FILE
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(errors.InputError, match=r"Push the model again"):
        requests.read_requests(tmp_path)


def test_no_images_are_refused(classifier):
    with pytest.raises(errors.InputError, match="no images"):
        requests.build_requests(classifier, np.zeros((0, 4, 4, 1), np.uint8))


def _read_fields(message):
    """Returns [(number, content)] of a message whose fields all have a length."""
    fields = []
    while message:
        key, position, length, shift = message[0], 1, 0, 0
        assert key & 7 == 2
        while True:
            byte = message[position]
            length |= (byte & 127) << shift
            position, shift = position + 1, shift + 7
            if byte < 128:
                break
        fields.append((key >> 3, message[position : position + length]))
        message = message[position + length :]
    return fields


def test_warmup_requests_are_prediction_logs_of_each_signature(asked, tmp_path):
    requests.write_warmup_requests(asked, tmp_path)
    path = tmp_path / "assets.extra" / "tf_serving_warmup_requests"
    signatures = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        ((predict_log, content),) = _read_fields(record)
        ((request, content),) = _read_fields(content)
        (spec, spec_content), (inputs, entry) = _read_fields(content)
        assert (predict_log, request, spec, inputs) == (6, 1, 1, 2)
        ((number, name),) = _read_fields(spec_content)
        assert number == 3
        signatures.append(name.decode())
        (_, key), (_, tensor) = _read_fields(entry)
        proto = tf.make_tensor_proto(0.0)
        proto.ParseFromString(tensor)
        assert key == b"image"
        np.testing.assert_array_equal(tf.make_ndarray(proto), asked.split()[0][0])
    assert signatures == ["serving_default", "serve", "predict"]


def _compare(change=0.0, scale=1.0):
    logits = [scale * np.arange(3 * n, dtype=np.float32).reshape(n, 3) / 200 for n in _SIZES]
    answers = {f"serving_default/{i}": x + np.float32(change) for i, x in enumerate(logits)}
    return answers, logits


def test_differences_are_of_each_size_and_within_a_bound():
    answers, logits = _compare()
    answers["serving_default/1"] = logits[1] + np.float32(5e-5)
    check = runtimes.compare_answers("litert", {"version": np.array("1"), **answers}, logits)
    assert (check.state, check.version, check.reason) == ("passed", "1", "")
    assert check.differences[1] == check.differences[64] == 0
    assert check.differences[7] == pytest.approx(5e-5, rel=1e-2) == check.max_difference
    assert (check.num_agreeing, check.num_images, check.bound) == (72, 72, 1e-4)


@pytest.mark.parametrize(
    ("change", "scale", "state"),
    [(9e-5, 1, "passed"), (2e-4, 1, "failed"), (9e-4, 100, "passed"), (2e-3, 100, "failed")],
)
def test_the_bound_grows_with_logits_above_ten(change, scale, state):
    answers, logits = _compare(change, scale)
    check = runtimes.compare_answers("litert", {"version": np.array(""), **answers}, logits)
    assert check.state == state and (state == "passed" or "a logit differs by" in check.reason)
    # InfraValidator writes it as JSON.
    assert json.loads(json.dumps(dataclasses.asdict(check)))["bound"] == check.bound


def test_another_class_fails_within_the_bound():
    answers, logits = _compare()
    logits[0] = np.array([[0, 1e-5, 0]], np.float32)
    answers["serving_default/0"] = np.array([[1e-5, 0, 0]], np.float32)
    check = runtimes.compare_answers("litert", {"version": np.array(""), **answers}, logits)
    assert check.state == "failed" and check.num_agreeing == 71
    assert check.reason == "1 of 72 images get another class"


@pytest.mark.parametrize("other", ["nan", "shape"])
def test_answers_that_are_none_fail(other):
    answers, logits = _compare()
    if other == "nan":
        answers["serving_default/2"][3, 1] = np.nan
    else:
        answers["serving_default/2"] = answers["serving_default/2"][:, :2]
    check = runtimes.compare_answers("litert", {"version": np.array(""), **answers}, logits)
    assert check.state == "failed"


def test_what_is_not_installed_is_not_checked(saved_model, asked, monkeypatch):
    monkeypatch.setitem(
        runtimes.RUNTIMES,
        "openvino",
        runtimes.Runtime("OpenVINO", ("no_such_module",), "openvino", "pip install openvino"),
    )
    check = runtimes.check_runtime("openvino", saved_model, asked)
    assert check.state == "not checked" and np.isnan(check.max_difference)
    assert check.reason == "no_such_module is not installed: pip install openvino"
    table = runtimes.format_table([check])
    assert "not checked" in table and "passed" not in table and check.reason in table


def test_a_converter_that_is_not_installed_is_named(saved_model, tmp_path, monkeypatch):
    monkeypatch.setitem(exports.CONVERTERS, "onnx", "no_such_module")
    with pytest.raises(extras.MissingExtraError, match=r"pip install 'qup\[serving\]'"):
        exports.convert(saved_model, "onnx", tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_unknown_names_are_refused(saved_model, asked, tmp_path):
    with pytest.raises(errors.InputError, match="Did you mean 'openvino'"):
        runtimes.check_runtime("openvin", saved_model, asked)
    with pytest.raises(errors.InputError, match="Did you mean 'onnx'"):
        exports.convert(saved_model, "onyx", tmp_path / "model")
    with pytest.raises(errors.InputError, match=r"does not start.*--python=DIR/bin/python"):
        runtimes.check_runtime("openvino", saved_model, asked, python=str(tmp_path / "python"))


@pytest.fixture
def server(classifier):
    """A server of the protocol V1, and the list of changes that it makes to its logits."""
    changes = [0.0]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/v1/models/classifier:predict":
                self.send_error(404)
                return
            logits = classifier(np.array(body["instances"], np.float32)).numpy() + changes[0]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"predictions": logits.tolist()}).encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/models", changes
        server.shutdown()


def test_a_running_server_is_checked(server, asked):
    address, changes = server
    check = runtimes.check_server(f"{address}/classifier", asked)
    assert (check.state, check.num_agreeing) == ("passed", 72)
    changes[0] = 0.01
    check = runtimes.check_server(f"{address}/classifier/", asked)
    assert check.state == "failed" and "differs by 1.0e-02" in check.reason
    check = runtimes.check_server(f"{address}/another", asked)
    assert check.state == "failed" and "HTTP 404" in check.reason


@pytest.mark.slow
def test_tensorflow_answers_in_a_process_without_qup(saved_model, asked):
    check = runtimes.check_runtime("tensorflow", saved_model, asked, python=sys.executable)
    assert (check.state, check.version) == ("passed", tf.__version__), check.reason


@pytest.mark.slow
def test_a_conversion_that_fails_leaves_nothing(tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "saved_model.pb").write_bytes(b"graph")
    with pytest.raises(errors.InputError, match="cannot be converted to litert"):
        exports.convert(tmp_path / "broken", "litert", tmp_path / "model.tflite")
    assert not (tmp_path / "model.tflite").exists()
