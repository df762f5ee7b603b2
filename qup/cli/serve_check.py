r"""Compares exported classifiers in the runtimes that serve them with Keras.

    qup serve-check runs/mnist
    qup serve-check runs/mnist/serving/classifier/1 --runtimes=tensorflow,openvino
    qup serve-check runs/mnist --runtimes=kserve --python=kserve/bin/python
    qup serve-check runs/mnist/serving/classifier --address=localhost:8501
    qup serve-check saved_model --model_path=model.keras --images=test.npz \
        --export=onnx,litert

PATH is a working directory, the folder of a model's versions (the newest is checked), or the folder
of a SavedModel. Each runtime answers requests of 1, 7 and 64 real images in a process of its own.
Logits may differ by 1e-4 from those of Keras (above 10, by 1e-5 of the greatest), and no image may
get another class. The status is 1 if one does. A runtime that is not installed is "not checked";
then the status is 1 only if --runtimes names it.

A model that a pipeline has pushed contains the images and Keras's logits. For other SavedModels
give --model_path and --images.
"""

import pathlib
import sys

from absl import flags

from qup.cli import program
from qup.core import errors
from qup.core.interruption import SignalGuard

# Those of qup.models.serving, whose import starts TensorFlow.
RUNTIMES = ("tensorflow", "openvino", "onnxruntime", "litert", "kserve")
EXPORTS = ("onnx", "litert")
_GRAPH_FILE = "saved_model.pb"


def define_flags() -> None:
    """Defines all flags."""
    flags.DEFINE_list("runtimes", None, f"Some of: {', '.join(RUNTIMES)}. Default: all.")
    flags.DEFINE_string(
        "python", None, "Interpreter of the runtimes, of another environment. Default: this one."
    )
    flags.DEFINE_string(
        "address",
        None,
        "HOST:PORT of a running server with the REST protocol of TensorFlow Serving and KServe V1; "
        "it is checked in place of the runtimes.",
    )
    flags.DEFINE_list("export", [], f"Write these formats too: {', '.join(EXPORTS)}.")
    flags.DEFINE_string("output", "exported", "Folder of --export; each model has one in it.")
    flags.DEFINE_string("model_path", None, "The Keras model of the SavedModel: a .keras file.")
    flags.DEFINE_string("images", None, "Its images: a .npy file, or an .npz file with labels.")
    flags.DEFINE_string("labels", None, "Labels of a .npy file of images, a .npy file.")


def main(path: str) -> str:
    """Checks the models in `path`; returns the tables.

    Raises:
      InputError: There is no model, no reference, or a check failed. Tables are printed before.
    """
    folders = _find_saved_models(pathlib.Path(path))
    values = flags.FLAGS
    if values.address and (values.runtimes or values.export or values.python):
        raise flags.Error(
            "--address checks a server alone. Leave --runtimes, --python and --export out."
        )
    program.configure_logging()
    program.start_tensorflow()
    with SignalGuard():
        from qup.models.serving import runtimes

    tables, failures = [], []
    for name, folder in folders.items():
        checks = _check_model(name, folder)
        tables.append(f"{folder}\n{runtimes.format_table(checks)}")
        expected = [runtimes.PASSED]
        if values.runtimes is None:
            expected.append(runtimes.NOT_CHECKED)
        failures += [f"{name}, {c.runtime}: {c.state}" for c in checks if c.state not in expected]
        if all(c.state == runtimes.NOT_CHECKED for c in checks):
            failures.append(f"{name}: no runtime is installed that could check it")
    text = "\n\n".join(tables)
    if failures:
        program.print_text(text)
        raise errors.InputError(f"{'; '.join(failures)}. The table has the reasons.")
    return text


def _find_saved_models(path: pathlib.Path) -> dict[str, pathlib.Path]:
    """Returns the folders of the SavedModels to check, by the name of the model.

    Raises:
      InputError: There is none.
    """
    if (path / _GRAPH_FILE).is_file():
        resolved = path.resolve()
        name = resolved.parent.name if resolved.name.isdigit() else resolved.name
        return {name: path}
    for parent in (path / "serving", path):
        models = {
            folder.name: newest
            for folder in (path, *sorted(parent.glob("*/")))
            if (newest := _find_newest_version(folder))
        }
        if models:
            return models
    raise errors.InputError(
        f"{path} has no SavedModel. Name a working directory of `qup ifa`, a folder of versions "
        f"such as runs/mnist/serving/classifier, or a folder with {_GRAPH_FILE}."
    )


def _find_newest_version(folder: pathlib.Path) -> pathlib.Path | None:
    """Returns the version that a server would load; None if there is none."""
    versions = [p.parent for p in folder.glob(f"*/{_GRAPH_FILE}") if p.parent.name.isdigit()]
    return max(versions, key=lambda version: int(version.name), default=None)


def _check_model(name: str, folder: pathlib.Path) -> list:
    """Returns the checks of one SavedModel, and writes its exports."""
    from qup.models.serving import exports, runtimes

    values = flags.FLAGS
    requests = _load_requests(folder)
    if values.address:
        return [runtimes.check_server(f"http://{values.address}/v1/models/{name}", requests)]
    names = list(values.runtimes or runtimes.RUNTIMES)
    runtimes.check_names(names)
    exported = folder
    if values.export:
        exported = pathlib.Path(values.output) / name
        for export in values.export:
            exports.check_format(export)
            exports.convert(folder, export, exported / exports.FILES[export])
            names.append(runtimes.RUNTIME_OF_EXPORT[export])
    python = values.python or sys.executable
    return [
        runtimes.check_runtime(runtime, folder, requests, python=python, exported=exported)
        for runtime in dict.fromkeys(names)
    ]


def _load_requests(folder: pathlib.Path):
    """Returns the requests of a SavedModel: its own, or of --model_path and --images.

    Raises:
      InputError: There are none, or a file cannot be read.
    """
    from qup import datasets
    from qup.models.keras_files import read_keras_file
    from qup.models.serving import requests as serving_requests

    values = flags.FLAGS
    if not values.model_path and not values.images:
        requests = serving_requests.read_requests(folder)
        if requests is None:
            raise errors.InputError(
                f"{folder} has no {serving_requests.REQUESTS_FILE}: it was not pushed by `qup "
                "ifa`, or by an older one. Start that again, or give the Keras model and its "
                "images: --model_path=FILE.keras --images=FILE.npz."
            )
        return requests
    if not (values.model_path and values.images):
        raise flags.Error("--model_path and --images belong together. Give both.")
    classifier = read_keras_file(pathlib.Path(values.model_path))
    data = datasets.load("arrays", images=values.images, labels=values.labels)
    images, _, _ = data.get_arrays("test")
    return serving_requests.build_requests(lambda x: classifier(x, training=False), images)


def run() -> None:
    """Runs the command."""
    program.run_query(main)
