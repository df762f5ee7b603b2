"""The user's keras.json, backend and warnings: no number depends on them."""

import json
import os
import pathlib
import platform
import subprocess
import sys

import pytest

from qup.core import environment
from qup.orchestration import Artifact, Code, Out, component

_ROOT = pathlib.Path(__file__).parents[2]
_NUMBERS = """
import numpy as np
from qup import attacks, models
from qup.core.types import DatasetInfo
model = models.build("convnet", DatasetInfo("toy", (28, 28, 1), ("a", "b", "c")), width=0.1)
x = np.random.default_rng(0).random((6, 28, 28, 1)).astype("float32")
y = np.arange(6) % 3
result = attacks.run("pgd", model, x, y, epsilon=0.1, num_steps=3, logs_flags=False)
print(repr(float(np.sum(result.images, dtype="float64"))), repr(model(x).numpy().tolist()))
"""


def _run(code, home=None, settings=None, **variables):
    """Runs Python code; `settings` are those of keras.json in the folder `home`."""
    changed = ("KERAS_BACKEND", "KERAS_HOME", "TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS")
    variables |= {k: v for k, v in os.environ.items() if k not in changed}
    variables["PYTHONPATH"] = str(_ROOT)
    if home is not None:
        (home / "keras.json").write_text(
            settings if isinstance(settings, str) else json.dumps(settings)
        )
        variables["KERAS_HOME"] = str(home)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, text=True, capture_output=True, env=variables
    )


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """The digits without any settings of the user, and what was written to standard error."""
    done = _run(_NUMBERS, tmp_path_factory.mktemp("keras"), {})
    assert done.returncode == 0, done.stderr
    return done


def test_python_users_see_no_line_of_a_normal_start(numbers):
    assert numbers.stderr == ""


def test_a_keras_file_of_another_program_changes_no_digit(numbers, tmp_path):
    settings = {
        "floatx": "float64",
        "epsilon": 1e-3,
        "backend": "jax",
        "image_data_format": "channels_first",
    }
    done = _run(_NUMBERS, tmp_path, settings)
    assert done.stdout == numbers.stdout, done.stderr
    (line,) = done.stderr.splitlines()
    assert str(tmp_path / "keras.json") in line and len(line) < 600
    assert all(str(value) in line for value in settings.values())
    # The file belongs to the user.
    assert json.loads((tmp_path / "keras.json").read_text()) == settings


@pytest.mark.slow
@pytest.mark.parametrize(
    "floatx,data_format,backend,by_variable",
    [
        ("float16", "channels_first", "tensorflow", False),
        ("float16", "channels_last", "torch", True),
        ("float64", "channels_first", "jax", True),
        ("float64", "channels_first", "torch", False),
        ("float64", "channels_last", "jax", False),
        ("float16", "channels_last", "openvino", True),
    ],
)
def test_no_combination_changes_a_digit(
    numbers, floatx, data_format, backend, by_variable, tmp_path
):
    settings = {"floatx": floatx, "image_data_format": data_format}
    if not by_variable:
        settings["backend"] = backend
    variables = {"KERAS_BACKEND": backend} if by_variable else {}
    done = _run(_NUMBERS, tmp_path, settings, **variables)
    assert done.stdout == numbers.stdout, done.stderr
    assert len(done.stderr.splitlines()) == 1 and floatx in done.stderr


def test_a_backend_that_was_imported_before_is_refused():
    # Another backend need not be installed: Keras is replaced by what it would say.
    code = (
        "import sys, types\n"
        "keras = sys.modules['keras'] = types.ModuleType('keras')\n"
        "keras.config = types.SimpleNamespace(backend=lambda: 'torch')\n"
        "from qup.core import environment, errors\n"
        "try: environment.configure_keras()\n"
        "except errors.InputError as error: print(error)"
    )
    done = _run(code, KERAS_BACKEND="torch")
    assert done.stdout.startswith("Keras was imported with the backend 'torch'"), done.stderr
    assert "KERAS_BACKEND" in done.stdout and len(done.stdout.splitlines()) == 1
    assert "keras.json" in _run(code).stdout


@pytest.mark.parametrize("settings", [{"floatx": "float8"}, {"epsilon": 1}, [1]])
def test_an_invalid_keras_file_is_one_line(settings, tmp_path):
    code = "import sys; sys.argv[1:] = ['runs/none']\nfrom qup.cli import program, report\n"
    code += "report.define_flags(); report.run()"
    done = _run(code, tmp_path, settings)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert (
        line.startswith("Error: Keras cannot be imported") and str(tmp_path / "keras.json") in line
    )


def test_what_tensorflow_reports_otherwise_is_shown():
    code = "from qup.core import environment as e\nimport os\n"
    code += "with e.hide_start_lines():\n"
    code += "  os.write(2, b'I0000 00:00:1.1 1 port.cc:1] on\\nE0000 00:00:1.1 1 a.cc:1] bad\\n')\n"
    code += "with e.hide_start_lines():\n"
    code += "  os.write(2, b'I0000 00:00:1.1 1 port.cc:1] on\\n')\n"
    code += "  raise SystemExit(3)"
    done = _run(code)
    assert done.returncode == 3
    assert [line[:5] for line in done.stderr.splitlines()] == ["E0000", "I0000"]


def test_only_retracing_of_the_package_itself_is_quiet():
    code = (
        "from qup.core import compilation\n"
        "import tensorflow as tf\n"
        "def retrace(f):\n"
        "  for n in range(1, 12): f(tf.zeros(n))\n"
        "  return f\n"
        "classifier = lambda x: x\n"
        "own, users = tf.function(lambda x: x + 1), tf.function(lambda x: x + 2)\n"
        "compilation.get_program(classifier, 'key', lambda call: retrace(own))\n"
        "retrace(users)"
    )
    done = _run(code)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "retracing" in line]
    assert 1 <= len(lines) <= 2


def test_the_environment_is_described():
    description = environment.describe_environment()
    counted = environment.get_counted_environment()
    assert description["backend"] == "tensorflow" and description["floatx"] == "float32"
    assert counted.items() < description.items()
    assert description["onednn"] in ("on", "off") and description["device"] in ("CPU", "GPU")
    assert description["op_determinism"] == "off"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["SSE3", "AVX2", "AVX512F"], "AVX-512"),
        (["X86_V3", "X86_V4"], "AVX-512"),
        (["SSE42", "AVX2"], "AVX2"),
        (["X86_V3"], "AVX2"),
        (["ASIMD"], platform.machine()),
    ],
)
def test_processors_with_other_vectors_have_other_results(found, expected, monkeypatch):
    extensions = {"SIMD Extensions": {"baseline": ["X86_V2"], "found": found}}
    monkeypatch.setattr("numpy.show_config", lambda mode: extensions)
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind: [])
    assert environment.get_counted_environment()["processor"] == expected


class Number(Artifact):
    """A number."""


@component
def Counter(number: Out[Number]) -> None:  # noqa: N802
    (number.path / "number").write_text("1")


def test_the_environment_identifies_a_result():
    def fingerprint(**environment):
        return Code(describe_environment=lambda: environment).compute_fingerprint(Counter.fn)

    assert fingerprint(device="CPU") == fingerprint(device="CPU")
    assert fingerprint(device="CPU") != fingerprint(device="GPU")
    assert fingerprint(device="CPU") != Code().compute_fingerprint(Counter.fn)
