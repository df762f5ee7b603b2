"""Clean and robust accuracy during a training, and the weights of the best epoch.

```python
monitor = RobustnessMonitor(images, labels, epsilon=8 / 255)
accuracy, robust_accuracy = monitor.measure(model)  # percent
```
"""

import logging
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from qup import attacks
from qup.attacks import registry, reliability
from qup.core import errors
from qup.core.classifier import predict_logits
from qup.core.tensorboard import SummaryWriter
from qup.core.types import LogitsFn
from qup.datasets import Dataset
from qup.training.history import History

_log = logging.getLogger("qup")
SINGLE_STEP_METHODS = ("fast", "free")
_HISTORY_FILE = "history.json"
_EVALUATION_BATCH_SIZE = 500
# Catastrophic overfitting: PGD leaves less than this share of the accuracy under the training's own
# attack.
_COLLAPSE_RATIO, _MIN_POINTS_ABOVE_CHANCE = 0.25, 10
# A network that is at most this factor above chance after so many epochs has learnt nothing.
_CHANCE_FACTOR, _MIN_EPOCHS_TO_LEARN = 1.3, 3
# Steps of the attack that watches a training, unless the options say otherwise.
_NUM_STEPS = 10


class RobustnessMonitor:
    """An attack on the same images after each epoch, with the same random numbers.

    Its programs are compiled at the first measurement and used again: they belong to the model.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        epsilon: float,
        attack: str = "pgd",
        norm: str | None = None,
        batch_size: int = 128,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
    ):
        """Checks the attack's options.

        Args:
          images: float32 [n, ...] in [0, 1].
          labels: int32 [n].
          epsilon: Budget in units of [0, 1].
          attack: Registered name.
          norm: The norm of epsilon; None for the attack's default.
          batch_size: Images that are attacked together.
          seed: Seed of the attack.
          options: Further options of the attack. For pgd the default is 10 steps, and a row stops
            at its first misclassified iterate.

        Raises:
          InputError: An option is unknown or out of its range, or there are no images.
        """
        if not len(images):
            raise errors.InputError("There are no images to attack. Pass at least one.")
        defaults = {"num_steps": _NUM_STEPS, "keep": "first_adversarial"}
        self._options = {**(defaults if attack == "pgd" else {}), **(options or {})}
        if norm is not None:
            self._options["norm"] = norm
        self._attack, self._images, self._labels = attack, images, labels
        # That PGD takes few steps is stated where its numbers are.
        self._known_flags = {"few_steps"}
        self._arguments = {"epsilon": epsilon, "batch_size": batch_size, "seed": seed}
        if registry.traits(attack)["method"] is not None:
            registry.build_method(attack, **self._options, epsilon=epsilon)

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self._labels)

    def measure(self, logits_fn: LogitsFn) -> tuple[float, float]:
        """Returns the clean and the robust accuracy in percent.

        An image that is misclassified before the attack counts as not robust.

        Args:
          logits_fn: A Keras model, or its `Classifier`.

        Raises:
          InputError: The classifier fails or returns NaN, see `attacks.run`.
        """
        result = attacks.run(
            self._attack,
            logits_fn,
            self._images,
            self._labels,
            **self._arguments,
            **self._options,
            logs_flags=False,
        )
        # Each reason to doubt the number is logged in the first epoch that has it.
        new_flags = [flag for flag in result.flags if flag.name not in self._known_flags]
        self._known_flags.update(flag.name for flag in new_flags)
        reliability.log_flags(self._attack, new_flags)
        return result.test_accuracy, result.robust_accuracy


class BestWeights:
    """The weights of the epoch with the highest accuracy, in variables for the checkpoint.

    Attributes:
      score: float32 scalar, the highest accuracy.
      epoch: int64 scalar, its epoch, from 1; 0 for none.
    """

    def __init__(self, model: keras.Model):
        """Copies the current weights."""
        self._weights = [weight.value for weight in model.weights]
        self._copies = [tf.Variable(weight, trainable=False) for weight in self._weights]
        self.score = tf.Variable(float("-inf"))
        self.epoch = tf.Variable(0, dtype=tf.int64)

    @property
    def variables(self) -> dict[str, Any]:
        """The state."""
        return {"best_score": self.score, "best_epoch": self.epoch, "best_weights": self._copies}

    def offer(self, epoch: int, score: float) -> bool:
        """Copies the weights if `score` is higher than all before; returns whether it is."""
        if not score > float(self.score):
            return False
        self.score.assign(score)
        self.epoch.assign(epoch)
        for copy, weight in zip(self._copies, self._weights, strict=True):
            copy.assign(weight)
        return True

    def restore(self) -> None:
        """Gives the model the weights of the best epoch; does nothing before the first `offer`."""
        if int(self.epoch):
            for copy, weight in zip(self._copies, self._weights, strict=True):
                weight.assign(copy)


class Evaluator:
    """Clean and robust accuracy on training and validation images."""

    def __init__(
        self,
        classifier: LogitsFn,
        dataset: Dataset,
        split: str | None,
        num_robust_images: int,
        epsilon: float | None,
        norm: str,
        seed: int,
    ):
        self._classifier, self._dataset, self._split = classifier, dataset, split
        self._monitors: dict[str, RobustnessMonitor] = {}
        for prefix, name in (("", "train"), ("val_", split)):
            if epsilon is not None and name is not None:
                images, labels, _ = (x[:num_robust_images] for x in dataset.get_arrays(name))
                self._monitors[prefix] = RobustnessMonitor(
                    images.astype(np.float32) / 255, labels, epsilon=epsilon, norm=norm, seed=seed
                )

    def evaluate(self) -> dict[str, float]:
        """Returns the metrics of an epoch, in percent."""
        metrics = {}
        for prefix, monitor in self._monitors.items():
            clean, robust = monitor.measure(self._classifier)
            metrics |= {f"{prefix}clean_accuracy": clean, f"{prefix}robust_accuracy": robust}
        if self._split is not None:
            metrics["val_clean_accuracy"] = self._compute_accuracy()
        return metrics

    def _compute_accuracy(self) -> float:
        """Returns the accuracy on all validation images, in percent."""
        size = self._dataset.get_size(self._split)
        num_correct = 0.0
        for batch in self._dataset.evaluation_batches(
            self._split, min(size, _EVALUATION_BATCH_SIZE)
        ):
            logits = predict_logits(self._classifier, batch["image"])
            is_correct = tf.argmax(logits, -1, tf.int32) == batch["label"]
            num_correct += float(tf.reduce_sum(tf.cast(is_correct, tf.float32) * batch["weight"]))
        return 100.0 * num_correct / size


class TrainingTracker:
    """The history, the best weights, and the watch for catastrophic overfitting."""

    def __init__(
        self,
        model: keras.Model,
        method: str,
        num_classes: int,
        folder: pathlib.Path | None,
        stop_at_collapse: bool,
        warmup_epochs: float = 0,
    ):
        """Copies the weights of the model; reads the history of an earlier call.

        Args:
          model: The model that is trained.
          method: See `training.fit`.
          num_classes: Classes of the data, which decide about the accuracy of chance.
          folder: Of the history's file; None for none.
          stop_at_collapse: See `training.fit`.
          warmup_epochs: Epochs in which the training's own attack is weaker than PGD.
        """
        self._model, self._method, self._num_classes = model, method, num_classes
        self._history = History(None if folder is None else folder / _HISTORY_FILE)
        self._best = BestWeights(model)
        self._stop_at_collapse, self._warmup_epochs = stop_at_collapse, warmup_epochs
        self._collapsed_epoch = tf.Variable(0, dtype=tf.int64)
        self._writer: SummaryWriter | None = None

    @property
    def variables(self) -> dict[str, Any]:
        """The state, for the checkpoint."""
        return {**self._best.variables, "collapsed_epoch": self._collapsed_epoch}

    @property
    def is_stopped(self) -> bool:
        """Whether the training has ended before its last epoch."""
        return self._stop_at_collapse and int(self._collapsed_epoch) > 0

    def open_curves(self, log_dir: str | os.PathLike | None) -> None:
        """Writes the epochs that are known to TensorBoard, in place of those of an earlier call."""
        if log_dir is None:
            return
        self._writer = SummaryWriter(pathlib.Path(log_dir))
        for run in ("train", "validation"):
            self._writer.clear(run)
        for epoch, metrics in self._history.epochs.items():
            self._write_curves(epoch, metrics)

    def record(self, epoch: int, metrics: Mapping[str, float]) -> dict[str, float]:
        """Adds an epoch; returns its metrics under their names in the history."""
        names = {"accuracy": "batch_accuracy", "clean_accuracy": "accuracy"}
        names |= {"val_clean_accuracy": "val_accuracy"}
        metrics = {names.get(name, name): float(value) for name, value in metrics.items()}
        self._history.record(epoch, metrics)
        values = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        _log.info("%s, epoch %d: %s", self._method, epoch, values)
        score = metrics.get("val_robust_accuracy", metrics.get("val_accuracy"))
        if score is not None:
            self._best.offer(epoch, score)
        is_warm = epoch > self._warmup_epochs
        if is_warm and self._has_collapsed(metrics) and not int(self._collapsed_epoch):
            self._collapsed_epoch.assign(epoch)
            self._warn_of_collapse(epoch, metrics)
        if epoch == _MIN_EPOCHS_TO_LEARN and not self._has_learnt():
            _log.warning(
                "After %d epochs the accuracy is that of chance. Lower epsilon or the learning "
                "rate, or let epsilon grow: warmup_epochs=%d.",
                epoch,
                epoch,
            )
        if self._writer is not None:
            self._write_curves(epoch, metrics)
        return metrics

    def _has_learnt(self) -> bool:
        """Returns whether an accuracy of any epoch is well above chance."""
        names = ("batch_accuracy", "accuracy", "val_accuracy")
        values = (m.get(name, 0.0) for m in self._history.epochs.values() for name in names)
        return max(values) > _CHANCE_FACTOR * 100 / self._num_classes

    def _has_collapsed(self, metrics: Mapping[str, float]) -> bool:
        """Returns whether the images of the training's own attack are all that is learnt.

        Near the accuracy of chance nothing is learnt yet. A low clean accuracy has another cause,
        such as averages of a batch normalisation that lag behind.
        """
        if self._method not in SINGLE_STEP_METHODS or "val_robust_accuracy" not in metrics:
            return False
        attacked = metrics["batch_accuracy"]
        return (
            attacked > 100 / self._num_classes + _MIN_POINTS_ABOVE_CHANCE
            and metrics["val_accuracy"] > attacked / 2
            and metrics["val_robust_accuracy"] < _COLLAPSE_RATIO * attacked
        )

    def _warn_of_collapse(self, epoch: int, metrics: Mapping[str, float]) -> None:
        action = "The training continues."
        if self._stop_at_collapse:
            action = f"The training ends with the weights of epoch {int(self._best.epoch)}."
        _log.warning(
            "CATASTROPHIC OVERFITTING in epoch %d: an accuracy of %.1f %% under the attack of the "
            "training, %.1f %% under PGD. %s Lower epsilon, step_size or the number of epochs, or "
            "use pgd_at.",
            epoch,
            metrics["batch_accuracy"],
            metrics["val_robust_accuracy"],
            action,
        )

    def _write_curves(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Writes the points of one epoch; equal tags of the two runs share a chart."""
        by_run: dict[str, dict[str, float]] = {"train": {}, "validation": {}}
        for name, value in metrics.items():
            run = "validation" if name.startswith("val_") else "train"
            by_run[run][name.removeprefix("val_")] = value
        for run, values in by_run.items():
            if values:
                self._writer.write_scalars(run, epoch, values)

    def finish(self, restore_best: bool) -> History:
        """Restores the best weights if they are wanted; returns the history."""
        if restore_best or self.is_stopped:
            self._best.restore()
        self._history.best_epoch = int(self._best.epoch) or None
        self._history.collapsed_epoch = int(self._collapsed_epoch) or None
        return self._history
