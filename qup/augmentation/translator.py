"""The translator, image to Delta_N: steps 3 and 4 of supplement Fig. 3, and its L1 error.

The paper states that no translator can learn Delta_N exactly (supplement, section 4). The L1 error
measures this, for translators of several sizes and for two baselines: Delta = 0, and the template
of the true class.

```python
translator = fit_translator(deltas, epochs=10)
augmented = combine(classifier, translator)
target = build_target_fn(classifier, deltas, templates)
l1_errors = compute_l1_errors({"translator": predict}, batches, target)
l1_errors["translator"].relative
```
"""

import math
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from qup.augmentation import opposite_fgsm
from qup.augmentation.deltas import CLASS_TEMPLATE, DELTA_KEY, DeltaDataset, build_pair_batches
from qup.core import errors
from qup.core.measurements import Measurement
from qup.core.types import Batch, LogitsFn
from qup.models.pix2pix import Pix2Pix
from qup.robustness.evaluation import compute_mean
from qup.training.loop import EpochHook, TrainingLoop
from qup.training.strategies import ReplicaGroup, synchronize_batch_norm

SCHEDULES = ("constant", "cosine")
GRADIENT_PATHS = ("both", "classifier")
# Batch -> Delta, float32 of the images' shape.
DeltaFn = Callable[[Batch], tf.Tensor]


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
    strategy: tf.distribute.Strategy | None = None,
) -> keras.Model:
    """Trains a Pix2Pix network on the pairs (X_0, Delta_N).

    Args:
      deltas: The pairs; the largest |Delta| scales the output.
      epochs: Number of epochs.
      width: Channels of the first block of both networks.
      batch_size: Pairs per step.
      learning_rate: Of both Adam optimizers, at the start.
      beta_1: Of both Adam optimizers.
      l1_weight: Isola et al.'s lambda.
      schedule: "constant", or "cosine" down to zero over all epochs.
      seed: Seed of the initialisation and of the order.
      directory: Folder of the checkpoints; None writes none. Workers other than the chief have a
        folder in it, worker-1 and so on.
      validate: Called with the generator after each epoch; its values are added to the metrics.
      hook: hook(epoch, metrics) after each epoch.
      strategy: See `training.build_strategy`. `validate` and `hook` are called on the chief.

    Returns:
      The generator, image to Delta.

    Raises:
      InputError: The loss diverged, a checkpoint cannot be written, or another worker is lost.
    """
    batch_size = min(batch_size, deltas.num_images)
    steps = deltas.num_images // batch_size
    group = ReplicaGroup(strategy)
    group.divide_batch(batch_size)
    options = [epochs, width, batch_size, learning_rate, beta_1, l1_weight, schedule, seed]
    group.check_equal({"options": options, "pairs": [dict(deltas.settings), deltas.scale]})
    with group.scope():
        gan = Pix2Pix(
            deltas.image_shape,
            width=width,
            scale=deltas.scale,
            l1_weight=l1_weight,
            learning_rate=_build_learning_rate(schedule, learning_rate, epochs * steps),
            beta_1=beta_1,
            seed=seed,
            num_replicas=group.num_replicas,
        )
    if strategy is not None:
        gan.train_step = group.compile(
            lambda batch: group.sum(gan.run_step(group.take_rows(batch)))
        )

    loop = TrainingLoop(
        gan,
        directory=directory and group.get_directory(directory),
        title="translator training",
        group=group,
    )
    with synchronize_batch_norm(gan.layers, group):
        loop.run(
            lambda epoch: build_pair_batches(deltas, batch_size, seed=seed, epoch=epoch),
            epochs=epochs,
            validate=validate and (lambda: validate(gan.generator)),
            hook=hook if group.is_chief else None,
        )
    return group.copy_model(gan.generator)


def _build_learning_rate(schedule: str, learning_rate: float, steps: int):
    if schedule not in SCHEDULES:
        raise errors.make_unknown_error("schedule", schedule, SCHEDULES)
    if schedule == "constant":
        return learning_rate
    return keras.optimizers.schedules.CosineDecay(learning_rate, steps)


class L1Error(NamedTuple):
    """The L1 error of Delta over images.

    Attributes:
      pixels: Mean over images and pixels of |error|, in units of [0, 1].
      relative: `pixels` divided by the mean of |Delta|; 1 for the prediction 0, NaN where every
        Delta is zero.
    """

    pixels: Measurement
    relative: Measurement


def build_target_fn(classifier: LogitsFn, deltas: DeltaDataset, templates: np.ndarray) -> DeltaFn:
    """Returns the exact output of a translator that is trained on `deltas`.

    Args:
      classifier: Image to logits.
      deltas: Pairs with the Delta of each image, or with templates.
      templates: Mean Delta of each class, float32 [num_classes, ...].

    Returns:
      Batch to the Delta of its labels: that of the image, or the template of the class.
    """
    if deltas.settings.get(DELTA_KEY) == CLASS_TEMPLATE:
        return lambda batch: tf.gather(templates, batch["label"])

    def compute_delta(batch: Batch) -> tf.Tensor:
        start, labels = batch["image"], batch["label"]
        end = opposite_fgsm.iterate(classifier, start, labels, **deltas.iterate_options)
        return end - start

    return compute_delta


def compute_l1_errors(
    predictors: Mapping[str, DeltaFn], batches: Iterable[Batch], target: DeltaFn
) -> dict[str, L1Error]:
    """Returns the errors of predictors, by their names, with standard errors over images.

    Args:
      predictors: Batch to Delta, by name.
      batches: The images; rows of weight 0 are omitted.
      target: Batch to the exact Delta.
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
    pixels = compute_mean(image_errors)
    size = float(image_sizes.mean())
    relative = Measurement(math.nan, None, pixels.n)
    if size:
        ratio = pixels.value / size
        # Of a ratio of means, to first order: Var(e - r s) / (n mean(s)^2).
        residuals = compute_mean((image_errors - ratio * image_sizes) / size)
        relative = Measurement(ratio, residuals.stderr, pixels.n)
    return L1Error(pixels, relative)


def combine(
    classifier: keras.Model, translator: keras.Model, *, attack_gradient_through: str = "both"
) -> keras.Model:
    """Combines a translator G and a classifier f: X -> f(X + G(X)).

    Args:
      classifier: Image to logits; unchanged (supplement, S3).
      translator: Image to Delta.
      attack_gradient_through: "both", the paper's setting, lets an attack differentiate both
        networks; "classifier" hides the gradient of the translator. The logits are the same.

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
            f"The classifier takes images {shape}, the translator {translator.input_shape[1:]}. "
            "Both must take the same images."
        )
    inputs = keras.Input(shape, name="image")
    delta = translator(inputs)
    if attack_gradient_through == "classifier":
        delta = keras.ops.stop_gradient(delta)
    outputs = classifier(keras.layers.Add()([inputs, delta]))
    return keras.Model(inputs, outputs, name=f"augmented_{classifier.name}")
