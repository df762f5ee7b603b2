"""Classifiers as SavedModels, for TensorFlow Serving and its like.

Input `image`, float32 [batch, height, width, channels] in [0, 1]; endpoint
`serve` (also `serving_default`) gives {logits}, endpoint `predict` gives
{logits, probabilities}.

```python
save(classifier, "serving/classifier", version=1)
```
"""

import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from qup import files


def save(
    classifier: keras.Model, directory: pathlib.Path, *, version: int
) -> pathlib.Path:
    """Writes `directory`/`version`, whole or not at all.

    Args:
      classifier: Image to logits.
      directory: Folder of the model's versions, what
        `--model_base_path` names.
      version: Number of the version; the greatest one is served.

    Returns:
      The folder written.

    Raises:
      InputError: The folder cannot be written, or the disk is full.
    """
    signature = [
        tf.TensorSpec(
            (None, *classifier.input_shape[1:]), tf.float32, name="image"
        )
    ]

    def serve(image):
        return {"logits": classifier(image, training=False)}

    def predict(image):
        logits = classifier(image, training=False)
        return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    archive = keras.export.ExportArchive()
    archive.track(classifier)
    archive.add_endpoint("serve", serve, input_signature=signature)
    archive.add_endpoint("predict", predict, input_signature=signature)
    path = pathlib.Path(directory) / str(version)
    with files.replacing(path) as partial:
        archive.write_out(str(partial), verbose=False)
    return path


# Run by a fresh interpreter that knows neither qup nor Keras.
_CLIENT = """
import sys
import numpy as np
import tensorflow as tf
images = np.load(sys.argv[1], allow_pickle=False)
for number, path in enumerate(sys.argv[2:]):
    model = tf.saved_model.load(path)
    default = model.signatures["serving_default"](image=tf.constant(images))
    single = model.serve(tf.constant(images[:1]))["logits"]
    both = model.predict(tf.constant(images))
    np.testing.assert_allclose(default["logits"][:1], single, atol=1e-3)
    np.testing.assert_allclose(tf.reduce_sum(both["probabilities"], -1), 1,
                               atol=1e-4)
    np.save(f"{sys.argv[1]}.{number}.npy", both["logits"].numpy())
assert "qup" not in sys.modules
"""


def verify(
    exported: Mapping[pathlib.Path, keras.Model], images: np.ndarray
) -> float:
    """Reloads SavedModels in a fresh process and compares their logits.

    Args:
      exported: Folder of each SavedModel, and the classifier it holds.
      images: float32 [batch, height, width, channels] to compare on.

    Returns:
      The greatest absolute difference of a logit.

    Raises:
      RuntimeError: A model does not load, or answers otherwise.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs = str(pathlib.Path(folder) / "images.npy")
        np.save(inputs, images)
        # -P: not from the current folder, where qup may lie.
        command = [sys.executable, "-P", "-c", _CLIENT, inputs]
        command += [str(path.resolve()) for path in exported]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=folder
        )
        if done.returncode:
            raise RuntimeError(
                "An exported model failed in a fresh process:\n"
                + done.stderr[-2000:]
            )
        worst = 0.0
        for number, (path, classifier) in enumerate(exported.items()):
            served = np.load(f"{inputs}.{number}.npy")
            logits = classifier(images, training=False).numpy()
            difference = float(np.abs(served - logits).max())
            if not difference <= 1e-3 * max(1.0, np.abs(logits).max()):
                raise RuntimeError(
                    f"{path} answers otherwise than the classifier it was "
                    f"exported from: a logit differs by {difference:g}."
                )
            worst = max(worst, difference)
    return worst
