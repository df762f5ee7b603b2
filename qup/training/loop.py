"""Checkpoints that survive a kill at any moment.

`tf.train.CheckpointManager` writes beside and renames, so that the newest
complete checkpoint is always there. Keras leaves the state of its dropout
generators out of every format, so they are added here.
"""

import pathlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from qup.core import errors, files, progress
from qup.core.interruption import SignalGuard


def collect_generator_states(layers: Iterable[keras.Layer]) -> list[tf.Variable]:
    """Returns the variables of all random generators within `layers`."""
    return [
        variable.value
        for layer in layers
        for variable in layer.variables
        if "seed_generator" in variable.path
    ]


class Checkpoint:
    """The newest state of a training, in one folder.

    Attributes:
      resumed: Whether a state was found and restored.
    """

    def __init__(
        self, directory: pathlib.Path, objects: Mapping[str, Any], layers: Iterable[keras.Layer]
    ):
        """Restores the newest state, if there is one.

        Args:
          directory: Folder of the checkpoints.
          objects: Models, built optimizers and variables by name.
          layers: Those whose random generators belong to the state.

        Raises:
          InputError: A checkpoint is there that does not fit `objects`.
        """
        state = tf.train.Checkpoint(**objects, generators=collect_generator_states(layers))
        directory = pathlib.Path(directory)
        for temporary in directory.glob("*_temp*"):
            files.remove_path(temporary)
        try:
            self._manager = tf.train.CheckpointManager(state, str(directory), max_to_keep=1)
        except ValueError as error:
            raise errors.InputError(
                f"The list of checkpoints in {directory} is damaged: {error}. "
                "Remove the folder to train anew."
            ) from error
        latest = self._manager.latest_checkpoint
        self.resumed = latest is not None
        if self.resumed:
            _restore_checkpoint(state, latest)

    def save(self) -> None:
        """Writes the state; an older one stays until the new is whole.

        Raises:
          InputError: The disk is full or the folder cannot be written.
        """
        with files.wrap_os_errors(pathlib.Path(self._manager.directory)):
            self._manager.save()


def _restore_checkpoint(state: tf.train.Checkpoint, path: str) -> None:
    try:
        state.restore(path).assert_consumed()
    except Exception as error:
        raise errors.InputError(
            f"The checkpoint {path} does not fit this run: "
            f"{str(error).splitlines()[0]}. Remove its folder to train anew."
        ) from error


# The loop under every training: epochs, checkpoints, progress, NaN.
#
# A kill at any moment loses the work of about a minute, SIGTERM and Ctrl-C
# that of no step: the loop's place within the epoch, the sums of its metrics,
# weights, optimizers and dropout generators are all in the checkpoint, and the
# order of an epoch's batches depends on (seed, epoch) alone, so the continued
# run takes the very steps that an uninterrupted one takes.


# Called at the end of an epoch with its number (from 1) and mean metrics.
EpochHook = Callable[[int, dict[str, float]], None]
_CHECKPOINT_SECONDS = 60.0
_STEPS_BETWEEN_CHECKS = 100


class Learner(Protocol):
    """What can be trained by the loop.

    Attributes:
      metrics: Names of what `train_step` returns.
      layers: Models whose random generators belong to the checkpoint.
      objects: Everything else that does: models, optimizers, variables.
    """

    metrics: Sequence[str]
    layers: Sequence[keras.Layer]
    objects: Mapping[str, Any]

    def train_step(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Takes one step; returns float32 [len(metrics)]."""


class TrainingLoop:
    """One training: a learner, its place, and its checkpoint."""

    def __init__(self, learner: Learner, *, directory: pathlib.Path | None, title: str):
        """Restores the newest checkpoint of `directory`, if there is one.

        Args:
          learner: What is trained.
          directory: Folder of the checkpoints; None keeps none.
          title: Name of the training, for the bar and for messages.
        """
        self._learner = learner
        self._title = title
        self._epoch = tf.Variable(0, dtype=tf.int64)
        self._step = tf.Variable(0, dtype=tf.int64)
        self._sums = tf.Variable(tf.zeros(len(learner.metrics)))
        self._checkpoint = None
        if directory is not None:
            self._checkpoint = Checkpoint(
                directory,
                {**learner.objects, "epoch": self._epoch, "step": self._step, "sums": self._sums},
                learner.layers,
            )

    def run(
        self,
        batches: Callable[[int], tf.data.Dataset],
        *,
        epochs: int,
        validate: Callable[[], Mapping[str, float]] | None = None,
        hook: EpochHook | None = None,
    ) -> None:
        """Trains up to `epochs` epochs, from wherever the state stands.

        Args:
          batches: Epoch (from 0) to its batches, always in the same order.
          epochs: The epoch to end after.
          validate: Called after each epoch; its values join the means.
          hook: Called before an epoch's end is committed; called again if
            the process dies between the two.

        Raises:
          InputError: The loss is no longer a finite number.
        """
        with SignalGuard() as interruption:
            self._run(batches, epochs, validate, hook, interruption)

    def _run(self, batches, epochs, validate, hook, interruption) -> None:
        while (epoch := int(self._epoch)) < epochs:
            self._run_epoch(epoch, epochs, batches(epoch), interruption)
            if interruption.signal_received:
                self._compute_means(epoch)
                self._save()
                return
            means = self._compute_means(epoch)
            self._check_weights(epoch)
            if validate is not None:
                means |= validate()
            if hook is not None:
                hook(epoch + 1, means)
            self._epoch.assign_add(1)
            self._step.assign(0)
            self._sums.assign(tf.zeros_like(self._sums))
            self._save()

    def _run_epoch(
        self, epoch: int, epochs: int, batches: tf.data.Dataset, interruption: SignalGuard
    ) -> None:
        done = int(self._step)
        steps = progress.track(
            batches.skip(done),
            title=f"{self._title}: epoch {epoch + 1}/{epochs}",
            total=int(batches.cardinality()),
            done=done,
            unit="step",
        )
        last_save = time.monotonic()
        for number, batch in enumerate(steps, 1):
            self._sums.assign_add(self._learner.train_step(batch))
            self._step.assign_add(1)
            if interruption.signal_received:
                return
            if number % _STEPS_BETWEEN_CHECKS == 0:
                self._compute_means(epoch)
            if time.monotonic() - last_save > _CHECKPOINT_SECONDS:
                self._compute_means(epoch)
                self._save()
                last_save = time.monotonic()

    def _compute_means(self, epoch: int) -> dict[str, float]:
        steps = max(int(self._step), 1)
        means = self._sums.numpy() / steps
        if not np.all(np.isfinite(means)):
            metrics = dict(zip(self._learner.metrics, means, strict=True))
            raise errors.InputError(
                f"The {self._title} diverged in epoch {epoch + 1}, within "
                f"its first {steps} steps: {metrics}. What earlier epochs "
                "saved is intact. Lower the learning rate."
            )
        return dict(zip(self._learner.metrics, means.tolist(), strict=True))

    def _check_weights(self, epoch: int) -> None:
        """Sees what the last step's loss, computed before it, does not."""
        weights = (w for layer in self._learner.layers for w in layer.weights)
        if not all(np.isfinite(np.asarray(w)).all() for w in weights):
            raise errors.InputError(
                f"The {self._title} diverged at the end of epoch {epoch + 1}: "
                "weights are no longer finite. What earlier epochs saved is "
                "intact. Lower the learning rate."
            )

    def _save(self) -> None:
        if self._checkpoint is not None:
            self._checkpoint.save()
