"""The 18 models of the paper's Fig. 3, of which Keras has 13.

```python
get_model("ResNet-v2-50").image_size  # 299
classifier = build_model("MobileNet-0.25-128", weights_dir="weights")
classifier = build_model("MobileNet-0.25-128", seed=0, image_size=32)  # random weights
```
"""

import csv
import dataclasses
import os
import pathlib

import keras

from qup.core import errors, hashing
from qup.core.errors import InputError

NUM_CLASSES = 1000
_DOCS_PAGE = 'the page "Keras Applications" of Keras\'s documentation'


@dataclasses.dataclass(frozen=True)
class ImageNetModel:
    """One of the 18 models.

    Attributes:
      name: As in the paper's figure.
      family: Models that differ in depth or width only; sets the colour in the figure.
      image_size: Pixels per side in Su et al., also for MobileNets with another size in the name.
      constructor: Name in keras.applications; "" where Keras does not have the model.
      module: Module of its preprocessing in keras.applications.
      weights_file: Keras's name of the file of ImageNet weights.
      parameters: Number of parameters in Keras; None where Keras does not have the model.
      alpha: Width of a MobileNet.
    """

    name: str
    family: str
    image_size: int
    constructor: str
    module: str
    weights_file: str
    parameters: int | None
    alpha: float | None

    @property
    def available(self) -> bool:
        """Whether keras.applications has it."""
        return bool(self.constructor)


def _read_models() -> tuple[ImageNetModel, ...]:
    with pathlib.Path(__file__).with_name("models.csv").open(newline="", encoding="utf-8") as file:
        return tuple(
            ImageNetModel(
                **{
                    **record,
                    "image_size": int(record["image_size"]),
                    "parameters": int(record["parameters"]) if record["parameters"] else None,
                    "alpha": float(record["alpha"]) if record["alpha"] else None,
                }
            )
            for record in csv.DictReader(file)
        )


MODELS = _read_models()
FAMILIES = tuple(dict.fromkeys(model.family for model in MODELS))


def list_names(*, available: bool = False) -> tuple[str, ...]:
    """Returns the names in the figure's order, on request only of the models that Keras has."""
    return tuple(model.name for model in MODELS if model.available or not available)


def list_missing() -> tuple[str, ...]:
    """Returns the names of the models that Keras does not have."""
    return tuple(model.name for model in MODELS if not model.available)


def get_model(name: str) -> ImageNetModel:
    """Returns one of the 18 models, or raises an InputError."""
    for model in MODELS:
        if model.name == name:
            return model
    raise errors.make_unknown_error("ImageNet model", name, list_names())


def build_model(
    name: str,
    *,
    weights_dir: str | os.PathLike | None = None,
    image_size: int | None = None,
    seed: int = 0,
) -> keras.Model:
    """Builds one of the models with its preprocessing inside.

    Each network has its own scale of pixels (VGG: BGR minus the mean, DenseNet: normalised, others:
    -1 to 1). The model contains Keras's `preprocess_input`, so that budgets and distances have the
    same unit for all networks.

    Args:
      name: One of `list_names(available=True)`.
      weights_dir: Folder with Keras's files of ImageNet weights; None for random weights.
      image_size: Pixels per side; None for the size in Su et al.
      seed: Of random weights.

    Returns:
      float32 [batch, size, size, 3] in [0, 1] to logits, float32 [batch, 1000].

    Raises:
      InputError: Keras does not have the model, its file of weights is missing or belongs to
        another network, or the network does not accept images of this size.
    """
    model = _get_available_model(name)
    weights = None if weights_dir is None else str(find_weights(name, weights_dir))
    size = model.image_size if image_size is None else image_size
    keras.utils.set_random_seed(seed)
    body = _construct_model(model, size, weights)
    image = keras.Input((size, size, 3), name="image")
    module = getattr(keras.applications, model.module)
    logits = body(module.preprocess_input(255.0 * image))
    logits = keras.layers.Activation("linear", dtype="float32")(logits)
    return keras.Model(image, logits, name=body.name)


def _get_available_model(name: str) -> ImageNetModel:
    model = get_model(name)
    if not model.available:
        raise InputError(
            f"keras.applications has no {name}; of the 18 models of Fig. 3 it lacks "
            f"{', '.join(list_missing())}. Take one of {', '.join(list_names(available=True))}."
        )
    return model


def _construct_model(model: ImageNetModel, size: int, weights: str | None) -> keras.Model:
    options = {} if model.alpha is None else {"alpha": model.alpha}
    try:
        return getattr(keras.applications, model.constructor)(
            input_shape=(size, size, 3),
            weights=weights,
            classes=NUM_CLASSES,
            classifier_activation=None,
            **options,
        )
    # Keras raises exceptions of many types for a damaged file.
    except Exception as error:
        message = str(error).strip() or type(error).__name__
        hint = f"Its default size is {model.image_size}."
        if weights is not None:
            hint += (
                f" The weights were read from {weights}; if that file is incomplete or belongs to "
                f"another network, download {model.weights_file} again (see {_DOCS_PAGE})."
            )
        raise InputError(
            f"{model.name} cannot be built for images of {size}x{size} pixels: "
            f"{message.splitlines()[0].rstrip('.')}. {hint}"
        ) from error


def find_weights(name: str, weights_dir: str | os.PathLike) -> pathlib.Path:
    """Returns the file of a model's weights.

    Raises:
      InputError: Keras does not have the model, or the file is missing.
    """
    model = _get_available_model(name)
    path = pathlib.Path(weights_dir).expanduser() / model.weights_file
    if not path.is_file():
        raise InputError(
            f"The ImageNet weights of {name} are missing: there is no file {model.weights_file} in "
            f"{path.parent}. Keras downloads it to ~/.keras/models when "
            f"keras.applications.{model.constructor} is called with weights='imagenet'; see "
            f"{_DOCS_PAGE}. Copy it to {path.parent}, or leave this model out."
        )
    return path


def compute_weights_digest(name: str, weights_dir: str | os.PathLike | None) -> str:
    """Returns the SHA-256 of the file of weights, in hex; "random" without a folder."""
    if weights_dir is None:
        return "random"
    return hashing.hash_file(find_weights(name, weights_dir))
