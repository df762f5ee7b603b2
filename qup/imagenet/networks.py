"""The 18 models of the paper's Fig. 3, 13 of which Keras has.

```python
networks.get("ResNet-v2-50").image_size  # 299
```
"""

import dataclasses

from qup import errors

NUM_CLASSES = 1000


@dataclasses.dataclass(frozen=True)
class Network:
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
NETWORKS = (
    Network("AlexNet", "AlexNet", 227),
    Network("VGG 16", "VGG", 224, "VGG16", "vgg16",
            f"vgg16_{_TF}", 138_357_544),
    Network("VGG 19", "VGG", 224, "VGG19", "vgg19",
            f"vgg19_{_TF}", 143_667_240),
    Network("ResNet-v2-50", "ResNet", 299, "ResNet50V2", "resnet_v2",
            f"resnet50v2_{_TF}", 25_613_800),
    Network("ResNet-v2-101", "ResNet", 299, "ResNet101V2", "resnet_v2",
            f"resnet101v2_{_TF}", 44_675_560),
    Network("ResNet-v2-152", "ResNet", 299, "ResNet152V2", "resnet_v2",
            f"resnet152v2_{_TF}", 60_380_648),
    Network("MobileNet-1.0-224", "MobileNet", 224, "MobileNet", "mobilenet",
            "mobilenet_1_0_224_tf.h5", 4_253_864, 1.0),
    Network("MobileNet-0.50-160", "MobileNet", 224, "MobileNet", "mobilenet",
            "mobilenet_5_0_160_tf.h5", 1_342_536, 0.5),
    Network("MobileNet-0.25-128", "MobileNet", 224, "MobileNet", "mobilenet",
            "mobilenet_2_5_128_tf.h5", 475_544, 0.25),
    Network("Inception-v1", "Inception", 224),
    Network("Inception-v2", "Inception", 224),
    Network("Inception-v3", "Inception", 299, "InceptionV3", "inception_v3",
            f"inception_v3_{_TF}", 23_851_784),
    Network("Inception-ResNet-v2", "Inception", 299, "InceptionResNetV2",
            "inception_resnet_v2", f"inception_resnet_v2_{_TF}", 55_873_736),
    Network("Inception-v4", "Inception", 299),
    Network("DenseNet-121-k32", "DenseNet", 224, "DenseNet121", "densenet",
            f"densenet121_{_TF}", 8_062_504),
    Network("DenseNet-169-k32", "DenseNet", 224, "DenseNet169", "densenet",
            f"densenet169_{_TF}", 14_307_880),
    Network("DenseNet-161-k48", "DenseNet", 224),
    Network("NASNet", "NASNet", 331, "NASNetLarge", "nasnet",
            "nasnet_large.h5", 88_949_818),
)  # fmt: skip
FAMILIES = tuple(dict.fromkeys(network.family for network in NETWORKS))


def names(*, available: bool = False) -> tuple[str, ...]:
    """Returns the names in the figure's order.

    Args:
      available: Only of those that keras.applications has.
    """
    return tuple(n.name for n in NETWORKS if n.available or not available)


def missing() -> tuple[str, ...]:
    """Returns the names of those that keras.applications has not."""
    return tuple(n.name for n in NETWORKS if not n.available)


def get(name: str) -> Network:
    """Returns one of the 18.

    Raises:
      InputError: No such name.
    """
    for network in NETWORKS:
        if network.name == name:
            return network
    raise errors.unknown("ImageNet model", name, names())
