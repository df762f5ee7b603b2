"""Pix2Pix, image to Delta: the translator, step 3 of the pipeline (supplement, S3).

The generator is "a U-Net structure containing 5 convolutional blocks as the encoder, and 4
deconvolutional layers as the decoder. Each convolutional block is a combination of 2 convolutional
layers". The discriminator has "three convolutional blocks", each a spectrally normalised
convolution, batch normalisation and LeakyReLU. Losses and optimizers are those of Isola et al. 2017
(arXiv 1611.07004): lambda 100, Adam 2e-4, beta_1 0.5, slope 0.2.

```python
gan = Pix2Pix((28, 28, 1), width=16, scale=1.0)
gan.generator(images)  # Delta
```
"""

import keras
import tensorflow as tf
from keras import layers

from qup.core import compilation, errors
from qup.models.layers import BatchNormalization


def _apply_conv_block(tensor, filters: int, momentum: float):
    """Applies two 3x3 convolutions, each with batch normalisation and ReLU."""
    for _ in range(2):
        tensor = layers.Conv2D(filters, 3, padding="same", use_bias=False)(tensor)
        tensor = BatchNormalization(momentum=momentum)(tensor)
        tensor = layers.ReLU()(tensor)
    return tensor


def build_features(images, width: int, *, momentum: float = 0.99):
    """Returns the features of every pixel, before the last layer of the U-Net.

    Args:
      images: Keras tensor [batch, height, width, channels]; sides are multiples of 16, see
        `compute_padding`.
      width: Channels of the first block; each further block has twice as many.
      momentum: Momentum of batch normalisation.

    Returns:
      Keras tensor [batch, height, width, `width`], at least 0.
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

    Sides that are not multiples of 16 are padded with zeros, and the output is cropped. 1.94 M
    parameters at width 16, 31.0 M at 64.

    Args:
      image_shape: (height, width, channels).
      width: Channels of the first block; each further block has twice as many.
      scale: The output is scale * tanh(...), so |Delta| is at most `scale`.

    Returns:
      A Keras model, float32 [batch, height, width, channels] in [0, 1] to the same shape in
      [-scale, scale].

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
    """Returns ((top, bottom), (left, right)), which extends the sides to multiples of 16."""
    remainders = [-side % 16 for side in image_shape[:2]]
    return tuple((m // 2, m - m // 2) for m in remainders)


def build_discriminator(image_shape: tuple[int, int, int], *, width: int = 16) -> keras.Model:
    """Builds the discriminator of (X_0, Delta) pairs, a PatchGAN.

    Args:
      image_shape: (height, width, channels) of X_0 and of Delta.
      width: Channels of the first block.

    Returns:
      A Keras model, [X_0, Delta / scale] to logits float32 [batch, height / 8, width / 8, 1];
      positive means "real".
    """
    image = keras.Input(image_shape, name="image")
    delta = keras.Input(image_shape, name="delta")
    tensor = layers.Concatenate()([image, delta])
    for level in range(3):
        convolution = layers.Conv2D(
            width * 2**level,
            4,
            strides=2,
            padding="same",
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.02),
        )
        tensor = layers.SpectralNormalization(convolution)(tensor)
        tensor = BatchNormalization()(tensor)
        tensor = layers.LeakyReLU(negative_slope=0.2)(tensor)
    outputs = layers.Conv2D(1, 4, padding="same", name="patches")(tensor)
    return keras.Model([image, delta], outputs, name="discriminator")


def _compute_patch_loss(logits: tf.Tensor, real: bool) -> tf.Tensor:
    """Returns the mean binary cross-entropy of the patches with the class real or fake."""
    target = tf.ones_like(logits) if real else tf.zeros_like(logits)
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(target, logits))


class Pix2Pix:
    """Generator and discriminator with their optimizers.

    A learner for qup.training: `train_step` takes {"image": X_0, "delta": Delta_N} and returns its
    `metrics`.

    Attributes:
      generator: Image to Delta.
      discriminator: See `build_discriminator`.
    """

    metrics = ("generator_l1", "generator_adversarial", "discriminator_real", "discriminator_fake")

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        width: int = 16,
        scale: float = 1.0,
        l1_weight: float = 100.0,
        learning_rate=2e-4,
        beta_1: float = 0.5,
        seed: int = 0,
        num_replicas: int = 1,
    ):
        """Builds both networks.

        Args:
          image_shape: (height, width, channels).
          width: Channels of the first block of either network.
          scale: Largest |Delta|; both networks see Delta / scale.
          l1_weight: Isola et al.'s lambda.
          learning_rate: Of both Adam optimizers: a float or a Keras schedule.
          beta_1: Of both Adam optimizers.
          seed: Seed of initialisation.
          num_replicas: Replicas of a strategy that share a batch, and whose gradients are summed.
        """
        keras.utils.set_random_seed(seed)
        self.generator = build_unet(image_shape, width=width, scale=scale)
        self.discriminator = build_discriminator(image_shape, width=width)
        self._scale, self._num_replicas = scale, num_replicas
        self._l1_weight = l1_weight
        self._optimizers = []
        for network in (self.generator, self.discriminator):
            optimizer = keras.optimizers.Adam(learning_rate, beta_1=beta_1)
            optimizer.build(network.trainable_variables)
            self._optimizers.append(optimizer)
        self.layers = [self.generator, self.discriminator]
        self.objects = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "generator_optimizer": self._optimizers[0],
            "discriminator_optimizer": self._optimizers[1],
        }
        self.train_step = tf.function(
            self.run_step, autograph=False, jit_compile=compilation.use_xla("auto")
        )

    def compute_losses(self, images: tf.Tensor, real: tf.Tensor) -> tf.Tensor:
        """Returns the four `metrics` of a batch, float32 [4].

        Args:
          images: float32 [batch, height, width, channels], X_0.
          real: The same shape, Delta_N / scale.
        """
        fake = self.generator(images, training=True) / self._scale
        real_logits = self.discriminator([images, real], training=True)
        fake_logits = self.discriminator([images, fake], training=True)
        return tf.stack(
            [
                tf.reduce_mean(tf.abs(real - fake)),
                _compute_patch_loss(fake_logits, real=True),
                _compute_patch_loss(real_logits, real=True),
                _compute_patch_loss(fake_logits, real=False),
            ]
        )

    def run_step(self, batch) -> tf.Tensor:
        """Takes one step, not compiled; returns the losses divided by the number of replicas."""
        with tf.GradientTape(persistent=True) as tape:
            losses = self.compute_losses(batch["image"], batch["delta"] / self._scale)
            if self._num_replicas > 1:
                losses /= self._num_replicas
            l1, adversarial, real, fake = tf.unstack(losses)
            generator_loss = adversarial + self._l1_weight * l1
            # Halved, as Isola et al. do to slow the discriminator.
            discriminator_loss = 0.5 * (real + fake)
        for network, loss, optimizer in zip(
            self.layers, (generator_loss, discriminator_loss), self._optimizers, strict=True
        ):
            variables = network.trainable_variables
            optimizer.apply(tape.gradient(loss, variables), variables)
        return losses
