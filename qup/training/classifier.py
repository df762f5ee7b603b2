"""Who stands between the images of a step and the classifier.

Those of the literature are in qup/training/adversarial.py.
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import Protocol

import keras
import tensorflow as tf

from qup.core import compilation
from qup.core.types import Batch, Recipe
from qup.datasets import Dataset
from qup.training.loop import EpochHook, TrainingLoop


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


# Training a classifier: step 1 of the pipeline (supplement, Fig. 3).
#
# ```python
# fit_classifier(classifier, data, epochs=1, recipe=models.recipe("convnet"))
# ```


# Where Plateau stops halving.
_LOWEST_RATE = 1e-5


def fit_classifier(
    classifier: keras.Model,
    dataset: Dataset,
    *,
    epochs: int,
    recipe: Recipe | None = None,
    augment: bool = False,
    adversary: Adversary | None = None,
    seed: int = 0,
    directory: pathlib.Path | None = None,
    validate: Callable[[], Mapping[str, float]] | None = None,
    hook: EpochHook | None = None,
) -> None:
    """Trains `classifier` in place on cross-entropy of its logits.

    Args:
      classifier: Image to logits, built by models.build.
      dataset: Its training split is shuffled anew each epoch.
      epochs: Number of epochs; nothing in the recipe depends on it.
      recipe: Optimizer, learning rate, batch size; None means Recipe().
      augment: Rotate by up to 10 degrees, shift and zoom by up to 10 %,
        YGCNN's augmentation.
      adversary: Moves the images of each step first, and gives the loss;
        None learns from the images as they are.
      seed: Drives the order of the images and the augmentation.
      directory: Folder of the checkpoints, from which a killed training
        goes on; None keeps none.
      validate: Called after each epoch; its values join the epoch's
        metrics. A plateau recipe watches "validation_accuracy" there, else
        the training accuracy.
      hook: hook(epoch, metrics) after each epoch; metrics are "loss",
        "accuracy" (percent, of the training batches) and what `validate`
        gave.

    Raises:
      InputError: The loss diverged, or a checkpoint cannot be written.
    """
    recipe = recipe or Recipe()
    learner = _ClassifierLearner(classifier, recipe, augment, adversary or StandardTraining(), seed)

    def end_epoch(epoch: int, metrics: dict[str, float]) -> None:
        if recipe.plateau:
            accuracy = metrics.get("validation_accuracy", metrics["accuracy"])
            learner.plateau.update(learner.optimizer, accuracy)
        if hook is not None:
            hook(epoch, metrics)

    TrainingLoop(learner, directory=directory, title=f"{classifier.name} training").run(
        lambda epoch: dataset.training_batches(recipe.batch_size, seed=seed, epoch=epoch),
        epochs=epochs,
        validate=validate,
        hook=end_epoch,
    )


class _ClassifierLearner:
    metrics = ("loss", "accuracy")

    def __init__(self, classifier, recipe: Recipe, augment: bool, adversary: Adversary, seed: int):
        self.optimizer = keras.optimizers.get(
            {
                "class_name": recipe.optimizer,
                "config": {"learning_rate": recipe.learning_rate, **recipe.optimizer_options},
            }
        )
        self.optimizer.build(classifier.trainable_variables)
        self.plateau = Plateau()
        augmenter = _build_augmenter(seed) if augment else None
        self.layers = [classifier] + ([augmenter] if augment else [])
        self.objects = {
            "classifier": classifier,
            "optimizer": self.optimizer,
            "plateau": self.plateau,
        }
        self.train_step = _build_step(classifier, self.optimizer, augmenter, adversary)


def _build_step(classifier, optimizer, augmenter, adversary: Adversary):
    @tf.function(autograph=False, jit_compile=compilation.use_xla("auto"))
    def step(images, labels, perturbed):
        with tf.GradientTape() as tape:
            losses, logits = adversary.loss(classifier, images, labels, perturbed)
            loss = tf.reduce_mean(losses)
        variables = classifier.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        correct = tf.argmax(logits, -1, tf.int32) == labels
        accuracy = 100.0 * tf.reduce_mean(tf.cast(correct, tf.float32))
        return tf.stack([loss, accuracy])

    # Outside of what XLA compiles: it has no kernel for these layers.
    @tf.function(autograph=False)
    def augment_images(images):
        return augmenter(images, training=True)

    def train_step(batch):
        images = batch["image"]
        if augmenter is not None:
            images = augment_images(images)
        perturbed = adversary.perturb(classifier, images, batch, optimizer.iterations.value)
        return step(images, batch["label"], perturbed)

    return train_step


def _build_augmenter(seed: int) -> keras.Model:
    """The YGCNN notebook's ImageDataGenerator, as layers."""
    fill = {"fill_mode": "nearest"}
    augmenter = keras.Sequential(
        [
            keras.layers.RandomRotation(10 / 360, seed=seed, **fill),
            keras.layers.RandomTranslation(0.1, 0.1, seed=seed + 1, **fill),
            keras.layers.RandomZoom(0.1, seed=seed + 2, **fill),
        ]
    )
    return augmenter


class Plateau(tf.Module):
    """Halves the learning rate when the watched accuracy stops rising.

    Keras's ReduceLROnPlateau (patience 3, factor 0.5, floor 1e-5), with
    its memory in variables, so that a checkpoint holds it.
    """

    def __init__(self, patience: int = 3, factor: float = 0.5):
        super().__init__()
        self._patience, self._factor = patience, factor
        self.best = tf.Variable(float("-inf"))
        self.wait = tf.Variable(0)

    def update(self, optimizer: keras.Optimizer, value: float) -> None:
        """Takes in the accuracy of one more epoch."""
        # Keras's min_delta, here in percent.
        if value > float(self.best) + 0.01:
            self.best.assign(value)
            self.wait.assign(0)
            return
        if int(self.wait.assign_add(1)) >= self._patience:
            rate = float(optimizer.learning_rate)
            if rate > _LOWEST_RATE:
                rate = max(rate * self._factor, _LOWEST_RATE)
                optimizer.learning_rate = rate
            self.wait.assign(0)
