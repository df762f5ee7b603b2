"""Classifiers, image to logits, one file per model.

```python
classifier = models.build("convnet", data.info, seed=0)
```

A model is a registered function of a dataset's `info` and of options. It returns a Keras model,
float32 [batch, height, width, channels] in [0, 1] to logits, float32 [batch, num_classes], and
raises an InputError for images that are too small and for options out of their range. Common
options are `width`, a factor of the channels and units, and `mean` and `std`, see `build_input`.
"""

import inspect
import math
from typing import Any

import keras

from qup.core import environment, errors
from qup.core.registry import Registry
from qup.core.types import DatasetInfo, Recipe

environment.configure_keras()
_registry = Registry("qup.models", "model")
register = _registry.register
names = _registry.names
get = _registry.get


def get_recipe(name: str) -> Recipe:
    """Returns the training recipe of a model, from the paper or its source."""
    return _registry.traits(name)["recipe"]


def scale_channels(channels: int, width: float) -> int:
    """Returns `channels` times `width`, rounded half up, at least 1.

    Raises:
      InputError: `width` is not a positive finite number.
    """
    errors.check_number("width", width, above=0)
    return max(1, math.floor(channels * width + 0.5))


def build_input(
    info: DatasetInfo, *, mean: float = 0.0, std: float = 1.0, min_size: int = 1
) -> tuple[Any, Any]:
    """Returns the input of a classifier, and the normalised images.

    Args:
      info: The dataset; its `image_shape` is the input's.
      mean: Subtracted from every pixel, in units of [0, 1].
      std: Divisor of the result, in the same units.
      min_size: Smallest side, in pixels, that the network's pooling layers allow.

    Returns:
      (input, images): Keras tensors, [batch, height, width, channels]; the first is in [0, 1] and
      named "image", the second (input - mean) / std.

    Raises:
      InputError: The images are too small, `mean` or `std` is not finite, or `std` is not positive.
    """
    if min(info.image_shape[:2]) < min_size:
        raise errors.InputError(
            f"This model needs images of at least {min_size}x{min_size} pixels; those of "
            f"{info.name!r} have the shape {info.image_shape}. Enlarge them or use resnet, which "
            "has no minimum size."
        )
    if not (math.isfinite(mean) and 0 < std < math.inf):
        raise errors.InputError(
            f"mean must be finite and std positive and finite; got mean={mean}, std={std}. 0 and 1 "
            "do not change the pixels."
        )
    image = keras.Input(info.image_shape, name="image")
    if (mean, std) == (0, 1):
        return image, image
    # (image - mean) / std
    return image, keras.layers.Rescaling(1 / std, -mean / std)(image)


def build(name: str, info: DatasetInfo, *, seed: int = 0, **options: Any) -> keras.Model:
    """Builds an untrained classifier.

    Args:
      name: A registered model.
      info: The dataset.
      seed: Seed of initialisation and dropout; equal seeds give equal weights.
      **options: Keyword arguments of the model ("width", "depth").

    Returns:
      A Keras model, float32 [batch, height, width, channels] in [0, 1] to logits, float32 [batch,
      num_classes].

    Raises:
      InputError: Unknown name or option, or an option out of its range.
    """
    function = get(name)
    known = list(inspect.signature(function).parameters)[1:]
    for option in options:
        if option not in known:
            raise errors.make_unknown_error(f"option of {name}", option, known)
    keras.utils.set_random_seed(seed)
    return function(info, **options)
