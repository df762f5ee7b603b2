"""GoogLeNet: nine Inception blocks, adapted to small images.

Table 3 of the paper (arXiv 2205.01493), in percent; the attack of RA is PGD in 4 steps, epsilon
8/255:

| dataset  | epochs     | TA                    | RA                  |
| -------- | ---------- | --------------------- | ------------------- |
| CIFAR-10 | 1 / 5 / 50 | 67.71 / 81.18 / 86.61 | 10.64 / 8.44 / 0.08 |

The paper gives no layers; its accuracies fit the layout of kuangliu's pytorch-cifar, trained
without augmentation: 6,166,250 trainable parameters on CIFAR-10 and 392,738 at width 0.25.

```python
classifier = models.build("googlenet", data.info, width=0.25)
```
"""

import keras
from keras import layers

from qup.core.types import DatasetInfo, Recipe
from qup.models import build_input, register, scale_channels

# Channels of the four branches of a block: 1x1; 3x3 after a 1x1; 5x5, as two 3x3, after a 1x1; 1x1
# after pooling. One row per block; pooling separates the stages.
_STAGES = (
    ((64, (96, 128), (16, 32), 32), (128, (128, 192), (32, 96), 64)),
    (
        (192, (96, 208), (16, 48), 64),
        (160, (112, 224), (24, 64), 64),
        (128, (128, 256), (24, 64), 64),
        (112, (144, 288), (32, 64), 64),
        (256, (160, 320), (32, 128), 128),
    ),
    ((256, (160, 320), (32, 128), 128), (384, (192, 384), (48, 128), 128)),
)


def _convolve(x, channels: int, size: int, width: float):
    """Applies a convolution with bias, batch normalisation and ReLU."""
    x = layers.Conv2D(
        scale_channels(channels, width), size, padding="same", kernel_initializer="he_normal"
    )(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
    return layers.ReLU()(x)


def _apply_inception(x, block: tuple, width: float):
    """Applies an Inception block and concatenates its four branches."""
    single, (reduce3, out3), (reduce5, out5), pooled = block
    branch3 = _convolve(x, reduce3, 1, width)
    branch5 = _convolve(x, reduce5, 1, width)
    branch5 = _convolve(branch5, out5, 3, width)
    pool = layers.MaxPooling2D(3, 1, padding="same")(x)
    return layers.Concatenate()(
        [
            _convolve(x, single, 1, width),
            _convolve(branch3, out3, 3, width),
            _convolve(branch5, out5, 3, width),
            _convolve(pool, pooled, 1, width),
        ]
    )


@register(recipe=Recipe(optimizer="adam", learning_rate=1e-3, batch_size=128))
def googlenet(
    info: DatasetInfo, *, width: float = 1.0, mean: float = 0.5, std: float = 0.5
) -> keras.Model:
    """Returns GoogLeNet with a 3x3 first convolution and no side outputs.

    Each 5x5 convolution is replaced by two 3x3 ones. Batch normalisation follows every convolution,
    with PyTorch's constants, momentum 0.9 and epsilon 1e-5. Initialisation is that of He et al.

    Reference:
      Szegedy et al. 2015, "Going deeper with convolutions", arXiv 1409.4842.
    """
    image, x = build_input(info, mean=mean, std=std)
    x = _convolve(x, 192, 3, width)
    for stage, blocks in enumerate(_STAGES):
        if stage > 0:
            x = layers.MaxPooling2D(3, 2, padding="same")(x)
        for block in blocks:
            x = _apply_inception(x, block, width)
    x = layers.GlobalAveragePooling2D()(x)
    logits = layers.Dense(info.num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="googlenet")
