"""Keras models as `.keras` files that are whole or absent.

Read a run's translator through this module: it brings the layer that Keras
needs to know.

```python
translator = load("model.keras")
```
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from qup.core import errors, files, hashing
from qup.core.types import LogitsFn


def save_model(model: keras.Model, path: pathlib.Path) -> None:
    """Writes a `.keras` file, whole or not at all."""
    with files.atomic_write(path) as partial:
        model.save(partial)


def load_model(path: pathlib.Path) -> keras.Model:
    """Reads a `.keras` file that `save_model` wrote.

    Raises:
      InputError: The file is damaged.
    """
    return _read_keras_file(path, "Remove it, and the next start makes it again.")


def load_user_model(path: pathlib.Path) -> keras.Model:
    """Reads a `.keras` file of a user.

    A model of Keras is a program: load only what you trust.

    Raises:
      InputError: It cannot be read.
    """
    return _read_keras_file(
        path,
        "It must be a .keras file of Keras 3, without Lambda layers; a model "
        "with code of its own goes in as a SavedModel.",
    )


def _read_keras_file(path: pathlib.Path, remedy: str) -> keras.Model:
    if path.is_file() and not zipfile.is_zipfile(path):
        # Keras would say that there is no such file.
        raise errors.InputError(
            f"The model {path} cannot be read: its {path.stat().st_size} "
            f"bytes are no whole .keras archive. {remedy}"
        )
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:
        raise errors.InputError(
            f"The model {path} cannot be read: {_format_first_line(error)}. {remedy}"
        ) from error


def check_model(
    logits_fn: LogitsFn, path: pathlib.Path, image_shape: Sequence[int], num_classes: int
) -> None:
    """Asks a user's model about two black images.

    Args:
      logits_fn: The model.
      path: Its file, for the message.
      image_shape: (height, width, channels) of the images to come.
      num_classes: Their classes; the model may know more.

    Raises:
      InputError: It takes other images, or gives no logits in float32.
    """
    shape = " x ".join(map(str, image_shape))
    requirement = (
        f"The model {path} must take batches of any size of float32 images "
        f"{shape} and give one output, logits in float32 [batch, "
        f"{num_classes}]; "
    )
    try:
        outputs = logits_fn(tf.zeros((2, *image_shape)))
    except Exception as error:
        actual = getattr(logits_fn, "input_shape", None)
        actual = f"it takes {actual}" if actual else f"it says: {_format_first_line(error)}"
        raise errors.InputError(
            f"{requirement}{actual}. Export one for this dataset, or name the "
            "dataset that it is of."
        ) from error
    if not tf.is_tensor(outputs):
        raise errors.InputError(
            f"{requirement}it gives {len(outputs)} outputs. Save a model of the logits alone."
        )
    if outputs.shape.rank != 2 or outputs.shape[1] < num_classes:
        raise errors.InputError(
            f"{requirement}it gives {[*outputs.shape]} for two images. Name the "
            "dataset that it is of, or save a model that ends in its logits."
        )
    if outputs.dtype != tf.float32:
        raise errors.InputError(
            f"{requirement}it gives {outputs.dtype.name}. End it with "
            "keras.layers.Activation('linear', dtype='float32')."
        )


def _format_first_line(error: Exception) -> str:
    """Returns the first line of what an error says."""
    message = str(error).strip() or type(error).__name__
    return message.splitlines()[0].rstrip(".")


# A SavedModel, whoever wrote it, as a classifier.
#
# ```python
# classifier = load("serving/classifier/1")
# logits = classifier(images)
# ```


_ENDPOINT = "serving_default"


class SavedModelClassifier:
    """The endpoint `serving_default` of a SavedModel."""

    def __init__(self, path: pathlib.Path):
        """Loads it, see `load_saved_model`."""
        # The variables live as long as this object.
        self._saved_model = tf.saved_model.load(str(path))
        signatures = self._saved_model.signatures
        if _ENDPOINT not in signatures:
            raise errors.InputError(
                f"The SavedModel {path} has no endpoint {_ENDPOINT!r}, only "
                f"{sorted(signatures)}. Export it with one."
            )
        self._endpoint_fn = signatures[_ENDPOINT]
        inputs = list(self._endpoint_fn.structured_input_signature[1])
        outputs = list(self._endpoint_fn.structured_outputs)
        self._input_name = inputs[0]
        self._output_name = "logits" if "logits" in outputs else outputs[0]
        if len(inputs) != 1 or (len(outputs) != 1 and self._output_name != "logits"):
            raise errors.InputError(
                f"The endpoint {_ENDPOINT!r} of {path} must take one batch of "
                "images and give one output, or one called 'logits'; it "
                f"takes {inputs} and gives {outputs}."
            )

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the logits of float32 [batch, ...]."""
        return self._endpoint_fn(**{self._input_name: images})[self._output_name]


def load_saved_model(path: pathlib.Path) -> SavedModelClassifier:
    """Returns the classifier of a SavedModel.

    A SavedModel is a program: load only what you trust.

    Raises:
      InputError: It cannot be read, or is no classifier.
    """
    try:
        return SavedModelClassifier(path)
    except errors.InputError:
        raise
    except Exception as error:
        # Of a damaged folder TensorFlow raises whatever comes.
        message = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise errors.InputError(
            f"The SavedModel {path} cannot be read: {message.rstrip('.')}. Export it again."
        ) from error


# Classifiers as SavedModels, for TensorFlow Serving and its like.
#
# Input `image`, float32 [batch, height, width, channels] in [0, 1]; endpoint
# `serve` (also `serving_default`) gives {logits}, endpoint `predict` gives
# {logits, probabilities}.
#
# ```python
# save(classifier, "exported")
# push("exported", "serving/classifier", version=1)
# ```


_GRAPH_FILE = "saved_model.pb"
# SavedModel's place for what others add.
_EXTRA_ASSETS = pathlib.Path("assets.extra")
_FINGERPRINT_FILE, _MANIFEST_FILE = _EXTRA_ASSETS / "qup-content", _EXTRA_ASSETS / "qup-files.json"


def export_saved_model(classifier: keras.Model, path: pathlib.Path) -> None:
    """Writes a SavedModel, whole or not at all.

    Args:
      classifier: Image to logits.
      path: The folder to write.

    Raises:
      InputError: The folder cannot be written, or the disk is full.
    """
    signature = [tf.TensorSpec((None, *classifier.input_shape[1:]), tf.float32, name="image")]

    def serve(image):
        return {"logits": classifier(image, training=False)}

    def predict(image):
        logits = classifier(image, training=False)
        return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    archive = keras.export.ExportArchive()
    archive.track(classifier)
    archive.add_endpoint("serve", serve, input_signature=signature)
    archive.add_endpoint("predict", predict, input_signature=signature)
    with files.atomic_write(pathlib.Path(path)) as partial:
        archive.write_out(str(partial), verbose=False)


def write_fingerprint(path: pathlib.Path, content: str) -> None:
    """Notes in a SavedModel what it holds; equal ones differ in bytes."""
    files.write_text(path / _FINGERPRINT_FILE, content)


def read_fingerprint(path: pathlib.Path) -> str | None:
    """Returns what `write_fingerprint` noted; None where nothing can be read."""
    try:
        return (path / _FINGERPRINT_FILE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _hash_files(path: pathlib.Path) -> dict[str, str]:
    """Returns SHA-256 of every file of a SavedModel but the list of them."""
    return {
        file.relative_to(path).as_posix(): hashing.file_digest(file)
        for file in sorted(path.rglob("*"))
        if file.is_file() and file != path / _MANIFEST_FILE
    }


def is_intact(path: pathlib.Path) -> bool:
    """Says whether a pushed SavedModel is as it was pushed."""
    try:
        text = (path / _MANIFEST_FILE).read_text(encoding="utf-8")
        return json.loads(text) == _hash_files(path)
    except (OSError, ValueError):
        return False


def push_saved_model(
    exported: pathlib.Path, directory: pathlib.Path, *, version: int
) -> pathlib.Path:
    """Copies a SavedModel to where a server watches for versions.

    The version appears at once: copied beside, the program last, and then
    renamed. One that is there is replaced.

    Args:
      exported: The folder that `export_saved_model` wrote.
      directory: Folder of the model's versions, what `--model_base_path`
        names.
      version: Its number; the greatest one is served.

    Returns:
      The version's folder.

    Raises:
      InputError: The folder cannot be written, or the disk is full.
    """
    path = pathlib.Path(directory) / str(version)
    exported = pathlib.Path(exported)
    with files.atomic_write(path) as partial:
        shutil.copytree(exported, partial, ignore=shutil.ignore_patterns(_GRAPH_FILE))
        manifest = json.dumps(_hash_files(exported), indent=1)
        files.write_text(partial / _MANIFEST_FILE, manifest)
        shutil.copy2(exported / _GRAPH_FILE, partial)
    return path


# Run by a fresh interpreter that knows neither qup nor Keras.
_CLIENT_CODE = """
import sys
import numpy as np
import tensorflow as tf
path, inputs, outputs = sys.argv[1:]
pixels = np.load(inputs, mmap_mode="r", allow_pickle=False)
model = tf.saved_model.load(path)
first = tf.constant(pixels[:8] / np.float32(255))
default = model.signatures["serving_default"](image=first)["logits"]
both = model.predict(first)
np.testing.assert_allclose(model.serve(first[:1])["logits"], default[:1],
                           atol=1e-3, rtol=1e-3)
np.testing.assert_allclose(both["logits"], default, atol=1e-3, rtol=1e-3)
np.testing.assert_allclose(tf.reduce_sum(both["probabilities"], -1), 1,
                           atol=1e-4)
logits = [
    model.serve(tf.constant(pixels[start:start + 500] / np.float32(255)))
    ["logits"].numpy() for start in range(0, len(pixels), 500)
]
np.save(outputs, np.concatenate(logits))
assert "qup" not in sys.modules
"""


def compute_served_logits(
    path: pathlib.Path, images: np.ndarray, *, scratch: pathlib.Path | None = None
) -> np.ndarray:
    """Reloads a SavedModel in a fresh process and asks it.

    Args:
      path: Its folder.
      images: uint8 [n, height, width, channels].
      scratch: Folder for what a kill may leave; None: the system's.

    Returns:
      float32 [n, num_classes].

    Raises:
      InputError: It does not load, or its endpoints contradict each other.
    """
    if scratch is not None:
        scratch = scratch.resolve()
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        inputs, outputs = (f"{folder}/{name}.npy" for name in ("in", "out"))
        with files.wrap_os_errors(pathlib.Path(inputs)):
            np.save(inputs, images)
        # -P: not from the current folder, where qup may lie.
        command = [sys.executable, "-P", "-c", _CLIENT_CODE]
        command += [str(pathlib.Path(path).resolve()), inputs, outputs]
        completed = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        if completed.returncode:
            raise errors.InputError(
                f"The exported model {path} failed in a fresh process: "
                f"{completed.stderr.strip().splitlines()[-1:]}"
            )
        return np.load(outputs)
