"""Keras models as `.keras` files that are whole or absent.

Read a run's translator through this module: it brings the layer that Keras
needs to know.

```python
translator = load("model.keras")
```
"""

import hashlib
import pathlib

import keras
import numpy as np

from qup import (
    batch_normalization,  # noqa: F401, registers its layer
    errors,
    files,
)
from qup.types import LogitsFn


def save(model: keras.Model, path: pathlib.Path) -> None:
    """Writes a `.keras` file, whole or not at all."""
    with files.replacing(path) as partial:
        model.save(partial)


def load(path: pathlib.Path) -> keras.Model:
    """Reads a `.keras` file that `save` wrote.

    Raises:
      InputError: The file is damaged.
    """
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:
        raise errors.InputError(
            f"The model {path} cannot be read: {str(error).splitlines()[0]}. "
            "Remove it, and the next start makes it again."
        ) from error


def digest(logits_fn: LogitsFn) -> str | None:
    """Returns SHA-256, in hex, of a model's weights; None of a function's."""
    if not isinstance(logits_fn, keras.Model):
        return None
    weights = hashlib.sha256()
    for weight in logits_fn.weights:
        weights.update(np.ascontiguousarray(weight.numpy()))
    return weights.hexdigest()
