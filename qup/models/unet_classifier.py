"""The translator's network as a classifier: a control of IFA.

Delta_N is computed with the true labels (supplement, Eq. 1), so a translator that learns it learns
to classify, and the accuracy of the pair may come from the translator. This model measures what the
same network reaches when it is trained on the labels: the U-Net of qup/models/pix2pix.py without
its last layer, then the mean over the pixels and a dense layer.

Trainable parameters, on 28x28x1 images of 10 classes: 1,942,442 at width 1, compared with 1,942,289
of a translator of width 16. Width w corresponds to a translator of width 16 w.

```python
classifier = models.build("unet_classifier", data.info)
```
"""

import keras
from keras import layers

from qup.core.types import DatasetInfo, Recipe
from qup.models import build_input, pix2pix, register, scale_channels

# Channels of the first block at width 1.
_CHANNELS = 16


@register(recipe=Recipe(optimizer="adam", learning_rate=1e-3, batch_size=128))
def unet_classifier(
    info: DatasetInfo, *, width: float = 1.0, mean: float = 0.0, std: float = 1.0
) -> keras.Model:
    """Returns a U-Net with a classification layer.

    Its batch normalisation has momentum 0.9, as in the other classifiers here (the translator has
    0.99), because it is also evaluated after a single epoch.

    Reference:
      Ronneberger, Fischer and Brox 2015, "U-Net: convolutional networks for biomedical image
      segmentation", arXiv 1505.04597.
    """
    image, x = build_input(info, mean=mean, std=std)
    padding = pix2pix.compute_padding(info.image_shape)
    x = layers.ZeroPadding2D(padding)(x)
    x = pix2pix.build_features(x, scale_channels(_CHANNELS, width), momentum=0.9)
    x = layers.Cropping2D(padding)(x)
    x = layers.GlobalAveragePooling2D()(x)
    logits = layers.Dense(info.num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="unet_classifier")
