"""Who stands between the images of a step and the classifier.

Those of the literature are in qup/adversarial_training.py.
"""

from typing import Protocol

import keras
import tensorflow as tf

from qup.types import Batch


class Adversary(Protocol):
    """Moves the images of every step, and says what is to become small."""

    def perturb(
        self, classifier: keras.Model, images: tf.Tensor, batch: Batch, step: tf.Tensor
    ) -> tf.Tensor:
        """Returns the moved images, float32 [batch, ...].

        Args:
          classifier: As the step finds it.
          images: float32 [batch, ...], the batch's own, augmented.
          batch: Gives "label" and "id".
          step: Integer scalar, the number of steps taken before.
        """

    def loss(
        self, classifier: keras.Model, images: tf.Tensor, labels: tf.Tensor, perturbed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns a loss an image, float32 [batch], and the logits it tells.

        Args:
          classifier: To be run in training mode.
          images: float32 [batch, ...], unmoved.
          labels: int32 [batch].
          perturbed: float32 [batch, ...], from `perturbed`.

        Returns:
          (losses, logits): the latter, float32 [batch, classes], are those
          whose accuracy the training's curve shows.
        """


class StandardTraining:
    """Leaves the images alone: cross-entropy, the paper's training."""

    def perturb(self, classifier, images, batch, step):
        """Returns the images."""
        return images

    def loss(self, classifier, images, labels, perturbed):
        """Returns cross-entropy, and the logits of the images."""
        logits = classifier(images, training=True)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return loss, logits
