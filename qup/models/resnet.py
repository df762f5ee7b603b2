"""ResNet: the residual networks of He et al., adapted to small images.

Tables 2 and 3 of the paper (arXiv 2205.01493), in percent; the attack of RA is PGD in 4 steps,
epsilon 0.1 (MNIST) and 8/255 (CIFAR-10):

| dataset  | epochs       | TA                    | RA                    |
| -------- | ------------ | --------------------- | --------------------- |
| MNIST    | 1 / 30 / 50  | 98.65 / 99.50 / 99.57 | 90.88 / 98.22 / 98.27 |
| CIFAR-10 | 1 / 5 / 50   | 70.42 / 82.97 / 86.86 | 10.67 / 14.17 / 1.45  |

The paper states no depth; its accuracies fit ResNet-18 with a 3x3 first convolution, as in
kuangliu's pytorch-cifar, trained without augmentation: 11,173,962 trainable parameters on CIFAR-10.
The narrow family of section 4.2 of He et al. trains faster: depth 20 has 269,722.

```python
classifier = models.build("resnet", data.info, depth=20)
```
"""

from collections.abc import Callable

import keras
from keras import layers

from qup.core import errors
from qup.core.types import DatasetInfo, Recipe
from qup.models import build_input, register, scale_channels

# Depths 6n + 2 of three stages of n blocks, 16 to 64 channels.
_NARROW = (20, 32, 44, 56, 110)
_DEPTHS = (18, *_NARROW)


def _convolve(x, channels: int, size: int = 3, stride: int = 1):
    """Applies a convolution without bias, and batch normalisation."""
    # PyTorch pads both sides where Keras's strided "same" pads one. So each output is centred on
    # the pixel that the shortcut passes on.
    if stride > 1 and size > 1:
        x = layers.ZeroPadding2D(size // 2)(x)
    x = layers.Conv2D(
        channels,
        size,
        stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def _project_shortcut(x, channels: int, stride: int):
    """Applies a 1x1 convolution where the shape changes."""
    if stride == 1 and x.shape[-1] == channels:
        return x
    return _convolve(x, channels, size=1, stride=stride)


def _pad_shortcut(x, channels: int, stride: int):
    """Subsamples the pixels and pads the channels with zeros: no parameters."""
    if stride > 1:
        x = layers.MaxPooling2D(1, stride, padding="same")(x)
    missing = channels - x.shape[-1]
    if missing > 0:
        before = missing // 2
        channel_padding = (before, missing - before)
        x = keras.ops.pad(x, ((0, 0), (0, 0), (0, 0), channel_padding))
    return x


def _apply_block(x, channels: int, stride: int, shortcut: Callable):
    """Returns relu(F(x) + shortcut(x)), F being two convolutions."""
    residual = layers.ReLU()(_convolve(x, channels, stride=stride))
    residual = _convolve(residual, channels)
    return layers.ReLU()(layers.Add()([residual, shortcut(x, channels, stride)]))


def _get_layout(depth: int) -> tuple[tuple[int, ...], int, Callable]:
    """Returns (channels of each stage, blocks per stage, shortcut); InputError for other depths."""
    if depth not in _DEPTHS:
        closest = min(_DEPTHS, key=lambda known: abs(known - depth))
        raise errors.InputError(
            f"resnet has no depth {depth}. Did you mean {closest}? Known: "
            f"{', '.join(map(str, _DEPTHS))}."
        )
    if depth in _NARROW:
        return (16, 32, 64), (depth - 2) // 6, _pad_shortcut
    return (64, 128, 256, 512), 2, _project_shortcut


@register(recipe=Recipe(optimizer="adam", learning_rate=1e-3, batch_size=128))
def resnet(
    info: DatasetInfo, *, depth: int = 18, width: float = 1.0, mean: float = 0.5, std: float = 0.5
) -> keras.Model:
    """Returns a residual network with a 3x3 first convolution.

    Depth 18 has four stages of 64 to 512 channels, and projections as shortcuts. The others, of
    depth 6n + 2, have three stages of 16 to 64 channels, and shortcuts padded with zeros (option
    A). Batch normalisation has PyTorch's constants, momentum 0.9 and epsilon 1e-5. Initialisation
    is that of He et al.

    Reference:
      He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition", arXiv 1512.03385.
    """
    stages, blocks, shortcut = _get_layout(depth)
    image, x = build_input(info, mean=mean, std=std)
    x = layers.ReLU()(_convolve(x, scale_channels(stages[0], width)))
    for stage, channels in enumerate(stages):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _apply_block(x, scale_channels(channels, width), stride, shortcut)
    x = layers.GlobalAveragePooling2D()(x)
    logits = layers.Dense(info.num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="resnet")
