"""Training the translator, image to Delta_N: step 3 of supplement Fig. 3.

```python
translator = fit_translator(deltas, epochs=10)
```
"""

import math
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from qup.augmentation import deltas as augmentation_deltas
from qup.augmentation import opposite_fgsm
from qup.augmentation import templates as augmentation_templates
from qup.augmentation.deltas import DeltaDataset
from qup.core import errors
from qup.core.measurements import Accuracy
from qup.core.types import Batch, LogitsFn
from qup.models.pix2pix import Pix2Pix
from qup.training.loop import EpochHook, TrainingLoop

SCHEDULES = ("constant", "cosine")


def fit_translator(
    deltas: DeltaDataset,
    *,
    epochs: int,
    width: int = 16,
    batch_size: int = 64,
    learning_rate: float = 2e-4,
    beta_1: float = 0.5,
    l1_weight: float = 100.0,
    schedule: str = "constant",
    seed: int = 0,
    directory: pathlib.Path | None = None,
    validate: Callable[[keras.Model], Mapping[str, float]] | None = None,
    hook: EpochHook | None = None,
) -> keras.Model:
    """Trains a Pix2Pix network on the pairs (X_0, Delta_N).

    Args:
      deltas: The pairs; the largest |Delta| scales the output.
      epochs: Number of epochs.
      width: Channels of the first block of both networks.
      batch_size: Pairs a step.
      learning_rate: Of both Adams, at the start.
      beta_1: Of both Adams.
      l1_weight: Isola et al.'s lambda.
      schedule: "constant", or "cosine" down to zero over all epochs.
      seed: Drives initialisation and order.
      directory: Folder of the checkpoints; None keeps none.
      validate: Given the generator after each epoch; its values join the
        epoch's metrics.
      hook: hook(epoch, metrics) after each epoch.

    Returns:
      The generator, image to Delta.

    Raises:
      InputError: The loss diverged, or a checkpoint cannot be written.
    """
    batch_size = min(batch_size, deltas.num_images)
    steps = deltas.num_images // batch_size
    gan = Pix2Pix(
        deltas.image_shape,
        width=width,
        scale=deltas.scale,
        l1_weight=l1_weight,
        learning_rate=_build_learning_rate(schedule, learning_rate, epochs * steps),
        beta_1=beta_1,
        seed=seed,
    )

    TrainingLoop(gan, directory=directory, title="translator training").run(
        lambda epoch: augmentation_deltas.build_pair_batches(
            deltas, batch_size, seed=seed, epoch=epoch
        ),
        epochs=epochs,
        validate=validate and (lambda: validate(gan.generator)),
        hook=hook,
    )
    return gan.generator


def _build_learning_rate(schedule: str, learning_rate: float, steps: int):
    if schedule not in SCHEDULES:
        raise errors.make_unknown_error("schedule", schedule, SCHEDULES)
    if schedule == "constant":
        return learning_rate
    return keras.optimizers.schedules.CosineDecay(learning_rate, steps)


# How far a translator is from the Delta it should give: its L1 error.
#
# The paper holds that no translator can learn Delta_N exactly (supplement,
# section 4); this is what a sweep over its size watches. Beside it stand two
# that are no translators: nothing at all, and the template of the true class.
#
# ```python
# target = taught(classifier, deltas, templates)
# errors = l1_errors(predictors, batches, target)
# errors["translator"].relative
# ```


# What gives a batch's Delta, float32 of the images' shape.
DeltaFn = Callable[[Batch], tf.Tensor]


class L1Error(NamedTuple):
    """The L1 error of Delta over images.

    Attributes:
      pixels: Mean over images and pixels of |error|, in units of [0, 1].
      relative: That over the mean of |Delta|; 1 for no Delta at all, NaN
        where every Delta is zero.
    """

    pixels: Accuracy
    relative: Accuracy


def build_target_fn(classifier: LogitsFn, deltas: DeltaDataset, templates: np.ndarray) -> DeltaFn:
    """Returns what a translator that learnt `deltas` should give.

    Args:
      classifier: Image to logits.
      deltas: A walk, or the templates of one.
      templates: Its mean Delta of each class, float32 [num_classes, ...].

    Returns:
      Batch to the Delta of its labels: the walk's, or the class's template.
    """
    if (
        deltas.settings.get(augmentation_templates.DELTA_KEY)
        == augmentation_templates.CLASS_TEMPLATE
    ):
        return lambda batch: tf.gather(templates, batch["label"])

    def compute_delta(batch: Batch) -> tf.Tensor:
        start, labels = batch["image"], batch["label"]
        end = opposite_fgsm.iterate(classifier, start, labels, **deltas.iterate_options)
        return end - start

    return compute_delta


def compute_l1_errors(
    predictors: Mapping[str, DeltaFn], batches: Iterable[Batch], target: DeltaFn
) -> dict[str, L1Error]:
    """Compares predictors with the Delta of every image.

    Args:
      predictors: Batch to Delta, by name.
      batches: The images; rows of weight 0 are left out.
      target: Batch to the Delta that is right.

    Returns:
      The errors by the predictors' names, with standard errors over images.
    """
    sizes: list[np.ndarray] = []
    errors_by_name: dict[str, list[np.ndarray]] = {name: [] for name in predictors}
    for batch in batches:
        is_real = batch["weight"].numpy() > 0
        target_delta = target(batch)
        sizes.append(_compute_mean_abs(target_delta)[is_real])
        for name, predict in predictors.items():
            errors_by_name[name].append(_compute_mean_abs(predict(batch) - target_delta)[is_real])
    size = np.concatenate(sizes)
    return {
        name: _estimate_l1_error(np.concatenate(chunks), size)
        for name, chunks in errors_by_name.items()
    }


def _compute_mean_abs(deltas: tf.Tensor) -> np.ndarray:
    """Returns each image's mean of |Delta|, float64 [batch]."""
    means = tf.reduce_mean(tf.abs(deltas), tf.range(1, tf.rank(deltas)))
    return means.numpy().astype(np.float64)


def _estimate_l1_error(image_errors: np.ndarray, image_sizes: np.ndarray) -> L1Error:
    count, pixels = len(image_errors), float(image_errors.mean())
    mean = float(image_sizes.mean())
    relative = Accuracy(math.nan, None, count)
    if mean:
        ratio = pixels / mean
        # Of a ratio of means, to first order: Var(e - r s) / (n mean(s)^2).
        stderr = _compute_stderr((image_errors - ratio * image_sizes) / mean)
        relative = Accuracy(ratio, stderr, count)
    return L1Error(Accuracy(pixels, _compute_stderr(image_errors), count), relative)


def _compute_stderr(values: np.ndarray) -> float | None:
    if len(values) < 2:
        return None
    return float(values.std(ddof=1) / math.sqrt(len(values)))


GRADIENT_PATHS = ("both", "classifier")


def combine(
    classifier: keras.Model, translator: keras.Model, *, attack_gradient_through: str = "both"
) -> keras.Model:
    """Puts the translator before the classifier: X -> f(X + G(X)).

    Args:
      classifier: Image to logits; unchanged (supplement, S3).
      translator: Image to Delta.
      attack_gradient_through: "both" lets an attack differentiate both networks, the
        paper's setting; "classifier" hides the translator's gradient, with
        the same logits.

    Returns:
      The augmented classifier, again image to logits.

    Raises:
      InputError: Another `attack_gradient_through`, or shapes that do not fit.
    """
    if attack_gradient_through not in GRADIENT_PATHS:
        raise errors.make_unknown_error("through", attack_gradient_through, GRADIENT_PATHS)
    shape = classifier.input_shape[1:]
    if translator.input_shape[1:] != shape:
        raise errors.InputError(
            f"The classifier takes images {shape}, the translator "
            f"{translator.input_shape[1:]}: they must be equal."
        )
    inputs = keras.Input(shape, name="image")
    delta = translator(inputs)
    if attack_gradient_through == "classifier":
        delta = keras.ops.stop_gradient(delta)
    outputs = classifier(keras.layers.Add()([inputs, delta]))
    return keras.Model(inputs, outputs, name=f"augmented_{classifier.name}")
