"""Standard and adversarial training of a Keras model of one's own.

```python
history = training.fit(model, (images, labels), "pgd_at", epsilon=8 / 255, epochs=20)
history.history["val_robust_accuracy"]  # percent, a value per epoch
```

The model is trained in place. It keeps its range of pixels, its last activation and its precision,
so that `model.predict` and `model.save` work as before.
"""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from qup.core import errors, files, hashing, identity
from qup.core.types import Recipe
from qup.datasets import Dataset
from qup.training.adversarial import build_adversary
from qup.training.classifier import (
    ClassifierLearner,
    FlipAndCrop,
    build_optimizer,
    check_classifier,
    check_is_model,
    get_default_learning_rate,
)
from qup.training.data import TrainingBatches, prepare_data
from qup.training.history import History
from qup.training.loop import EpochHook, TrainingLoop
from qup.training.monitoring import SINGLE_STEP_METHODS, Evaluator, TrainingTracker
from qup.training.precision import MixedPrecisionCall, choose_policy, needs_loss_scaling
from qup.training.strategies import ReplicaGroup, synchronize_batch_norm

SCHEDULES = ("constant", "cosine", "cyclic", "step")
_SETTINGS_FILE = "settings.json"


def fit(
    model: keras.Model,
    data: Any,
    method: str = "pgd_at",
    *,
    epsilon: float | None = None,
    epochs: int,
    batch_size: int = 128,
    norm: str = "linf",
    num_steps: int | None = None,
    step_size: float | None = None,
    beta: float | None = None,
    num_replays: int | None = None,
    warmup_epochs: float = 0,
    optimizer: str | keras.Optimizer = "adam",
    learning_rate: float | None = None,
    schedule: str = "constant",
    validation_data: Any = None,
    validation_size: int | None = None,
    num_robust_images: int = 256,
    pixel_range: tuple[float, float] | None = None,
    value_range: Sequence[float] | None = None,
    augment: bool = False,
    seed: int = 0,
    mixed_precision: bool | str = False,
    xla: str = "auto",
    stop_at_collapse: bool = True,
    restore_best: bool = False,
    checkpoint_dir: str | os.PathLike | None = None,
    log_dir: str | os.PathLike | None = None,
    hook: EpochHook | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> History:
    """Trains a Keras model in place, against an adversary in an L-inf or L2 ball.

    A model that ends in a softmax, in sigmoids or in one number for two classes is trained on the
    logits before it. The inner maximisation runs the model in inference mode, see
    `qup.training.adversarial`, which defines the methods.

    Args:
      model: A classifier, built or not, compiled or not; what `model.compile` set is neither used
        nor changed.
      data: Training images and labels: a tuple (images, labels) of arrays, a tf.data.Dataset of
        (image, label), single or in batches, or a `Dataset`. Labels are class numbers [n] or [n, 1]
        or one-hot rows. They are kept in memory in 8 bits, as by `datasets.from_arrays`.
      method: "pgd_at", "trades", "mart", "free", "fast", or "standard" (no adversary).
      epsilon: Radius of the ball in units of [0, 1], whatever the range of pixels: 8 / 255. With
        "standard" it is only for the measurement of the robust accuracy; None measures none.
      epochs: Number of epochs. For "free" an epoch has as many steps as for the others: it takes
        the m-th part of the images, m times each.
      batch_size: Images per step; an incomplete last batch is left out.
      norm: "linf" or "l2", of epsilon.
      num_steps: Steps of the inner maximisation of pgd_at, trades and mart; None: 7.
      step_size: Their length; None: 2.5 epsilon / num_steps, for "fast" 1.25 epsilon.
      beta: Weight of the divergence of trades (None: 6) and mart (None: 5).
      num_replays: m of "free"; None: 8.
      warmup_epochs: epsilon grows linearly from 0 over so many epochs. In the papers it does not,
        but small networks without batch normalisation may learn nothing at the whole epsilon.
      optimizer: The name of a Keras optimizer, or one, which is copied.
      learning_rate: The highest rate; None: the optimizer's own. Only for a name.
      schedule: "constant"; "cosine" to 0 (Loshchilov and Hutter 2017, arXiv 1608.03983); "cyclic",
        linear to the highest rate at 2/5 of the steps and then to 0 (Wong et al. 2020); "step", a
        tenth after 1/2 and a hundredth after 3/4 of the steps.
      validation_data: Images and labels like `data`. None: the split "validation" of a `Dataset`,
        else images that are held out.
      validation_size: Training images to hold out if there are no others; None: a twentieth, at
        most 1,000. The seed chooses them.
      num_robust_images: Images of each split, from the first, whose robust accuracy is measured
        after each epoch, by PGD of 10 steps.
      pixel_range: (lowest, highest) pixel that the model takes, (0, 255) or (-1, 1); None: (0, 1).
      value_range: (black, white) of the images in arrays; None: (0, 255) for integers; for floats
        (0, 1), or `pixel_range` if they exceed (0, 1).
      augment: Mirror and shift the images at random, for photographs; see `FlipAndCrop`.
      seed: Seed of the order, the starts, the augmentation and the images that are held out.
      mixed_precision: "mixed_bfloat16" or "mixed_float16", see `qup.training.precision`; True for
        the faster one of this machine. Losses are scaled where float16 needs it.
      xla: "auto" (with a GPU, and without a strategy), "on" or "off".
      stop_at_collapse: Whether "fast" and "free" end, with the best weights so far, in an epoch of
        catastrophic overfitting: PGD leaves less than a quarter of the accuracy under the
        training's own attack (Wong et al. 2020, section 5.4). It is logged in any case.
      restore_best: Whether the model ends with the weights of the epoch with the highest robust
        accuracy on the validation images (clean accuracy without epsilon). Robust accuracy falls
        late in a long training (Rice et al. 2020, arXiv 2002.11569).
      checkpoint_dir: Folder from which the same call resumes an interrupted training, with the same
        result bit for bit; a kill loses at most a minute. None keeps nothing. Workers other than
        the chief have a folder in it, worker-1 and so on.
      log_dir: Folder of TensorBoard summaries; None writes none.
      hook: hook(epoch, metrics) after each epoch, from 1; called on the chief.
      strategy: See `training.build_strategy`; the model was built or loaded in its scope. Its
        replicas share each batch, so that `batch_size` is that of a training without a strategy.

    Returns:
      The metrics of each epoch. "loss" and "batch_accuracy" are means over the steps: the accuracy
      under the training's own attack, for trades and mart of the clean images. "accuracy" and
      "robust_accuracy" are of the first `num_robust_images` training images, "val_accuracy" of all
      validation images, "val_robust_accuracy" of the first `num_robust_images`; all in percent,
      after the epoch.

    Raises:
      InputError: An argument is invalid, the model cannot be trained on these images, the loss
        diverged, `checkpoint_dir` holds another training, or another worker is lost.
    """
    group = ReplicaGroup(strategy)
    if strategy is not None and xla == "auto":
        xla = "off"
    for name, value in (("epochs", epochs), ("num_robust_images", num_robust_images)):
        errors.check_number(name, value, at_least=1)
    errors.check_number("warmup_epochs", warmup_epochs, at_least=0)
    check_is_model(model)
    adversary_options: dict[str, Any] = {
        **{"epsilon": epsilon, "norm": norm, "num_steps": num_steps, "step_size": step_size},
        **{"beta": beta, "num_replays": num_replays, "seed": seed, "xla": xla},
    }
    # Mistakes are reported before the images are read.
    build_adversary(method, **adversary_options)
    policy = choose_policy(mixed_precision)
    ranges: dict[str, Any] = {"pixel_range": pixel_range, "value_range": value_range}
    dataset, split = prepare_data(data, validation_data, validation_size, seed, **ranges)
    if split is None and method in SINGLE_STEP_METHODS:
        raise errors.InputError(
            f"{method} needs validation images, to see catastrophic overfitting. Pass "
            "validation_data, or a validation_size above 0."
        )
    with group.scope():
        _build_model(model, dataset.info.image_shape)
    group.check_model(model)
    classifier = check_classifier(model, dataset, pixel_range)
    batches = TrainingBatches(dataset, batch_size, seed)
    warmup_steps = round(warmup_epochs * batches.count)
    adversary = build_adversary(method, **adversary_options, warmup_steps=warmup_steps)
    rows = group.divide_batch(batches.shape[0])
    with group.scope():
        adversary.build((rows, *batches.shape[1:]))
        chosen = _choose_optimizer(optimizer, learning_rate, schedule, batches.count * epochs)
    settings = {
        "adversary": adversary.describe(),
        # With another number of epochs, a schedule has another rate at the same step.
        "epochs": None if schedule == "constant" else epochs,
        "robust_accuracy": [epsilon, norm, num_robust_images],
        **{"batch_size": batch_size, "seed": seed, "augment": augment},
        **{"mixed_precision": policy, "stop_at_collapse": stop_at_collapse},
    }
    if strategy is not None:
        # The order of a sum has another rounding.
        settings["replicas"] = group.num_replicas
    if checkpoint_dir is not None or group.num_workers > 1:
        settings |= _describe_inputs(model, pixel_range, dataset, chosen)
    group.check_equal(settings | {"epochs": epochs})
    folder = _open_checkpoints(checkpoint_dir, settings, group)
    num_classes = dataset.info.num_classes
    tracker = TrainingTracker(model, method, num_classes, folder, stop_at_collapse, warmup_epochs)
    scales_loss = needs_loss_scaling(model, policy)
    with group.scope():
        learner = ClassifierLearner(
            model,
            MixedPrecisionCall(model, classifier, policy) if policy else classifier,
            keras.optimizers.LossScaleOptimizer(chosen) if scales_loss else chosen,
            adversary,
            augmenter=FlipAndCrop(seed) if augment else None,
            xla=xla,
            objects=tracker.variables,
            group=group,
        )
    loop = TrainingLoop(learner, directory=folder, title=f"{model.name} training", group=group)
    tracker.open_curves(log_dir if group.is_chief else None)
    evaluator = Evaluator(classifier, dataset, split, num_robust_images, epsilon, norm, seed)
    with synchronize_batch_norm([model], group):
        loop.run(
            lambda epoch: batches.get_epoch(epoch, adversary.num_replays),
            epochs=epochs,
            validate=evaluator.evaluate,
            hook=_build_hook(tracker, learner.optimizer, hook if group.is_chief else None),
            should_stop=lambda: tracker.is_stopped,
        )
    return tracker.finish(restore_best)


def _build_hook(
    tracker: TrainingTracker, optimizer: keras.Optimizer, hook: EpochHook | None
) -> EpochHook:
    """Returns a hook that records an epoch, then calls the user's."""

    def end_epoch(epoch: int, metrics: dict[str, float]) -> None:
        metrics["learning_rate"] = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
        metrics = tracker.record(epoch, metrics)
        if hook is not None:
            hook(epoch, metrics)

    return end_epoch


# The model and its optimizer


def _build_model(model: keras.Model, image_shape: Sequence[int]) -> None:
    """Creates the weights of a model that has seen no images yet."""
    if model.built:
        return
    try:
        model(tf.zeros((1, *image_shape)), training=False)
    except Exception as error:
        raise errors.InputError(
            f"The model {model.name!r} fails on an image {tuple(image_shape)}: "
            f"{errors.format_first_line(error)}. Resize the images, or build the model for them."
        ) from error


class _Cyclic(keras.optimizers.schedules.LearningRateSchedule):
    """Linear from 0 to the peak at 2/5 of the steps, then linear to 0."""

    def __init__(self, peak: float, num_steps: int):
        super().__init__()
        self._peak, self._num_steps = peak, num_steps

    def __call__(self, step):
        done = keras.ops.cast(step, "float32") / self._num_steps
        return self._peak * keras.ops.maximum(
            keras.ops.minimum(done / 0.4, (1.0 - done) / 0.6), 0.0
        )

    def get_config(self):
        return {"peak": self._peak, "num_steps": self._num_steps}


def _choose_optimizer(
    optimizer: str | keras.Optimizer, learning_rate: float | None, schedule: str, num_steps: int
) -> keras.Optimizer:
    """Returns a new optimizer with its schedule."""
    if schedule not in SCHEDULES:
        raise errors.make_unknown_error("schedule", schedule, SCHEDULES)
    if isinstance(optimizer, keras.Optimizer):
        if learning_rate is not None or schedule != "constant":
            raise errors.InputError(
                "learning_rate and schedule are for the name of an optimizer; received an "
                f"optimizer, {type(optimizer).__name__}. Set them in it, or pass its name."
            )
        return type(optimizer).from_config(optimizer.get_config())
    if learning_rate is None:
        learning_rate = get_default_learning_rate(optimizer)
    errors.check_number("learning_rate", learning_rate, above=0)
    schedules = keras.optimizers.schedules
    rate = learning_rate
    if schedule == "cosine":
        rate = schedules.CosineDecay(rate, num_steps)
    elif schedule == "cyclic":
        rate = _Cyclic(rate, num_steps)
    elif schedule == "step":
        boundaries = [num_steps // 2, 3 * num_steps // 4]
        rate = schedules.PiecewiseConstantDecay(boundaries, [rate, rate / 10, rate / 100])
    return build_optimizer(Recipe(optimizer=optimizer, learning_rate=rate))


def _describe_inputs(
    model: keras.Model,
    pixel_range: tuple[float, float] | None,
    dataset: Dataset,
    optimizer: keras.Optimizer,
) -> dict[str, Any]:
    """Returns what identifies the model, the data and the optimizer, as JSON values."""
    # Keras numbers the names of optimizers in each process.
    config = {key: value for key, value in optimizer.get_config().items() if key != "name"}
    return {
        "architecture": hashing.hash_json(identity.describe_architecture(model)),
        "pixel_range": pixel_range,
        "data": dataset.fingerprint,
        "optimizer": {
            "class": type(optimizer).__name__,
            **json.loads(json.dumps(config, default=repr)),
        },
    }


# Checkpoints


def _open_checkpoints(
    checkpoint_dir: str | os.PathLike | None, settings: Mapping[str, Any], group: ReplicaGroup
) -> pathlib.Path | None:
    """Returns the folder of this worker, or None.

    Args:
      checkpoint_dir: The folder of the chief, which is created.
      settings: Those of the training, as JSON values.
      group: The replicas.

    Raises:
      InputError: The folder belongs to another training, or cannot be written.
    """
    if checkpoint_dir is None:
        return None
    folder = group.get_directory(pathlib.Path(checkpoint_dir).expanduser())
    path = folder / _SETTINGS_FILE
    settings = json.loads(json.dumps(settings))
    if not path.exists():
        files.write_text(path, json.dumps(settings, indent=1))
        return folder
    try:
        stored = json.loads(path.read_text("utf-8"))
        keys = {**stored, **settings}
        differences = [key for key in keys if settings.get(key) != stored.get(key)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise errors.InputError(
            f"{path} is damaged. Remove {folder} to train again from the start."
        ) from error
    if differences:
        key = differences[0]
        then, now = (errors.shorten(values.get(key)) for values in (stored, settings))
        change = f"{then} then, {now} now"
        raise errors.InputError(
            f"{folder} holds a training with other settings: {key} ({change}). Name another "
            "folder, or remove this one."
        )
    return folder
