"""The translator's network, image to Delta (supplement, S3).

"A U-Net structure containing 5 convolutional blocks as the encoder, and 4
deconvolutional layers as the decoder. Each convolutional block is a
combination of 2 convolutional layers".
"""

import keras
from keras import layers

from qup import errors
from qup.batch_normalization import BatchNormalization


def _apply_conv_block(tensor, filters: int, momentum: float):
    """Two 3 x 3 convolutions, each with batch normalisation and ReLU."""
    for _ in range(2):
        tensor = layers.Conv2D(filters, 3, padding="same", use_bias=False)(tensor)
        tensor = BatchNormalization(momentum=momentum)(tensor)
        tensor = layers.ReLU()(tensor)
    return tensor


def build_features(images, width: int, *, momentum: float = 0.99):
    """Returns what the U-Net knows of every pixel, before its last layer.

    Args:
      images: Keras tensor [batch, height, width, channels], its sides
        multiples of 16, see `compute_padding`.
      width: Channels of the first block; each next one has twice as many.
      momentum: Of the memory of batch normalisation.

    Returns:
      Keras tensor [batch, height, width, `width`], not negative.
    """
    tensor, skips = images, []
    for level in range(4):
        tensor = _apply_conv_block(tensor, width * 2**level, momentum)
        skips.append(tensor)
        tensor = layers.MaxPooling2D()(tensor)
    tensor = _apply_conv_block(tensor, width * 16, momentum)
    for level in reversed(range(4)):
        tensor = layers.Conv2DTranspose(width * 2**level, 2, strides=2)(tensor)
        tensor = layers.Concatenate()([skips.pop(), tensor])
        tensor = _apply_conv_block(tensor, width * 2**level, momentum)
    return tensor


def build_unet(
    image_shape: tuple[int, int, int], *, width: int = 16, scale: float = 1.0
) -> keras.Model:
    """Builds the translator, image to Delta.

    Sides that are no multiple of 16 are padded with zeros and the output is
    cropped back. 1.94 M parameters at width 16, 31.0 M at 64.

    Args:
      image_shape: (height, width, channels).
      width: Channels of the first block; each next one has twice as many.
      scale: Largest |Delta| the output can take, scale * tanh.

    Returns:
      A Keras model, float32 [batch, height, width, channels] in [0, 1] to
      the same shape in [-scale, scale].

    Raises:
      InputError: width below 1 or scale not positive.

    Reference: Ronneberger, Fischer, Brox 2015, arXiv 1505.04597.
    """
    errors.check_number("translator width", width, at_least=1)
    errors.check_number("translator scale", scale, above=0)
    inputs = keras.Input(image_shape, name="image")
    padding_sizes = compute_padding(image_shape)
    tensor = build_features(layers.ZeroPadding2D(padding_sizes)(inputs), width)
    tensor = layers.Conv2D(
        image_shape[-1],
        1,
        activation="tanh",
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.02),
    )(tensor)
    tensor = layers.Cropping2D(padding_sizes)(tensor)
    outputs = layers.Rescaling(scale, name="delta")(tensor)
    return keras.Model(inputs, outputs, name="translator")


def compute_padding(image_shape: tuple[int, int, int]):
    """Returns ((top, bottom), (left, right)) up to a multiple of 16."""
    remainders = [-side % 16 for side in image_shape[:2]]
    return tuple((m // 2, m - m // 2) for m in remainders)
