"""Classifiers, image to logits: one file each.

```python
classifier = models.build("convnet", data.info, seed=0)
```
"""

import inspect
from typing import Any

import keras

from qup import errors
from qup.registry import Registry
from qup.types import DatasetInfo, Recipe

_registry = Registry("qup.models", "model")
register = _registry.register
names = _registry.names
get = _registry.get


def recipe(name: str) -> Recipe:
    """Returns how the paper, or its source, trains the model `name`."""
    return _registry.traits(name)["recipe"]


def build(
    name: str, info: DatasetInfo, *, seed: int = 0, **options: Any
) -> keras.Model:
    """Builds an untrained classifier.

    Args:
      name: A registered model.
      info: The dataset it is for.
      seed: Drives initialisation and dropout; equal seeds, equal weights.
      **options: The model's own keyword arguments ("width", "depth").

    Returns:
      A Keras model, float32 [batch, height, width, channels] in [0, 1] to
      logits, float32 [batch, num_classes].

    Raises:
      InputError: Unknown name or option, or an option out of its range.
    """
    function = get(name)
    known = list(inspect.signature(function).parameters)[1:]
    for option in options:
        if option not in known:
            raise errors.unknown(f"option of {name}", option, known)
    keras.utils.set_random_seed(seed)
    return function(info, **options)
