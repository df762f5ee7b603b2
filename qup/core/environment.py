"""The surroundings of a computation: Keras's settings, and what else changes numbers.

`import qup` chooses TensorFlow as the backend of Keras, and makes the start of TensorFlow quiet.
The modules that use Keras call `configure_keras`. So a keras.json, or a KERAS_BACKEND, of the
user's other programs changes no result.

```python
describe_environment()["floatx"]  # "float32"
```

The import needs only the standard library.
"""

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import logging
import os
import pathlib
import platform
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import Any

from qup.core import errors

BACKEND, FLOATX, DATA_FORMAT = "tensorflow", "float32", "channels_last"
# The values that Keras accepts in its file; the file is an object.
_CHOICES = {
    "floatx": ("float16", "float32", "float64"),
    "image_data_format": ("channels_last", "channels_first"),
    "settings": ("an object of settings",),
}
# Keras adds it to denominators and logarithms.
_EPSILON = 1e-7
# Entries of `describe_environment` on which the last digits of a result depend.
_COUNTED = (
    "floatx",
    "image_data_format",
    "dtype_policy",
    "op_determinism",
    "device",
    "processor",
    "onednn",
    "tensor_float_32",
    "xla_auto",
)
# Vectors of processors, the widest first, and how NumPy names the instructions for them.
_VECTORS = {"AVX-512": ("AVX512", "X86_V4"), "AVX2": ("AVX2", "X86_V3")}
_PACKAGE = str(pathlib.Path(__file__).parents[1]) + os.sep
# What TensorFlow writes to standard error at every start, although nothing is wrong.
_START_LINES = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog"
    rb"|[IW]\d{4} |To enable the following instructions|\d{4}-\d\d-\d\d [\d:.]+: [IW] "
    # A machine without a GPU.
    rb"|E\d{4} .*cuInit|\d{4}-\d\d-\d\d [\d:.]+: E .*cuInit"
)
# Devices of Linux and of its subsystem in Windows; without them, a search changes nothing.
_GPU_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg")
_log = logging.getLogger("qup")
# Settings of the user that were replaced, and where they are; and those that were reported.
_replaced: dict[str, str] = {}
_reported: dict[str, str] = {}


def prepare_import() -> None:
    """Sets the variables that TensorFlow and Keras read when they are imported.

    It does nothing to a package that is imported already.
    """
    if "keras" not in sys.modules:
        _choose_backend()
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        # TensorFlow enables oneDNN by itself only on AVX-512; on AVX2 it doubles the number of
        # gradients per second.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
        sys.meta_path.insert(0, _QuietFinder())


def _choose_backend() -> None:
    chosen = os.environ.get("KERAS_BACKEND")
    if chosen and chosen != BACKEND:
        _replaced[f"backend {chosen}"] = "the variable KERAS_BACKEND"
    os.environ["KERAS_BACKEND"] = BACKEND


class _QuietFinder(importlib.abc.MetaPathFinder):
    """Hides what TensorFlow writes to standard error during its first import."""

    def find_spec(self, name, path=None, target=None) -> importlib.machinery.ModuleSpec | None:
        """Returns the usual specification of TensorFlow, with a quiet loader."""
        if name != "tensorflow" or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _QuietLoader(spec.loader)
        return spec


class _QuietLoader(importlib.abc.Loader):
    """Executes a module by another loader, without the lines of a normal start."""

    def __init__(self, loader: importlib.abc.Loader):
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        """Returns an attribute of the other loader."""
        return getattr(self._loader, name)

    def create_module(self, spec):
        """Creates the module by the other loader."""
        return self._loader.create_module(spec)

    def exec_module(self, module) -> None:
        """Executes the module; what C++ writes is filtered."""
        module.__spec__.loader = module.__loader__ = self._loader
        _check_keras_file()
        with hide_start_lines():
            self._loader.exec_module(module)
            if not any(map(os.path.exists, _GPU_FILES)):
                # The search for a GPU fails with a line at the error level: now, not later.
                module.config.list_physical_devices("GPU")


@contextlib.contextmanager
def hide_start_lines() -> Iterator[None]:
    """Hides the lines that TensorFlow's C++ writes at every start.

    All others appear at the end of the block; if it fails, every line does.
    """
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (AttributeError, OSError, ValueError):
        # Closed, or not a file: there is nobody to write to.
        yield
        return
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            with contextlib.suppress(AttributeError, OSError, ValueError):
                sys.stderr.flush()
            os.dup2(saved, 2)
            captured.seek(0)
            for line in captured:
                if failed or not _START_LINES.match(line):
                    os.write(saved, line)
            os.close(saved)


def configure_keras() -> None:
    """Sets Keras's number format and image format, and warns once if they were the user's own.

    Raises:
      InputError: Keras runs on another backend than TensorFlow.
    """
    import keras

    _check_backend(keras)
    file = _get_keras_file()
    if (floatx := keras.config.floatx()) != FLOATX:
        _replaced[f"floatx {floatx}"] = file
        keras.config.set_floatx(FLOATX)
        if keras.config.dtype_policy().name == floatx:
            keras.config.set_dtype_policy(FLOATX)
    if (data_format := keras.config.image_data_format()) != DATA_FORMAT:
        _replaced[f"image_data_format {data_format}"] = file
        keras.config.set_image_data_format(DATA_FORMAT)
    if (epsilon := keras.config.epsilon()) != _EPSILON:
        _replaced[f"epsilon {epsilon}"] = file
        keras.config.set_epsilon(_EPSILON)
    _note_file_backend(file)
    _report_replaced()
    _filter_retracing_warnings()


def _check_backend(keras) -> None:
    backend = keras.config.backend()
    if backend == BACKEND:
        return
    origin = _get_keras_file()
    if os.environ.get("KERAS_BACKEND") == backend:
        origin = "the variable KERAS_BACKEND"
    raise errors.InputError(
        f"Keras was imported with the backend {backend!r}, but qup computes with {BACKEND!r}. "
        f"Import qup before keras, or set KERAS_BACKEND={BACKEND}; the backend is chosen in "
        f"{origin}."
    )


def _get_keras_file() -> str:
    """Returns the path of the settings file that Keras reads."""
    folder = os.environ.get("KERAS_HOME")
    if folder is None:
        home = os.path.expanduser("~")
        folder = os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")
    return os.path.expanduser(os.path.join(folder, "keras.json"))


def _read_keras_file() -> Any:
    """Returns the JSON value in keras.json; an empty dictionary if there is none, as for Keras."""
    try:
        return json.loads(pathlib.Path(_get_keras_file()).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}


def _check_keras_file() -> None:
    """Raises an InputError for a keras.json with which TensorFlow and Keras cannot be imported."""
    settings = _read_keras_file()
    if not isinstance(settings, dict):
        settings = {"settings": settings}
    for key, value in settings.items():
        if key == "epsilon" and not isinstance(value, float):
            expected = "a number with a decimal point"
        elif key in _CHOICES and value not in _CHOICES[key]:
            expected = " or ".join(_CHOICES[key])
        else:
            continue
        raise errors.InputError(
            f"Keras cannot be imported with the settings in {_get_keras_file()}: {key} must be "
            f"{expected}; received {str(value)[:50]!r}. Correct the file, or remove it."
        )


def _note_file_backend(file: str) -> None:
    """Adds the backend of keras.json, which KERAS_BACKEND has overridden, to the replaced ones."""
    settings = _read_keras_file()
    chosen = settings.get("backend", BACKEND) if isinstance(settings, dict) else BACKEND
    if chosen != BACKEND and not any(key.startswith("backend") for key in _replaced):
        _replaced[f"backend {chosen}"] = file


def _report_replaced() -> None:
    # Called by several modules: each setting is reported at the first time.
    news = {setting: origin for setting, origin in _replaced.items() if setting not in _reported}
    _reported.update(news)
    if news:
        settings = ", ".join(f"{setting} of {origin}" for setting, origin in news.items())
        _log.warning(
            "Not used: %s. qup computes with Keras on %s, in %s and %s, in this process; the file "
            "stays as it is.",
            settings,
            BACKEND,
            FLOATX,
            DATA_FORMAT,
        )


class _RetracingFilter(logging.Filter):
    """Drops TensorFlow's advice on repeated compilation where qup is the one that compiles.

    A new classifier, attack or shape of a batch needs a new program: the caller can change nothing.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether a record is shown."""
        if "triggered tf.function retracing" not in record.getMessage():
            return True
        frame = sys._getframe()
        while frame is not None:
            name = frame.f_code.co_filename
            if name.startswith(_PACKAGE) and name != __file__:
                return False
            frame = frame.f_back
        return True


def _filter_retracing_warnings() -> None:
    logger = logging.getLogger("tensorflow")
    if not any(isinstance(item, _RetracingFilter) for item in logger.filters):
        logger.addFilter(_RetracingFilter())


def describe_environment() -> dict[str, str]:
    """Returns what can change the last digits of a result, but for the versions of packages."""
    import keras
    import tensorflow as tf

    return {
        "backend": keras.config.backend(),
        "floatx": keras.config.floatx(),
        "image_data_format": keras.config.image_data_format(),
        "dtype_policy": keras.config.dtype_policy().name,
        "op_determinism": _format_switch(_read_op_determinism()),
        "device": "GPU" if tf.config.list_physical_devices("GPU") else "CPU",
        "processor": _read_processor(),
        "onednn": _format_switch(_read_onednn()),
        "tensor_float_32": _format_switch(
            tf.config.experimental.tensor_float_32_execution_enabled()
        ),
        "xla_auto": " ".join(
            filter(None, (str(tf.config.optimizer.get_jit()), os.environ.get("TF_XLA_FLAGS")))
        )
        or "off",
    }


def get_package_versions(names: Iterable[str]) -> dict[str, str]:
    """Returns the versions of packages by name; "not installed" for those of a missing extra."""
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def get_counted_environment() -> dict[str, str]:
    """Returns the part of `describe_environment` that identifies a result."""
    description = describe_environment()
    return {name: description[name] for name in _COUNTED}


def _format_switch(value: bool | None) -> str:
    return "unknown" if value is None else "on" if value else "off"


def _read_op_determinism() -> bool | None:
    # TensorFlow has a public function to set it, and none to read it.
    try:
        from tensorflow.python.framework import config
    except ImportError:
        return None
    return bool(config.is_op_determinism_enabled())


def _read_processor() -> str:
    """Returns what sums are computed by: the name of the GPU, or the widest vectors of the CPU."""
    import numpy as np
    import tensorflow as tf

    for device in tf.config.list_physical_devices("GPU"):
        return tf.config.experimental.get_device_details(device).get("device_name", "GPU")
    extensions = np.show_config(mode="dicts").get("SIMD Extensions", {})
    found = [*extensions.get("baseline", ()), *extensions.get("found", ())]
    for name, prefixes in _VECTORS.items():
        if any(extension.startswith(prefixes) for extension in found):
            return name
    return platform.machine()


def _read_onednn() -> bool | None:
    # The default depends on the processor; only this function knows what it became.
    try:
        from tensorflow.python.util import _pywrap_util_port
    except ImportError:
        return None
    return bool(_pywrap_util_port.IsMklEnabled())
