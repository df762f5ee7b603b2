"""Answers of one runtime, computed in a process of its own that has neither qup nor Keras loaded.

`runtimes.check_runtime` starts an interpreter with this text, and passes a JSON object: "runtime",
"path" of the exported model, "inputs" and "outputs" (.npz files), and "url" of a server. Inputs are
float32 batches named 0, 1, ...; outputs have a float32 array "<signature>/<number of the batch>"
for each answer, and the runtime's "version".
"""

import contextlib
import importlib.metadata
import json
import os
import socket
import sys
import threading
import time
import urllib.error
import urllib.request

import numpy as np

_START_TIMEOUT_S = 120


def select_logits(outputs):
    """Returns "logits" of named outputs, or the only one."""
    if "logits" in outputs:
        return outputs["logits"]
    if len(outputs) != 1:
        raise ValueError(f"the model gives {sorted(outputs)}, and none of them is 'logits'")
    return next(iter(outputs.values()))


def answer_tensorflow(path, batches):
    """Returns the answers of every signature that gives logits, by signature."""
    import tensorflow as tf

    model = tf.saved_model.load(path)
    answers = {}
    for name, signature in model.signatures.items():
        outputs = signature.structured_outputs
        if name != "serving_default" and "logits" not in outputs:
            continue
        (argument,) = signature.structured_input_signature[1]
        answers[name] = []
        for batch in batches:
            outputs = signature(**{argument: tf.constant(batch)})
            answers[name].append(select_logits(outputs).numpy())
            if "probabilities" in outputs:
                expected = tf.nn.softmax(outputs["logits"]).numpy()
                np.testing.assert_allclose(outputs["probabilities"].numpy(), expected, atol=1e-5)
    return answers


def answer_openvino(path, batches):
    """Returns the answers in float32: by default OpenVINO computes in bfloat16 where it can."""
    import openvino

    core = openvino.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    model = core.compile_model(core.read_model(path), "CPU", options)
    names = {output: output.get_names() for output in model.outputs}
    logits = [output for output in names if "logits" in names[output]] or model.outputs
    if len(logits) != 1:
        raise ValueError(f"the model gives {len(logits)} outputs, and none of them is 'logits'")
    return {"serving_default": [model([batch])[logits[0]] for batch in batches]}


def answer_onnxruntime(path, batches):
    """Returns the answers of the CPU provider."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (argument,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    return {
        "serving_default": [
            select_logits(dict(zip(names, session.run(None, {argument.name: batch}), strict=True)))
            for batch in batches
        ]
    }


def answer_litert(path, batches):
    """Returns the answers of the signature serving_default."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=path).get_signature_runner("serving_default")
    (argument,) = runner.get_input_details()
    return {"serving_default": [select_logits(runner(**{argument: batch})) for batch in batches]}


def answer_kserve(path, batches):
    """Returns the answers of a KServe server that holds the SavedModel, by its V1 protocol."""
    import kserve
    import tensorflow as tf

    saved_model = tf.saved_model.load(path)
    signature = saved_model.signatures["serving_default"]
    (argument,) = signature.structured_input_signature[1]

    class Predictor(kserve.Model):
        def predict(self, payload, headers=None, response_headers=None):
            del headers, response_headers
            images = tf.constant(payload["instances"], tf.float32)
            return {"predictions": select_logits(signature(**{argument: images})).numpy().tolist()}

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    predictor = Predictor("classifier")
    predictor.ready = True
    answers = {}

    def ask():
        try:
            url = f"http://127.0.0.1:{port}/v1/models/classifier"
            wait_for_server(url)
            answers.update(answer_url(url, batches))
        except Exception as error:
            answers["error"] = error
        finally:
            # Ends `start`, which only the main thread may call: it handles signals.
            os.kill(os.getpid(), 2)

    threading.Thread(target=ask, daemon=True).start()
    server = kserve.ModelServer(http_port=port, enable_grpc=False, workers=1)
    with contextlib.suppress(KeyboardInterrupt):
        server.start([predictor])
    if "error" in answers:
        raise answers["error"]
    return answers


def wait_for_server(url):
    """Returns when a server answers."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def answer_url(url, batches):
    """Returns the answers of a running server, by the REST protocol V1 of TF Serving and KServe."""
    answers = []
    for batch in batches:
        body = json.dumps({"instances": batch.tolist()}).encode()
        head = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{url}:predict", data=body, headers=head)
        try:
            with urllib.request.urlopen(request, timeout=_START_TIMEOUT_S) as response:
                predictions = json.load(response)["predictions"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"{url}: HTTP {error.code}: {error.read()[:200]!r}") from error
        if isinstance(predictions[0], dict):
            predictions = [select_logits(prediction) for prediction in predictions]
        answers.append(np.array(predictions, np.float32))
    return {"serving_default": answers}


def read_version(distribution):
    """Returns the version of an installed distribution, or of another of the same package."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        # Such as tensorflow-cpu.
        return importlib.metadata.version(f"{distribution}-cpu")


def main(job):
    """Reads the batches, and writes the answers of the runtime."""
    with np.load(job["inputs"], allow_pickle=False) as arrays:
        batches = [arrays[str(number)] for number in range(len(arrays.files))]
    if job["url"]:
        answers = answer_url(job["url"], batches)
    else:
        answers = globals()[f"answer_{job['runtime']}"](job["path"], batches)
    outputs = {
        f"{name}/{number}": np.asarray(array)
        for name, arrays in answers.items()
        for number, array in enumerate(arrays)
    }
    version = read_version(job["distribution"]) if job["distribution"] else ""
    np.savez(job["outputs"], version=version, **outputs)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
