"""`qup serve-check`: which models it finds, its reference, its status."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from qup.models import saving
from qup.models.serving import requests

_ROOT = pathlib.Path(__file__).parents[2]


def _run(*arguments, cwd=_ROOT):
    environment = os.environ | {"PYTHONPATH": str(_ROOT)}
    command = [sys.executable, "-m", "bin.serve_check", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, text=True, capture_output=True, env=environment)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A working directory with versions 9 and 10 of a model, its Keras file, and images."""
    folder = tmp_path_factory.mktemp("served")
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    classifier = keras.Sequential(layers)
    saving.save_model(classifier, folder / "model.keras")
    images = np.random.default_rng(0).integers(0, 256, (72, 4, 4, 1), dtype=np.uint8)
    np.savez(folder / "test.npz", images=images, labels=np.arange(72) % 3)
    saving.export_saved_model(classifier, folder / "exported")
    additions = folder / "additions"
    requests.write_requests(requests.build_requests(classifier, images), additions)
    for version in (9, 10):
        saving.push_saved_model(
            folder / "exported", folder / "run/serving/mine", version=version, additions=additions
        )
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("path", ["run", "run/serving", "run/serving/mine", "run/serving/mine/10"])
def test_the_newest_version_is_checked(served, path):
    done = _run(served / path, "--runtimes=tensorflow")
    assert done.returncode == 0, done.stderr
    title, _, line = done.stdout.splitlines()
    assert title == str(served / "run/serving/mine/10")
    assert line.startswith("TensorFlow") and line.endswith("72 of 72    passed")


@pytest.mark.slow
def test_a_saved_model_is_compared_with_a_keras_file(served):
    flags = ("--runtimes=tensorflow", f"--images={served / 'test.npz'}")
    done = _run(served / "exported", *flags, f"--model_path={served / 'model.keras'}")
    assert done.returncode == 0 and "72 of 72    passed" in done.stdout, done.stderr
    model = keras.models.load_model(served / "model.keras")
    model.weights[0].assign_add(np.full(model.weights[0].shape, 0.1))
    saving.save_model(model, served / "other.keras")
    done = _run(served / "exported", *flags, f"--model_path={served / 'other.keras'}")
    assert done.returncode == 1 and "failed" in done.stdout
    message = "Error: exported, tensorflow: failed. The table has the reasons.\n"
    assert done.stderr.endswith(message)


@pytest.mark.slow
def test_the_status_is_1_if_a_named_runtime_is_not_installed(served):
    done = _run(served / "run", "--runtimes=kserve")
    assert done.returncode == 1
    assert "not checked" in done.stdout and "passed" not in done.stdout
    assert "pip install kserve tensorflow" in done.stdout
    done = _run(served / "run")
    assert done.returncode == 0, done.stderr
    assert "not checked" in done.stdout and "passed" in done.stdout


@pytest.mark.slow
def test_an_export_is_written_and_the_version_stays_intact(served, tmp_path):
    version = served / "run/serving/mine/10"
    done = _run(version, "--export=litert", "--runtimes=tensorflow", f"--output={tmp_path}")
    assert (tmp_path / "mine" / "model.tflite").read_bytes()[4:8] == b"TFL3", done.stderr
    assert saving.is_intact(version)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "nothing has no SavedModel. Name a working directory"),
        (["exported"], "has no assets.extra/qup-requests.npz"),
        (["exported", "--images=test.npz"], "--model_path and --images belong together"),
        (["run", "--runtimes=openvin"], "Did you mean 'openvino'?"),
        (["run", "--export=onx"], "Did you mean 'onnx'?"),
        (["run", "--address=h:1", "--export=onnx"], "--address checks a server alone"),
    ],
)
def test_what_cannot_be_checked_is_one_line(served, arguments, message):
    done = _run(*arguments, cwd=served)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1
    assert message in done.stderr
