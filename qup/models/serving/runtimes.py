"""The runtimes that serve an exported classifier, and whether each answers as Keras does.

Each runtime answers in a process of its own, by any Python: those whose requirements differ from
this environment's have an environment of their own. What is not installed is "not checked", with
the line that installs it. Nothing counts as passed that has not answered.
"""

import dataclasses
import inspect
import json
import math
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence

import numpy as np

from qup.core import errors, extras, files
from qup.models.serving import exports, worker
from qup.models.serving.requests import BATCH_SIZES, Requests

PASSED, FAILED, NOT_CHECKED = "passed", "failed", "not checked"
# Of logits up to 10 in size, and in proportion above: the rounding of float32 grows with them.
TOLERANCE = 1e-4
_LOGIT_SCALE = 10
_TIMEOUT_S = 600
_EXTRA = "pip install 'qup[serving]'"


@dataclasses.dataclass(frozen=True)
class Runtime:
    """A runtime.

    Attributes:
      title: Its name in tables.
      modules: What its interpreter must be able to import.
      distribution: Whose version is reported.
      install: The line that installs it.
      export: The format that it reads, of `exports.FILES`; "" for the SavedModel itself.
    """

    title: str
    modules: tuple[str, ...]
    distribution: str
    install: str
    export: str = ""


RUNTIMES = {
    "tensorflow": Runtime("TensorFlow", ("tensorflow",), "tensorflow", "pip install tensorflow"),
    "openvino": Runtime("OpenVINO, f32", ("openvino",), "openvino", _EXTRA),
    "onnxruntime": Runtime("ONNX Runtime", ("onnxruntime",), "onnxruntime", _EXTRA, "onnx"),
    "litert": Runtime("LiteRT", ("ai_edge_litert",), "ai-edge-litert", _EXTRA, "litert"),
    "kserve": Runtime(
        "KServe, V1",
        ("kserve", "tensorflow"),
        "kserve",
        "python -m venv kserve && kserve/bin/pip install kserve tensorflow, then "
        "--runtimes=kserve --python=kserve/bin/python",
    ),
}
# Those that can be installed next to this package.
LOCAL_RUNTIMES = tuple(name for name in RUNTIMES if name != "kserve")
# Format of an export -> the runtime that reads it.
RUNTIME_OF_EXPORT = {r.export: name for name, r in RUNTIMES.items() if r.export}


@dataclasses.dataclass(frozen=True)
class RuntimeCheck:
    """The answers of one runtime, compared with Keras's.

    Attributes:
      runtime: Its name, or the address of a server.
      state: PASSED, FAILED or NOT_CHECKED.
      version: Of the runtime; "" if it is unknown.
      reason: Why it failed or was not checked.
      differences: Greatest absolute difference of a logit, by the size of the batch.
      bound: What they may be.
      num_agreeing: Number of images whose greatest logit is of the same class.
      num_images: Number of images that were answered.
    """

    runtime: str
    state: str
    version: str = ""
    reason: str = ""
    differences: dict[int, float] = dataclasses.field(default_factory=dict)
    bound: float = math.nan
    num_agreeing: int = 0
    num_images: int = 0

    @property
    def max_difference(self) -> float:
        """The greatest difference of all batches; nan if there was no answer."""
        return max(self.differences.values(), default=math.nan)


def check_names(names: Sequence[str]) -> None:
    """Raises an InputError for the first unknown runtime."""
    for name in names:
        if name not in RUNTIMES:
            raise errors.make_unknown_error("runtime", name, RUNTIMES)


def find_missing(name: str, python: str = sys.executable) -> list[str]:
    """Returns the modules of a runtime that an interpreter cannot import.

    Raises:
      InputError: The interpreter does not start.
    """
    code = "import importlib.util, sys; print(*(m for m in sys.argv[1:] if not importlib.util."
    code += "find_spec(m)))"
    command = [python, "-P", "-c", code, *RUNTIMES[name].modules]
    try:
        completed = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise errors.InputError(
            f"The interpreter {python!r} does not start: {errors.format_first_line(error)}. "
            "Name one of Python 3.11 or later: --python=DIR/bin/python."
        ) from error
    return completed.stdout.split()


def check_runtime(
    name: str,
    saved_model: pathlib.Path,
    requests: Requests,
    *,
    python: str = sys.executable,
    exported: pathlib.Path | None = None,
    scratch: pathlib.Path | None = None,
) -> RuntimeCheck:
    """Lets a runtime answer, and compares.

    Args:
      name: A key of `RUNTIMES`.
      saved_model: The folder of the exported model.
      requests: Images and Keras's logits.
      python: The interpreter of the runtime.
      exported: Folder of model.onnx and model.tflite. A file that is not there is converted from
        the SavedModel, into a temporary folder.
      scratch: Folder for temporary files; None means the system's.

    Raises:
      InputError: The runtime is unknown, or the interpreter does not start.
    """
    check_names([name])
    runtime = RUNTIMES[name]
    if missing := find_missing(name, python):
        reason = f"{', '.join(missing)} is not installed: {runtime.install}"
        return RuntimeCheck(name, NOT_CHECKED, reason=reason)
    with tempfile.TemporaryDirectory(dir=scratch and scratch.resolve()) as folder:
        path = pathlib.Path(saved_model)
        if runtime.export:
            file = exports.FILES[runtime.export]
            path = pathlib.Path(exported or folder) / file
            if not path.exists():
                path = pathlib.Path(folder) / file
                try:
                    exports.convert(saved_model, runtime.export, path, scratch=scratch)
                except extras.MissingExtraError as error:
                    return RuntimeCheck(name, NOT_CHECKED, reason=str(error))
                except errors.InputError as error:
                    return RuntimeCheck(name, FAILED, reason=str(error))
        job = {"runtime": name, "path": str(path.resolve()), "distribution": runtime.distribution}
        return _run_worker(name, {**job, "url": ""}, requests, python, folder)


def check_server(url: str, requests: Requests) -> RuntimeCheck:
    """Lets a running server answer, by the REST protocol V1 of TensorFlow Serving and KServe.

    Args:
      url: Of the model: http://localhost:8501/v1/models/classifier.
      requests: Images and Keras's logits.
    """
    job = {"runtime": "", "path": "", "distribution": "", "url": url.rstrip("/")}
    with tempfile.TemporaryDirectory() as folder:
        return _run_worker(url, job, requests, sys.executable, folder)


def _run_worker(
    name: str, job: dict[str, str], requests: Requests, python: str, folder: str
) -> RuntimeCheck:
    batches = requests.split()
    inputs, outputs = (f"{folder}/{side}.npz" for side in ("inputs", "outputs"))
    with files.wrap_os_errors(pathlib.Path(inputs)):
        np.savez(inputs, **{str(n): images for n, (images, _) in enumerate(batches)})
    # -P: no import from the current folder, which may hold qup.
    command = [python, "-P", "-c", inspect.getsource(worker)]
    command.append(json.dumps({**job, "inputs": inputs, "outputs": outputs}))
    try:
        completed = subprocess.run(
            command, capture_output=True, text=True, cwd=folder, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return RuntimeCheck(name, FAILED, reason=f"no answer within {_TIMEOUT_S} s")
    if completed.returncode:
        lines = completed.stderr.strip().splitlines() or [f"exit status {completed.returncode}"]
        return RuntimeCheck(name, FAILED, reason=lines[-1][:300])
    with np.load(outputs, allow_pickle=False) as arrays:
        answers = {key: arrays[key] for key in arrays.files}
    return compare_answers(name, answers, [logits for _, logits in batches])


def compare_answers(
    name: str, answers: dict[str, np.ndarray], expected: Sequence[np.ndarray]
) -> RuntimeCheck:
    """Returns the comparison of a runtime's answers with Keras's.

    Args:
      name: The runtime.
      answers: "version", and the logits "<signature>/<number of the batch>".
      expected: Keras's logits of each batch, float32 [batch, num_classes].
    """
    version = str(answers.pop("version"))
    greatest = max(float(np.abs(x).max()) for x in expected)
    bound = TOLERANCE * max(1.0, greatest / _LOGIT_SCALE)
    differences, num_agreeing = [], 0
    for number, logits in enumerate(expected):
        of_batch = [x for key, x in answers.items() if key.rpartition("/")[2] == str(number)]
        for answer in of_batch:
            if answer.shape != logits.shape:
                reason = f"logits of the shape {answer.shape}; Keras gives {logits.shape}"
                return RuntimeCheck(name, FAILED, version, reason, bound=bound)
        if not of_batch:
            reason = "no signature serving_default, and none that gives 'logits'"
            return RuntimeCheck(name, FAILED, version, reason, bound=bound)
        differences.append(max(float(np.abs(x - logits).max()) for x in of_batch))
        agreeing = [x.argmax(-1) == logits.argmax(-1) for x in of_batch]
        num_agreeing += int(np.all(agreeing, axis=0).sum())
    num_images = sum(map(len, expected))
    reasons = []
    # Not greater, so that nan fails.
    if not all(difference <= bound for difference in differences):
        reasons.append(f"a logit differs by {np.max(differences):.1e}, more than {bound:.1e}")
    if num_agreeing < num_images:
        reasons.append(f"{num_images - num_agreeing} of {num_images} images get another class")
    return RuntimeCheck(
        name,
        FAILED if reasons else PASSED,
        version,
        "; ".join(reasons),
        dict(zip(BATCH_SIZES, differences, strict=True)),
        bound,
        num_agreeing,
        num_images,
    )


def format_table(checks: Sequence[RuntimeCheck]) -> str:
    """Returns one line per runtime: the greatest differences by the size of the batch, the classes.

    What was not checked, and why a check failed, is below the table.
    """
    head = ["runtime", "version", *(f"batch {n}" for n in BATCH_SIZES), "bound", "same class", ""]
    lines = [head]
    for check in checks:
        runtime = RUNTIMES.get(check.runtime)
        line = [runtime.title if runtime else check.runtime, check.version or "-"]
        line += [f"{check.differences[n]:.1e}" if check.differences else "-" for n in BATCH_SIZES]
        line.append("-" if math.isnan(check.bound) else f"{check.bound:.1e}")
        line.append(f"{check.num_agreeing} of {check.num_images}" if check.differences else "-")
        lines.append([*line, check.state])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    table += [f"{check.runtime}: {check.reason}" for check in checks if check.reason]
    return "\n".join(table)
