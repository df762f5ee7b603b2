"""Training a classifier: step 1 of the pipeline (supplement, Fig. 3).

An adversary perturbs the images of each step and defines the loss. Those of the literature are in
qup/training/adversarial.py.

```python
recipe = models.get_recipe("convnet")
fit_classifier(classifier, data, epochs=1, recipe=recipe)
```
"""

import inspect
import pathlib
from collections.abc import Callable, Mapping
from typing import Protocol

import keras
import tensorflow as tf

from qup.core import compilation, errors
from qup.core.classifier import Classifier, wrap_classifier
from qup.core.types import Batch, Recipe
from qup.datasets import Dataset
from qup.training.loop import EpochHook, TrainingLoop

# The smallest learning rate that Plateau sets.
_MIN_LEARNING_RATE = 1e-5


class Adversary(Protocol):
    """Perturbs the images of every step, and defines the loss.

    The classifier that it receives returns logits: the Keras model itself, or the `Classifier` of a
    model that returns something else.
    """

    def perturb(
        self, classifier: keras.Model | Classifier, images: tf.Tensor, batch: Batch, step: tf.Tensor
    ) -> tf.Tensor:
        """Returns the perturbed images, float32 [batch, ...].

        Args:
          classifier: The classifier before the step.
          images: float32 [batch, ...], the images of the batch after augmentation.
          batch: Gives "label" and "id".
          step: Integer scalar, the number of previous steps.
        """

    def loss(
        self,
        classifier: keras.Model | Classifier,
        images: tf.Tensor,
        labels: tf.Tensor,
        perturbed: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the loss of each image, float32 [batch], and logits.

        Args:
          classifier: To be called in training mode.
          images: float32 [batch, ...], not perturbed.
          labels: int32 [batch].
          perturbed: float32 [batch, ...], the result of `perturb`.

        Returns:
          (losses, logits): the accuracy of these logits, float32 [batch, classes], is the training
          accuracy in the history.
        """


class StandardTraining:
    """Cross-entropy on images without perturbation: the paper's training."""

    def perturb(self, classifier, images, batch, step):
        """Returns the images."""
        return images

    def loss(self, classifier, images, labels, perturbed):
        """Returns cross-entropy, and the logits of the images."""
        logits = classifier(images, training=True)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return loss, logits


def fit_classifier(
    classifier: keras.Model,
    dataset: Dataset,
    *,
    epochs: int,
    recipe: Recipe | None = None,
    augment: bool = False,
    adversary: Adversary | None = None,
    seed: int = 0,
    pixel_range: tuple[float, float] | None = None,
    directory: pathlib.Path | None = None,
    validate: Callable[[], Mapping[str, float]] | None = None,
    hook: EpochHook | None = None,
) -> None:
    """Trains `classifier` in place on cross-entropy of its logits.

    A model that ends in a softmax, in one sigmoid per class or in one number for two classes is
    trained on the logits before it, with a warning; see `qup.core.classifier`.

    Args:
      classifier: A Keras model, images to logits, see `models.build`.
      dataset: Its training split is shuffled again for each epoch.
      epochs: Number of epochs; no part of the recipe depends on it.
      recipe: Optimizer, learning rate, batch size; None means Recipe().
      augment: Rotate by up to 10 degrees, shift and zoom by up to 10 %, the augmentation of YGCNN.
      adversary: Perturbs the images of each step and gives the loss; None means `StandardTraining`.
      seed: Seed of the order of the images and of the augmentation.
      pixel_range: (lowest, highest) pixel that the classifier takes; None for [0, 1].
      directory: Folder of the checkpoints, from which an interrupted training resumes; None writes
        none.
      validate: Called after each epoch; its values are added to the metrics. A plateau recipe
        monitors "validation_accuracy" there, else the training accuracy.
      hook: hook(epoch, metrics) after each epoch; metrics are "loss", "accuracy" (percent, of the
        training batches) and those of `validate`.

    Raises:
      InputError: The classifier cannot be trained on these images or classes, the loss diverged, or
        a checkpoint cannot be written.
    """
    recipe = recipe or Recipe()
    logits_fn = _check_classifier(classifier, dataset, recipe, pixel_range)
    learner = _ClassifierLearner(
        classifier, logits_fn, recipe, augment, adversary or StandardTraining(), seed
    )

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


def _check_classifier(
    classifier: keras.Model,
    dataset: Dataset,
    recipe: Recipe,
    pixel_range: tuple[float, float] | None,
) -> keras.Model | Classifier:
    """Returns the classifier itself if it returns logits, else its `Classifier`.

    Raises:
      InputError: It cannot be trained, or does not fit the images and classes.
    """
    if not isinstance(classifier, keras.Model):
        raise errors.InputError(
            "fit_classifier trains the weights of a Keras model; received "
            f"{type(classifier).__name__}."
        )
    contract = wrap_classifier(classifier, pixel_range=pixel_range)
    _check_image_shape(classifier, dataset)
    if contract.declares_logits:
        logits_fn, num_classes = classifier, classifier.output_shape[-1]
    else:
        batches = dataset.training_batches(recipe.batch_size, seed=0, epoch=0)
        logits_fn, num_classes = (
            contract,
            contract.inspect(next(iter(batches))["image"]).num_classes,
        )
    if not classifier.trainable_variables:
        raise errors.InputError(
            f"The model {classifier.name!r} has no trainable weights. Set trainable=True on it or "
            "on some of its layers."
        )
    if num_classes < dataset.info.num_classes:
        raise errors.InputError(
            f"The model {classifier.name!r} has {num_classes} classes, but "
            f"{dataset.info.name!r} has {dataset.info.num_classes}. Its last layer needs one logit "
            "per class."
        )
    return logits_fn


def _check_image_shape(classifier: keras.Model, dataset: Dataset) -> None:
    """Raises an InputError if a model declares images of another shape; None stands for any."""
    declared = getattr(classifier, "input_shape", None)
    expected = (None, *dataset.info.image_shape)
    if isinstance(declared, tuple) and (
        len(declared) != len(expected)
        or any(
            None not in pair and len({*pair}) > 1 for pair in zip(declared, expected, strict=True)
        )
    ):
        raise errors.InputError(
            f"The model {classifier.name!r} takes images {declared[1:]}; those of "
            f"{dataset.info.name!r} are {expected[1:]}. Resize the images, or build the model "
            "for them."
        )


def list_optimizers() -> tuple[str, ...]:
    """Returns the names of Keras's optimizers: the classes that have a learning rate."""
    return tuple(sorted(_find_optimizers()))


def _find_optimizers() -> dict[str, type[keras.Optimizer]]:
    return {
        name.lower(): kind
        for name, kind in vars(keras.optimizers).items()
        if inspect.isclass(kind)
        and issubclass(kind, keras.Optimizer)
        and "learning_rate" in inspect.signature(kind).parameters
    }


def build_optimizer(recipe: Recipe) -> keras.Optimizer:
    """Returns the optimizer of a recipe.

    Raises:
      InputError: Keras has no such optimizer, or it does not take an option or its value.
    """
    kinds = _find_optimizers()
    if recipe.optimizer not in kinds:
        raise errors.make_unknown_error("optimizer", recipe.optimizer, kinds)
    options = {"learning_rate": recipe.learning_rate, **recipe.optimizer_options}
    try:
        return kinds[recipe.optimizer](**options)
    except (TypeError, ValueError) as error:
        raise errors.InputError(
            f"The optimizer {recipe.optimizer!r} does not take {errors.shorten(options)}: "
            f"{errors.format_first_line(error)}."
        ) from error


class _ClassifierLearner:
    metrics = ("loss", "accuracy")

    def __init__(
        self,
        classifier: keras.Model,
        logits_fn: keras.Model | Classifier,
        recipe: Recipe,
        augment: bool,
        adversary: Adversary,
        seed: int,
    ):
        self.optimizer = build_optimizer(recipe)
        self.optimizer.build(classifier.trainable_variables)
        self.plateau = Plateau()
        augmenter = _build_augmenter(seed) if augment else None
        self.layers = [classifier] + ([augmenter] if augment else [])
        self.objects = {
            "classifier": classifier,
            "optimizer": self.optimizer,
            "plateau": self.plateau,
        }
        self.train_step = _build_step(classifier, logits_fn, self.optimizer, augmenter, adversary)


def _build_step(classifier, logits_fn, optimizer, augmenter, adversary: Adversary):
    def step(images, labels, perturbed):
        with tf.GradientTape() as tape:
            losses, logits = adversary.loss(logits_fn, images, labels, perturbed)
            loss = tf.reduce_mean(losses)
        variables = classifier.trainable_variables
        gradients = tape.gradient(loss, variables)
        if all(gradient is None for gradient in gradients):
            raise errors.InputError(
                f"The loss of the model {classifier.name!r} has no gradient with respect to its "
                "weights. Look for operations without a gradient: rounding, argmax, NumPy code."
            )
        optimizer.apply(gradients, variables)
        correct = tf.argmax(logits, -1, tf.int32) == labels
        accuracy = 100.0 * tf.reduce_mean(tf.cast(correct, tf.float32))
        return tf.stack([loss, accuracy])

    compiled_step = compilation.compile_function(step, "auto")

    # A separate function, because XLA has no kernel for these layers.
    @tf.function(autograph=False)
    def augment_images(images):
        return augmenter(images, training=True)

    def train_step(batch):
        images = batch["image"]
        if augmenter is not None:
            images = augment_images(images)
        perturbed = adversary.perturb(logits_fn, images, batch, optimizer.iterations.value)
        return compiled_step(images, batch["label"], perturbed)

    return train_step


def _build_augmenter(seed: int) -> keras.Model:
    """Returns the ImageDataGenerator of the YGCNN notebook, as layers."""
    fill = {"fill_mode": "nearest"}
    return keras.Sequential(
        [
            keras.layers.RandomRotation(10 / 360, seed=seed, **fill),
            keras.layers.RandomTranslation(0.1, 0.1, seed=seed + 1, **fill),
            keras.layers.RandomZoom(0.1, seed=seed + 2, **fill),
        ]
    )


class Plateau(tf.Module):
    """Halves the learning rate when the monitored accuracy stops rising.

    It is Keras's ReduceLROnPlateau (patience 3, factor 0.5, minimum 1e-5) with its state in
    variables, so that a checkpoint stores it.
    """

    def __init__(self, patience: int = 3, factor: float = 0.5):
        super().__init__()
        self._patience, self._factor = patience, factor
        self.best = tf.Variable(float("-inf"))
        self.wait = tf.Variable(0)

    def update(self, optimizer: keras.Optimizer, value: float) -> None:
        """Adds the accuracy of an epoch, and may lower the learning rate."""
        # Keras's min_delta, here in percent.
        if value > float(self.best) + 0.01:
            self.best.assign(value)
            self.wait.assign(0)
            return
        if int(self.wait.assign_add(1)) >= self._patience:
            rate = float(optimizer.learning_rate)
            if rate > _MIN_LEARNING_RATE:
                optimizer.learning_rate = max(rate * self._factor, _MIN_LEARNING_RATE)
            self.wait.assign(0)
