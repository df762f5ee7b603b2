"""ConvNet: LeNet-5 with ReLU and max-pooling, the small classifier of the paper.

Tables 2 and 3 of the paper (arXiv 2205.01493), in percent; the attack of RA is PGD in 4 steps,
epsilon 0.1 (MNIST) and 8/255 (CIFAR-10):

| dataset  | epochs       | TA                    | RA                    |
| -------- | ------------ | --------------------- | --------------------- |
| MNIST    | 1 / 30 / 50  | 97.31 / 98.71 / 98.72 | 41.44 / 50.98 / 53.74 |
| CIFAR-10 | 1 / 5 / 50   | 45.71 / 60.46 / 63.07 | 12.49 / 6.62 / 2.88   |

The paper gives no layers; LeCun et al. 1998, which it cites, and the accuracies fit this network:
61,706 parameters on 28x28x1 images of 10 classes, 62,006 on 32x32x3.

```python
classifier = models.build("convnet", data.info)
```
"""

import keras
from keras import layers

from qup.core.types import DatasetInfo, Recipe
from qup.models import build_input, register, scale_channels


def _convolve(images, channels: int, *, is_large: bool):
    """Applies a 5x5 convolution, ReLU and 2x2 pooling."""
    padding = "valid" if is_large else "same"
    images = layers.Conv2D(channels, 5, padding=padding, activation="relu")(images)
    return layers.MaxPooling2D(2)(images)


@register(recipe=Recipe(optimizer="adam", learning_rate=1e-3, batch_size=128))
def convnet(
    info: DatasetInfo, *, width: float = 1.0, mean: float = 0.0, std: float = 1.0
) -> keras.Model:
    """Returns LeNet-5: two convolutions of 5x5, three dense layers.

    The first convolution pads images with sides below 32 pixels with zeros, the second one those
    with sides below 28. So both 28x28 and 32x32 images give the 5x5x16 features of the original,
    and small images give features at all. Initialisation is Keras's (Glorot uniform).

    Images need at least 4x4 pixels.

    Reference:
      LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document
      recognition".
    """
    image, x = build_input(info, mean=mean, std=std, min_size=4)
    side = min(info.image_shape[:2])
    x = _convolve(x, scale_channels(6, width), is_large=side >= 32)
    x = _convolve(x, scale_channels(16, width), is_large=side >= 28)
    x = layers.Flatten()(x)
    x = layers.Dense(scale_channels(120, width), activation="relu")(x)
    x = layers.Dense(scale_channels(84, width), activation="relu")(x)
    logits = layers.Dense(info.num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="convnet")
