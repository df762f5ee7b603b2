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
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import keras
import tensorflow as tf

from qup.core import compilation, errors, gradients, prng
from qup.core.classifier import Classifier, wrap_classifier
from qup.core.declarations import find_final_activation
from qup.core.types import Batch, Recipe
from qup.datasets import Dataset
from qup.training.loop import EpochHook, TrainingLoop
from qup.training.precision import MixedPrecisionCall
from qup.training.strategies import (
    SINGLE,
    ReplicaGroup,
    find_batch_norms,
    find_seed_states,
    synchronize_batch_norm,
)

# The smallest learning rate that Plateau sets.
_MIN_LEARNING_RATE = 1e-5
# Images that show what the outputs of a model are.
_INSPECTED_IMAGES = 128


class Adversary:
    """Perturbs the images of every step, and defines the loss.

    The classifier that it receives returns logits: the Keras model itself, or a function of the
    same signature for a model that returns something else, or computes in half precision.

    Attributes:
      num_replays: How many steps in a row each batch takes. An epoch then has that fraction of the
        batches, and as many steps as without replays.
      needs_image_gradient: Whether `update` receives the gradient of the perturbed images.
      variables: The state between two steps, for the checkpoint.
    """

    num_replays: int = 1
    needs_image_gradient: bool = False
    variables: Mapping[str, tf.Variable] = types.MappingProxyType({})

    def describe(self) -> dict[str, Any]:
        """Returns the method and the options that results depend on."""
        raise NotImplementedError

    def build(self, batch_shape: Sequence[int]) -> None:
        """Creates the state; `batch_shape` is [batch, height, width, channels], of a replica."""

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
        raise NotImplementedError

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
        raise NotImplementedError

    def update(self, image_gradient: tf.Tensor) -> None:
        """Receives the gradient of the loss with respect to the perturbed images, [batch, ...]."""


class StandardTraining(Adversary):
    """Cross-entropy on images without perturbation: the paper's training."""

    def describe(self):
        """Returns the method."""
        return {"method": "standard"}

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
    strategy: tf.distribute.Strategy | None = None,
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
        none. Workers other than the chief have a folder in it, worker-1 and so on.
      validate: Called after each epoch; its values are added to the metrics. A plateau recipe
        monitors "validation_accuracy" there, else the training accuracy.
      hook: hook(epoch, metrics) after each epoch; metrics are "loss", "accuracy" (percent, of the
        training batches) and those of `validate`.
      strategy: See `training.build_strategy`; the classifier was built in its scope. `validate` and
        `hook` are called on the chief.

    Raises:
      InputError: The classifier cannot be trained on these images or classes, the loss diverged, a
        checkpoint cannot be written, or another worker is lost.
    """
    recipe = recipe or Recipe()
    group = ReplicaGroup(strategy)
    group.check_model(classifier)
    group.divide_batch(min(recipe.batch_size, dataset.info.sizes["train"]))
    adversary = adversary or StandardTraining()
    group.check_equal(
        {
            "recipe": repr(recipe),
            "augment": augment,
            "adversary": adversary.describe(),
            "seed": seed,
            "images": dataset.fingerprint,
        }
    )
    plateau = Plateau()
    logits_fn = check_classifier(classifier, dataset, pixel_range)
    with group.scope():
        learner = ClassifierLearner(
            classifier,
            logits_fn,
            build_optimizer(recipe),
            adversary,
            augmenter=RotationAugmenter(seed) if augment else None,
            objects={"plateau": plateau},
            group=group,
        )

    def end_epoch(epoch: int, metrics: dict[str, float]) -> None:
        if recipe.plateau:
            accuracy = metrics.get("validation_accuracy", metrics["accuracy"])
            plateau.update(learner.optimizer, accuracy)
        if hook is not None and group.is_chief:
            hook(epoch, metrics)

    loop = TrainingLoop(
        learner,
        directory=directory and group.get_directory(directory),
        title=f"{classifier.name} training",
        group=group,
    )
    with synchronize_batch_norm(learner.layers, group):
        loop.run(
            lambda epoch: dataset.training_batches(recipe.batch_size, seed=seed, epoch=epoch),
            epochs=epochs,
            validate=validate,
            hook=end_epoch,
        )


def check_classifier(
    classifier: keras.Model, dataset: Dataset, pixel_range: tuple[float, float] | None
) -> keras.Model | Classifier:
    """Returns the classifier itself if it returns logits, else its `Classifier`.

    Raises:
      InputError: It cannot be trained, or does not fit the images and classes.
    """
    check_is_model(classifier)
    contract = wrap_classifier(classifier, pixel_range=pixel_range)
    _check_image_shape(classifier, dataset)
    if contract.declares_logits:
        logits_fn, num_classes = classifier, classifier.output_shape[-1]
    else:
        batches = dataset.training_batches(_INSPECTED_IMAGES, seed=0, epoch=0)
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


def check_is_model(classifier: Any) -> None:
    """Raises an InputError for anything but a Keras model."""
    if not isinstance(classifier, keras.Model):
        raise errors.InputError(
            "Training changes the weights of a Keras model; received "
            f"{type(classifier).__name__}. Pass a keras.Model."
        )


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


def get_default_learning_rate(name: str) -> float:
    """Returns the learning rate that Keras gives an optimizer.

    Raises:
      InputError: Keras has no such optimizer.
    """
    kinds = _find_optimizers()
    if name not in kinds:
        raise errors.make_unknown_error("optimizer", name, kinds)
    return inspect.signature(kinds[name]).parameters["learning_rate"].default


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


class Augmenter(Protocol):
    """Changes the images of every step.

    Attributes:
      layers: Layers whose random generators belong to the checkpoint.
    """

    layers: Sequence[keras.Layer]

    def __call__(self, images: tf.Tensor, ids: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Returns float32 [batch, ...]; ids is int64 [batch], step the number of the batch."""


class RotationAugmenter:
    """The ImageDataGenerator of the YGCNN notebook, as layers."""

    def __init__(self, seed: int):
        fill = {"fill_mode": "nearest"}
        model = keras.Sequential(
            [
                keras.layers.RandomRotation(10 / 360, seed=seed, **fill),
                keras.layers.RandomTranslation(0.1, 0.1, seed=seed + 1, **fill),
                keras.layers.RandomZoom(0.1, seed=seed + 2, **fill),
            ]
        )
        self.layers = [model]
        # Without XLA, which has no kernel for these layers.
        self._augment = tf.function(lambda images: model(images, training=True), autograph=False)

    def __call__(self, images, ids, step):
        """Rotates by up to 10 degrees, shifts and zooms by up to 10 %."""
        return self._augment(images)


class FlipAndCrop:
    """Mirrors half of the images, and shifts each by up to an eighth of its side.

    It is the augmentation of He et al. 2016 (arXiv 1512.03385, section 4.2): 4 pixels of zeros
    around images of 32 x 32, a random crop and a horizontal flip. The random numbers depend on
    (seed, id, step) alone.
    """

    layers: Sequence[keras.Layer] = ()

    def __init__(self, seed: int):
        self._seed = tf.constant(seed, tf.int64)
        self._augment = tf.function(self._flip_and_crop, autograph=False)

    def __call__(self, images, ids, step):
        """Flips and crops each image."""
        return self._augment(images, ids, step)

    def _flip_and_crop(self, images, ids, step):
        height, width = images.shape[1:3]
        keys = prng.make_keys(self._seed, ids, step)
        padding = [max(height // 8, 1), max(width // 8, 1)]
        limits = tf.constant([2 * side + 1 for side in padding])
        shifts = prng.integers(keys, (2,), limits)
        flips = prng.integers(prng.make_keys(1, keys), (1,), 2)
        padded = tf.pad(images, [[0, 0], [padding[0]] * 2, [padding[1]] * 2, [0, 0]])
        columns = tf.range(width)[None]
        columns = tf.where(flips == 1, width - 1 - columns, columns) + shifts[:, 1:]
        cropped = tf.gather(padded, tf.range(height)[None] + shifts[:, :1], axis=1, batch_dims=1)
        return tf.gather(cropped, columns, axis=2, batch_dims=1)


def check_replica_calls(classifier: keras.Model, logits_fn: Callable, group: ReplicaGroup) -> None:
    """Raises an InputError for a classifier that several replicas of one process cannot call.

    Mixed precision, and leaving out a last activation, hold a lock while the model is traced; in
    synchronised batch normalisation each replica waits for the others, which wait for the lock.
    """
    if group.num_replicas == group.num_workers or not find_batch_norms([classifier]):
        return
    final = find_final_activation(classifier)
    if isinstance(logits_fn, MixedPrecisionCall):
        advice = "Train in float32"
    elif final is not None and final.layer is not None:
        advice = "Let the model end in logits, a Dense layer without activation"
    else:
        return
    raise errors.InputError(
        f"{classifier.name!r} has batch normalisation, which several replicas of one process "
        "cannot compute with mixed precision or with a last activation such as a softmax. "
        f"{advice}, or use one process per device: qup train-worker."
    )


class ClassifierLearner:
    """The training step of a classifier, for `TrainingLoop`.

    Attributes:
      metrics: Names of the values of a step.
      optimizer: The optimizer.
      layers: The classifier, and the layers of the augmenter.
      objects: The rest of the state.
    """

    metrics = ("loss", "accuracy")

    def __init__(
        self,
        classifier: keras.Model,
        logits_fn: Callable,
        optimizer: keras.Optimizer,
        adversary: Adversary,
        *,
        augmenter: Augmenter | None = None,
        xla: str = "auto",
        objects: Mapping[str, Any] = types.MappingProxyType({}),
        group: ReplicaGroup = SINGLE,
    ):
        """Builds the optimizer; called in the scope of the strategy.

        Args:
          classifier: The model whose weights are trained.
          logits_fn: The same model as a function of images in [0, 1] and `training` to logits.
          optimizer: Not used for another model.
          adversary: Perturbs the images and gives the loss.
          augmenter: Changes the images first; None for none.
          xla: See `compilation.use_xla`. Under a strategy only "on" uses XLA, for the gradient.
          objects: More variables for the checkpoint.
          group: The replicas that share the batch of a step.
        """
        group.check_optimizer(optimizer)
        check_replica_calls(classifier, logits_fn, group)
        self.optimizer = optimizer
        self.optimizer.build(classifier.trainable_variables)
        self._logits_fn, self._adversary, self._augmenter = logits_fn, adversary, augmenter
        self.layers = [classifier, *(augmenter.layers if augmenter else ())]
        self.objects = {
            # Not the model itself: one that is compiled owns an optimizer and metrics too.
            "weights": [weight.value for weight in classifier.weights],
            "optimizer": optimizer,
            **{k: group.list_replica_variables(v) for k, v in adversary.variables.items()},
            **objects,
        }
        self._group, self._seed_states = group, find_seed_states(self.layers)
        compute, apply = self._build_gradient(classifier), self._apply_gradients
        if group.strategy is None:

            def step(*batch):
                return apply(*compute(*batch))

            self._compiled_step = compilation.compile_function(step, xla)
            return
        # A gradient through synchronised batch normalisation has collective operations, which
        # neither XLA nor a nested program allows.
        is_collective = group.num_replicas > 1 and find_batch_norms([classifier])
        if xla != "auto" and compilation.use_xla(xla) and not is_collective:
            compute = compilation.compile_function(compute, xla)
        self._compiled_step = lambda *batch: apply(*compute(*batch))
        self._distributed_step = group.compile(self._run_replica_step)

    def _build_gradient(self, classifier: keras.Model) -> Callable:
        """Returns (images, labels, perturbed) -> (gradients, image_gradient or None, metrics)."""
        optimizer, adversary, group = self.optimizer, self._adversary, self._group

        def compute(images, labels, perturbed):
            variables = classifier.trainable_variables
            outputs = []

            def compute_loss():
                losses, logits = adversary.loss(self._logits_fn, images, labels, perturbed)
                loss = tf.reduce_mean(losses)
                if group.num_replicas > 1:
                    # The sum over the replicas is the mean over the whole batch.
                    loss /= group.num_replicas
                outputs[:] = loss, logits
                return optimizer.scale_loss(loss)

            image_gradient = None
            if adversary.needs_image_gradient:
                _, image_gradient, weight_gradients = gradients.differentiate_jointly(
                    compute_loss, perturbed, variables
                )
            else:
                with tf.GradientTape() as tape:
                    loss = compute_loss()
                weight_gradients = tape.gradient(loss, variables)
            _check_gradients(classifier, weight_gradients)
            correct = tf.argmax(outputs[1], -1, tf.int32) == labels
            accuracy = 100.0 * tf.reduce_mean(tf.cast(correct, tf.float32))
            if group.num_replicas > 1:
                accuracy /= group.num_replicas
            return weight_gradients, image_gradient, tf.stack([outputs[0], accuracy])

        self._variables = classifier.trainable_variables
        return compute

    def _apply_gradients(self, weight_gradients, image_gradient, metrics) -> tf.Tensor:
        if image_gradient is not None:
            self._adversary.update(image_gradient)
        self.optimizer.apply(weight_gradients, self._variables)
        return metrics

    def train_step(self, batch: Batch) -> tf.Tensor:
        """Takes one step; returns the loss and the accuracy in percent, float32 [2]."""
        if self._group.strategy is None:
            return self._run_step(batch, self.optimizer.iterations.value)
        return self._distributed_step(batch)

    def _run_replica_step(self, batch: Batch) -> tf.Tensor:
        """Takes the step of one replica; returns the metrics of the whole batch."""
        # A program that is traced once would read the variable of the first optimizer for ever.
        step = tf.identity(self.optimizer.iterations.value)
        self._group.seed_generators(self._seed_states, step)
        return self._group.sum(self._run_step(self._group.take_rows(batch), step))

    def _run_step(self, batch: Batch, step: tf.Tensor) -> tf.Tensor:
        images = batch["image"]
        if self._augmenter is not None:
            # All replays of a batch have the same augmentation.
            images = self._augmenter(images, batch["id"], step // self._adversary.num_replays)
        perturbed = self._adversary.perturb(self._logits_fn, images, batch, step)
        return self._compiled_step(images, batch["label"], perturbed)


def _check_gradients(classifier: keras.Model, weight_gradients: Sequence[Any]) -> None:
    if all(gradient is None for gradient in weight_gradients):
        raise errors.InputError(
            f"The loss of the model {classifier.name!r} has no gradient with respect to its "
            "weights. Look for operations without a gradient: rounding, argmax, NumPy code."
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
            rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
            if rate > _MIN_LEARNING_RATE:
                optimizer.learning_rate = max(rate * self._factor, _MIN_LEARNING_RATE)
            self.wait.assign(0)
