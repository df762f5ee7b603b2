"""The 18 models of the paper's Fig. 3, 13 of which Keras has.

```python
networks.get("ResNet-v2-50").image_size  # 299
```
"""

import dataclasses
import functools
import importlib.util
import os
import pathlib
import re

import keras

from qup.core import errors, hashing
from qup.core.errors import InputError

NUM_CLASSES = 1000


@dataclasses.dataclass(frozen=True)
class ImageNetModel:
    """One of the 18 models.

    Attributes:
      name: As the paper's figure has it.
      family: Whose colour it has there; models that differ in depth or
        width.
      image_size: Pixels a side that Su et al. gave it; also to the
        MobileNets whose names end in another.
      constructor: Its name in keras.applications; "" where Keras has none.
      module: Where its preprocessing is, in keras.applications.
      weights_file: What Keras calls the file of its ImageNet weights.
      parameters: Their number in Keras; None where it has none.
      alpha: Width of a MobileNet.
    """

    name: str
    family: str
    image_size: int
    constructor: str = ""
    module: str = ""
    weights_file: str = ""
    parameters: int | None = None
    alpha: float | None = None

    @property
    def available(self) -> bool:
        """Whether keras.applications has it."""
        return bool(self.constructor)


_TF = "weights_tf_dim_ordering_tf_kernels.h5"
MODELS = (
    ImageNetModel("AlexNet", "AlexNet", 227),
    ImageNetModel("VGG 16", "VGG", 224, "VGG16", "vgg16", f"vgg16_{_TF}", 138_357_544),
    ImageNetModel("VGG 19", "VGG", 224, "VGG19", "vgg19", f"vgg19_{_TF}", 143_667_240),
    ImageNetModel(
        "ResNet-v2-50", "ResNet", 299, "ResNet50V2", "resnet_v2", f"resnet50v2_{_TF}", 25_613_800
    ),
    ImageNetModel(
        "ResNet-v2-101", "ResNet", 299, "ResNet101V2", "resnet_v2", f"resnet101v2_{_TF}", 44_675_560
    ),
    ImageNetModel(
        "ResNet-v2-152", "ResNet", 299, "ResNet152V2", "resnet_v2", f"resnet152v2_{_TF}", 60_380_648
    ),
    ImageNetModel(
        "MobileNet-1.0-224",
        "MobileNet",
        224,
        "MobileNet",
        "mobilenet",
        "mobilenet_1_0_224_tf.h5",
        4_253_864,
        1.0,
    ),
    ImageNetModel(
        "MobileNet-0.50-160",
        "MobileNet",
        224,
        "MobileNet",
        "mobilenet",
        "mobilenet_5_0_160_tf.h5",
        1_342_536,
        0.5,
    ),
    ImageNetModel(
        "MobileNet-0.25-128",
        "MobileNet",
        224,
        "MobileNet",
        "mobilenet",
        "mobilenet_2_5_128_tf.h5",
        475_544,
        0.25,
    ),
    ImageNetModel("Inception-v1", "Inception", 224),
    ImageNetModel("Inception-v2", "Inception", 224),
    ImageNetModel(
        "Inception-v3",
        "Inception",
        299,
        "InceptionV3",
        "inception_v3",
        f"inception_v3_{_TF}",
        23_851_784,
    ),
    ImageNetModel(
        "Inception-ResNet-v2",
        "Inception",
        299,
        "InceptionResNetV2",
        "inception_resnet_v2",
        f"inception_resnet_v2_{_TF}",
        55_873_736,
    ),
    ImageNetModel("Inception-v4", "Inception", 299),
    ImageNetModel(
        "DenseNet-121-k32",
        "DenseNet",
        224,
        "DenseNet121",
        "densenet",
        f"densenet121_{_TF}",
        8_062_504,
    ),
    ImageNetModel(
        "DenseNet-169-k32",
        "DenseNet",
        224,
        "DenseNet169",
        "densenet",
        f"densenet169_{_TF}",
        14_307_880,
    ),
    ImageNetModel("DenseNet-161-k48", "DenseNet", 224),
    ImageNetModel("NASNet", "NASNet", 331, "NASNetLarge", "nasnet", "nasnet_large.h5", 88_949_818),
)
FAMILIES = tuple(dict.fromkeys(network.family for network in MODELS))


def list_names(*, available: bool = False) -> tuple[str, ...]:
    """Returns the names in the figure's order.

    Args:
      available: Only of those that keras.applications has.
    """
    return tuple(n.name for n in MODELS if n.available or not available)


def list_missing() -> tuple[str, ...]:
    """Returns the names of those that keras.applications has not."""
    return tuple(n.name for n in MODELS if not n.available)


def get_model(name: str) -> ImageNetModel:
    """Returns one of the 18.

    Raises:
      InputError: No such name.
    """
    for network in MODELS:
        if network.name == name:
            return network
    raise errors.make_unknown_error("ImageNet model", name, list_names())


# An ImageNet model of Keras as a classifier: pixels in [0, 1] to logits.
#
# ```python
# classifier = build("MobileNet-0.25-128", weights_dir="weights")
# classifier = build("MobileNet-0.25-128", seed=0, image_size=32)  # untrained
# ```


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


def _get_available_model(name: str) -> ImageNetModel:
    network = get_model(name)
    if not network.available:
        raise InputError(
            f"keras.applications has no {name}; of the 18 models of Fig. 3 "
            f"it lacks {', '.join(list_missing())}. Take one of "
            f"{', '.join(list_names(available=True))}."
        )
    return network


def _construct_model(network: ImageNetModel, size: int, weights: str | None) -> keras.Model:
    options = {} if network.alpha is None else {"alpha": network.alpha}
    try:
        return getattr(keras.applications, network.constructor)(
            input_shape=(size, size, 3),
            weights=weights,
            classes=NUM_CLASSES,
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


# ImageNet's 1,000 classes: the WordNet number of each, in Keras's order.
#
# The numbers are sorted, and a class's place among them is its index.
#
# ```python
# index("n01440764")  # 0, the tench
# index("999")
# ```


@functools.cache
def load_wordnet_numbers() -> tuple[str, ...]:
    """Returns the numbers ("n01440764", ...) from tensorflow-datasets."""
    # Only its file is of interest, so nothing of it is imported.
    package = importlib.util.find_spec("tensorflow_datasets").origin
    path = pathlib.Path(package).parent / "datasets/imagenet2012/labels.txt"
    return tuple(path.read_text("utf-8").split())


def get_class_index(name: str) -> int:
    """Returns the class that a folder's name means.

    Args:
      name: An index, "0" to "999", or a WordNet number.

    Raises:
      InputError: It is neither.
    """
    if re.fullmatch("[0-9]+", name) and int(name) < NUM_CLASSES:
        return int(name)
    try:
        return load_wordnet_numbers().index(name)
    except ValueError:
        raise InputError(
            f"{name!r} is no ImageNet class: name each folder by the class's "
            "index, 0 to 999, or by its WordNet number, such as n01440764."
        ) from None
