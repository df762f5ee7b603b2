"""YGCNN: Yassine Ghouzam's Keras network for MNIST, with dropout.

Table 2 of the paper (arXiv 2205.01493), in percent; the attack of RA is PGD in 4 steps, epsilon
0.1:

| dataset | epochs      | TA                    | RA                    |
| ------- | ----------- | --------------------- | --------------------- |
| MNIST   | 1 / 30 / 50 | 97.35 / 99.15 / 99.19 | 59.84 / 49.06 / 45.68 |

The layers are those of the notebook that the paper cites, 887,530 parameters on 28x28x1 images of
10 classes. The notebook also shifts, rotates and zooms its images at random and stops after 30
epochs.

```python
classifier = models.build("ygcnn", data.info)
```
"""

import keras
from keras import layers

from qup.core.types import DatasetInfo, Recipe
from qup.models import build_input, register, scale_channels


def _apply_stage(images, channels: int, size: int):
    """Applies two convolutions, pooling and dropout."""
    for _ in range(2):
        images = layers.Conv2D(channels, size, padding="same", activation="relu")(images)
    images = layers.MaxPooling2D(2)(images)
    return layers.Dropout(0.25)(images)


@register(
    recipe=Recipe(
        optimizer="rmsprop",
        learning_rate=1e-3,
        batch_size=86,
        optimizer_options={"rho": 0.9, "epsilon": 1e-8},
        plateau=True,
    )
)
def ygcnn(
    info: DatasetInfo, *, width: float = 1.0, mean: float = 0.0, std: float = 1.0
) -> keras.Model:
    """Returns YGCNN: two convolutions of 5x5, two of 3x3, two dense layers.

    Initialisation is that of the notebook (Keras's Glorot uniform). The notebook's network ends in
    a softmax; this one ends in the logits.

    Images need at least 4x4 pixels.

    Reference:
      Ghouzam 2017, "Introduction to CNN Keras - 0.997 (top 6%)", Kaggle.
    """
    image, x = build_input(info, mean=mean, std=std, min_size=4)
    x = _apply_stage(x, scale_channels(32, width), size=5)
    x = _apply_stage(x, scale_channels(64, width), size=3)
    x = layers.Flatten()(x)
    x = layers.Dense(scale_channels(256, width), activation="relu")(x)
    x = layers.Dropout(0.5)(x)
    logits = layers.Dense(info.num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="ygcnn")
