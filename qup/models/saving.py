"""Classifiers and translators of this package on disk: `.keras` files, and SavedModels.

A SavedModel takes `image`, float32 [batch, height, width, channels] in [0, 1]. Its endpoint `serve`
(also `serving_default`) gives {logits}, its endpoint `predict` gives {logits, probabilities}. Files
are whole or absent: they are written under a temporary name and then renamed.

Load a translator through this module: it registers the layer that Keras needs.

```python
classifier = load_model("model.keras")
export_saved_model(classifier, "exported")
push_saved_model("exported", "serving/classifier", version=1)
```
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import keras
import numpy as np
import tensorflow as tf

from qup.core import errors, files, hashing
from qup.models.keras_files import read_keras_file
from qup.models.layers import BatchNormalization as BatchNormalization  # Registers it in Keras.

_GRAPH_FILE = "saved_model.pb"
# The folder of a SavedModel for additional files.
_EXTRA_ASSETS = pathlib.Path("assets.extra")
_FINGERPRINT_FILE, _MANIFEST_FILE = _EXTRA_ASSETS / "qup-content", _EXTRA_ASSETS / "qup-files.json"


def save_model(model: keras.Model, path: pathlib.Path) -> None:
    """Writes a `.keras` file, whole or not at all."""
    with files.atomic_write(path) as partial:
        model.save(partial)


def load_model(path: pathlib.Path) -> keras.Model:
    """Reads a `.keras` file that `save_model` wrote.

    Raises:
      InputError: The file is damaged.
    """
    try:
        return read_keras_file(path)
    except errors.InputError as error:
        raise errors.InputError(
            f"{error} If this program wrote it, remove it and run the same command again: it "
            "writes it again."
        ) from error


def export_saved_model(classifier: keras.Model, path: pathlib.Path) -> None:
    """Writes a classifier as a SavedModel folder, whole or not at all.

    Raises:
      InputError: The folder is not writable, or the disk is full.
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
    """Stores a fingerprint of the content, because two exports of one model differ in bytes."""
    files.write_text(path / _FINGERPRINT_FILE, content)


def read_fingerprint(path: pathlib.Path) -> str | None:
    """Returns what `write_fingerprint` stored; None if nothing can be read."""
    try:
        return (path / _FINGERPRINT_FILE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _hash_files(path: pathlib.Path) -> dict[str, str]:
    """Returns the SHA-256 of every file of a SavedModel except the manifest."""
    return {
        file.relative_to(path).as_posix(): hashing.hash_file(file)
        for file in sorted(path.rglob("*"))
        if file.is_file() and file != path / _MANIFEST_FILE
    }


def is_intact(path: pathlib.Path) -> bool:
    """Returns whether a pushed SavedModel is unchanged."""
    try:
        text = (path / _MANIFEST_FILE).read_text(encoding="utf-8")
        return json.loads(text) == _hash_files(path)
    except (OSError, ValueError):
        return False


def push_saved_model(
    exported: pathlib.Path,
    directory: pathlib.Path,
    *,
    version: int,
    additions: pathlib.Path | None = None,
) -> pathlib.Path:
    """Copies a SavedModel into the folder of versions that a server watches.

    The version is copied under a temporary name, its graph last, and then renamed. An existing
    version is replaced.

    Args:
      exported: The folder that `export_saved_model` wrote.
      directory: The model's folder, `--model_base_path` of TensorFlow Serving.
      version: The server uses the largest one.
      additions: A folder of files that are added to the version, such as warm-up requests.

    Returns:
      The version's folder.

    Raises:
      InputError: The folder is not writable, or the disk is full.
    """
    path = pathlib.Path(directory) / str(version)
    exported = pathlib.Path(exported)
    with files.atomic_write(path) as partial:
        shutil.copytree(exported, partial, ignore=shutil.ignore_patterns(_GRAPH_FILE))
        manifest = _hash_files(exported)
        if additions is not None:
            shutil.copytree(additions, partial, dirs_exist_ok=True)
            manifest |= _hash_files(additions)
        files.write_text(partial / _MANIFEST_FILE, json.dumps(manifest, indent=1))
        shutil.copy2(exported / _GRAPH_FILE, partial)
    return path


# Runs in a new interpreter, without qup and Keras.
_CLIENT_CODE = """
import sys
import numpy as np
import tensorflow as tf
path, inputs, outputs = sys.argv[1:]
pixels = np.load(inputs, mmap_mode="r", allow_pickle=False)
model = tf.saved_model.load(path)
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
    """Returns the logits of a SavedModel, loaded in a new process.

    Args:
      path: Its folder.
      images: uint8 [n, height, width, channels].
      scratch: Folder for temporary files; None means the system's.

    Returns:
      float32 [n, num_classes].

    Raises:
      InputError: It does not load.
    """
    if scratch is not None:
        scratch = scratch.resolve()
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        inputs, outputs = (f"{folder}/{name}.npy" for name in ("in", "out"))
        with files.wrap_os_errors(pathlib.Path(inputs)):
            np.save(inputs, images)
        # -P: no import from the current folder, which may hold qup.
        command = [sys.executable, "-P", "-c", _CLIENT_CODE]
        command += [str(pathlib.Path(path).resolve()), inputs, outputs]
        completed = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        if completed.returncode:
            raise errors.InputError(
                f"The exported model {path} failed in a fresh process: "
                f"{completed.stderr.strip().splitlines()[-1:]}"
            )
        return np.load(outputs)
