"""The 18 models of the paper's Fig. 3, 13 of which Keras has.

```python
networks.get("ResNet-v2-50").image_size  # 299
```
"""

import dataclasses

from qup import errors

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
