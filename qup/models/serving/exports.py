"""SavedModels in the formats of other runtimes: ONNX by tf2onnx, LiteRT by TensorFlow's converter.

```python
convert("serving/classifier/1", "onnx", "model.onnx")
```
"""

import logging
import pathlib
import shutil
import subprocess
import sys
import tempfile

from qup.core import errors, extras, files

# Format -> its file in the folder of a version, which is where ONNX servers look for it.
FILES = {"onnx": "model.onnx", "litert": "model.tflite"}
# Format -> the distribution that converts to it.
CONVERTERS = {"onnx": "tf2onnx", "litert": "tensorflow"}
OPSET = 18
_log = logging.getLogger("qup")
# In a process of its own: TensorFlow's converter writes to standard error from C++.
_LITERT_CODE = """
import sys
import tensorflow as tf
source, target = sys.argv[1:]
converter = tf.lite.TFLiteConverter.from_saved_model(source, signature_keys=["serving_default"])
with open(target, "wb") as file:
    file.write(converter.convert())
"""


def check_format(name: str) -> None:
    """Raises an InputError if a format is unknown or its converter is not installed."""
    if name not in FILES:
        raise errors.make_unknown_error("export", name, FILES)
    if name == "onnx":
        extras.check_installed("The export to ONNX", CONVERTERS[name], extra="serving")


def convert(
    saved_model: pathlib.Path,
    name: str,
    destination: pathlib.Path,
    *,
    scratch: pathlib.Path | None = None,
) -> None:
    """Writes the signature serving_default of a SavedModel in another format, in float32.

    Args:
      saved_model: The folder.
      name: "onnx" or "litert".
      destination: The file, written as a whole or not at all.
      scratch: Folder for temporary files; None means the system's.

    Raises:
      InputError: The format is unknown, its converter is not installed or fails, or the file
        cannot be written.
    """
    check_format(name)
    source = str(pathlib.Path(saved_model).resolve())
    with tempfile.TemporaryDirectory(dir=scratch and scratch.resolve()) as folder:
        target = str(pathlib.Path(folder) / FILES[name])
        if name == "onnx":
            # tf2onnx reads SavedModels only as a program.
            options = ["--signature_def", "serving_default", "--opset", str(OPSET)]
            command = [sys.executable, "-P", "-m", "tf2onnx.convert", "--saved-model", source]
            command += [*options, "--output", target]
        else:
            command = [sys.executable, "-P", "-c", _LITERT_CODE, source, target]
        _log.info("converting %s to %s", saved_model, FILES[name])
        completed = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        if completed.returncode:
            raise errors.InputError(
                f"{saved_model} cannot be converted to {name}: "
                f"{''.join(completed.stderr.strip().splitlines()[-1:])[:300]}. The SavedModel "
                "itself is unchanged."
            )
        with files.atomic_write(pathlib.Path(destination)) as partial:
            shutil.copyfile(target, partial)
