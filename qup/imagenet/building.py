"""An ImageNet model of Keras as a classifier: pixels in [0, 1] to logits.

```python
classifier = build("MobileNet-0.25-128", weights_dir="weights")
classifier = build("MobileNet-0.25-128", seed=0, image_size=32)  # untrained
```
"""

import os
import pathlib

import keras

from qup.core import hashing
from qup.errors import InputError
from qup.imagenet import networks

_DOCS_PAGE = "the page «Keras Applications» of Keras's documentation"


def build_model(
    name: str,
    *,
    weights_dir: str | os.PathLike | None = None,
    image_size: int | None = None,
    seed: int = 0,
) -> keras.Model:
    """Builds one of the models with its preprocessing inside.

    Every network has its own scale of pixels (VGG: BGR without the mean,
    DenseNet: normalised, others: -1 to 1). Keras's own `preprocess_input`
    stands before it, so that a budget or a distance means the same for all:
    units of [0, 1].

    Args:
      name: One of `networks.names()`.
      weights_dir: Folder with Keras's files of ImageNet weights; None for
        random weights.
      image_size: Pixels a side; None for what Su et al. took.
      seed: Of random weights.

    Returns:
      float32 [batch, size, size, 3] in [0, 1] to logits, float32 [batch,
      1000].

    Raises:
      InputError: Keras has no such model, its file of weights is missing or
        of another network, or the network does not take such small images.
    """
    network = _get_available_model(name)
    weights = None
    if weights_dir is not None:
        weights = str(find_weights(name, weights_dir))
    size = network.image_size if image_size is None else image_size
    keras.utils.set_random_seed(seed)
    body = _construct_model(network, size, weights)
    image = keras.Input((size, size, 3), name="image")
    module = getattr(keras.applications, network.module)
    logits = body(module.preprocess_input(255.0 * image))
    logits = keras.layers.Activation("linear", dtype="float32")(logits)
    return keras.Model(image, logits, name=body.name)


def _get_available_model(name: str) -> networks.ImageNetModel:
    network = networks.get_model(name)
    if not network.available:
        raise InputError(
            f"keras.applications has no {name}; of the 18 models of Fig. 3 "
            f"it lacks {', '.join(networks.list_missing())}. Take one of "
            f"{', '.join(networks.list_names(available=True))}."
        )
    return network


def _construct_model(
    network: networks.ImageNetModel, size: int, weights: str | None
) -> keras.Model:
    options = {} if network.alpha is None else {"alpha": network.alpha}
    try:
        return getattr(keras.applications, network.constructor)(
            input_shape=(size, size, 3),
            weights=weights,
            classes=networks.NUM_CLASSES,
            classifier_activation=None,
            **options,
        )
    # A damaged file fails in many types of exception.
    except Exception as error:
        message = str(error).strip() or type(error).__name__
        reason = message.splitlines()[0].rstrip(".")
        if weights is None:
            hint = f"Its own size is {network.image_size}."
        else:
            hint = (
                f"The weights were read from {weights}; if that file is not "
                f"whole, or another network's, fetch {network.weights_file} "
                f"again (see {_DOCS_PAGE}). "
                f"The images' own size is {network.image_size}."
            )
        raise InputError(
            f"{network.name} cannot be built for images of {size}x{size} pixels: {reason}. {hint}"
        ) from error


def find_weights(name: str, weights_dir: str | os.PathLike) -> pathlib.Path:
    """Returns the file of a model's weights.

    Raises:
      InputError: Keras has no such model, or the file is not there; the
        message says what to fetch and where to put it.
    """
    network = _get_available_model(name)
    path = pathlib.Path(weights_dir).expanduser() / network.weights_file
    if not path.is_file():
        raise InputError(
            f"The ImageNet weights of {name} are missing: there is no file "
            f"{network.weights_file} in {path.parent}. Keras puts it into "
            f"~/.keras/models when keras.applications.{network.constructor} "
            f"is made with weights='imagenet' on a machine with a network; "
            f"{_DOCS_PAGE} lists it. Copy it into {path.parent}, or leave this "
            "model out: the others do not need it."
        )
    return path


def compute_weights_digest(name: str, weights_dir: str | os.PathLike | None) -> str:
    """Returns what tells a model's weights from others.

    Args:
      name: One of the models.
      weights_dir: See `build_model`.

    Returns:
      SHA-256, in hex, of the file; "random" where there is none to read.

    Raises:
      InputError: See `find_weights`.
    """
    if weights_dir is None:
        return "random"
    return hashing.file_digest(find_weights(name, weights_dir))
