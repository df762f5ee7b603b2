"""Keras models as `.keras` files that are whole or absent.

Read a run's translator through this module: it brings the layer that Keras
needs to know.

```python
translator = load("model.keras")
```
"""

import pathlib
import zipfile
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from qup import (
    batch_normalization,  # noqa: F401, registers its layer
    errors,
    files,
)
from qup.core import hashing
from qup.types import LogitsFn


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


def hash_weights(logits_fn: LogitsFn) -> str | None:
    """Returns SHA-256, in hex, of a model's weights; None of a function's."""
    if not isinstance(logits_fn, keras.Model):
        return None
    return hashing.joined_digest(
        np.ascontiguousarray(weight.numpy()) for weight in logits_fn.weights
    )
