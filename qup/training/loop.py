"""The training loop: epochs, checkpoints, progress, and the check for NaN.

The state is in a checkpoint: weights, optimizers, states of the dropout generators (which Keras
omits from every format), the position within the epoch and the sums of its metrics. A SIGTERM or
Ctrl-C loses no step, a kill loses about a minute. The order of the batches depends on (seed, epoch)
alone, so a resumed training takes the same steps as an uninterrupted one.

Several workers agree every few steps whether one of them has received a signal, and whether to
save. Each writes its own checkpoints, and all resume from the last one that all have.
"""

import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from qup.core import errors, files, progress
from qup.core.interruption import SignalGuard
from qup.training.strategies import SINGLE, ReplicaGroup, find_seed_states

# Called at the end of an epoch with its number (from 1) and mean metrics.
EpochHook = Callable[[int, dict[str, float]], None]
_CHECKPOINT_SECONDS = 60.0
_STEPS_BETWEEN_CHECKS = 100
_STEPS_BETWEEN_AGREEMENTS = 10
# Number of a checkpoint of several workers: epoch times this, plus the step.
_MAX_STEPS = 10**9


class Checkpoint:
    """The latest state of a training, in one folder.

    `tf.train.CheckpointManager` writes to a temporary file and renames it, so a complete checkpoint
    exists at any moment.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        objects: Mapping[str, Any],
        layers: Sequence[keras.Layer],
        group: ReplicaGroup = SINGLE,
    ):
        """Restores the latest state, if there is one.

        Args:
          directory: Folder of the checkpoints of this worker.
          objects: Models, built optimizers and variables by name.
          layers: Layers whose random generators belong to the state.
          group: The replicas; all workers restore the same state.

        Raises:
          InputError: The existing checkpoint does not fit `objects`, or the workers have none in
            common.
        """
        generators = [
            group.list_replica_variables(state.variable) for state in find_seed_states(layers)
        ]
        state = tf.train.Checkpoint(**objects, generators=generators)
        directory = pathlib.Path(directory)
        for temporary in directory.glob("*_temp*"):
            files.remove_path(temporary)
        try:
            # A worker may have died between the checkpoints of two others.
            self._manager = tf.train.CheckpointManager(
                state, str(directory), max_to_keep=1 if group.num_workers == 1 else 2
            )
        except ValueError as error:
            raise errors.InputError(
                f"The list of checkpoints in {directory} is damaged: {error}. Remove the folder to "
                "train again from the start."
            ) from error
        latest = self._manager.latest_checkpoint
        if group.num_workers > 1:
            latest = _find_common_checkpoint(self._manager.checkpoints, directory, group)
        if latest is not None:
            try:
                state.restore(latest).assert_consumed()
            except Exception as error:
                raise errors.InputError(
                    f"The checkpoint {latest} does not fit this run: "
                    f"{str(error).splitlines()[0]}. Remove its folder to train again."
                ) from error

    def save(self, number: int | None = None) -> None:
        """Writes the state; the previous one remains until the new one is complete.

        Args:
          number: Of the checkpoint; None counts them.

        Raises:
          InputError: The disk is full or the folder is not writable.
        """
        with files.wrap_os_errors(pathlib.Path(self._manager.directory)):
            self._manager.save(checkpoint_number=number)


def _find_common_checkpoint(
    paths: Sequence[str], directory: pathlib.Path, group: ReplicaGroup
) -> str | None:
    """Returns the latest checkpoint that all workers have; None if none has been completed.

    Raises:
      InputError: Some workers have several, but none is common.
    """
    by_number = {int(path.rpartition("-")[2]): path for path in paths}
    numbers = sorted(by_number)[-2:]
    rows = group.gather([*numbers, *[-1] * (2 - len(numbers))])
    common = set.intersection(*(set(row.tolist()) for row in rows)) - {-1}
    if common:
        return by_number[max(common)]
    counts = (rows >= 0).sum(1)
    if counts.max() > 1:
        worker = int(counts.argmin())
        raise errors.InputError(
            f"Worker {worker} has no checkpoint that the other workers have (this is worker "
            f"{group.worker_index}, with {directory}). Restore its folder, or remove those of all "
            "workers to train again from the start."
        )
    return None


class Learner(Protocol):
    """The interface of what the loop trains."""

    @property
    def metrics(self) -> Sequence[str]:
        """Names of the values that `train_step` returns."""

    @property
    def layers(self) -> Sequence[keras.Layer]:
        """Models whose random generators belong to the checkpoint."""

    @property
    def objects(self) -> Mapping[str, Any]:
        """The rest of the state: models, optimizers, variables."""

    def train_step(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Takes one step; returns float32 [len(metrics)]."""


class TrainingLoop:
    """One training: a learner, its position, and its checkpoint."""

    def __init__(
        self,
        learner: Learner,
        *,
        directory: pathlib.Path | None,
        title: str,
        group: ReplicaGroup = SINGLE,
    ):
        """Restores the latest checkpoint of `directory`, if there is one.

        Args:
          learner: The networks and their training step.
          directory: Folder of the checkpoints of this worker; None writes none.
          title: Name of the training, for the progress bar and messages.
          group: The replicas; the learner's step is that of the group.
        """
        self._learner, self._group = learner, group
        self._title = title
        self._epoch = tf.Variable(0, dtype=tf.int64)
        self._step = tf.Variable(0, dtype=tf.int64)
        self._sums = tf.Variable(tf.zeros(len(learner.metrics)))
        self._checkpoint = None
        self._last_save = time.monotonic()
        if directory is not None:
            position = {"epoch": self._epoch, "step": self._step, "sums": self._sums}
            assert not position.keys() & learner.objects.keys()
            objects = {**learner.objects, **position}
            self._checkpoint = Checkpoint(directory, objects, learner.layers, group)

    def run(
        self,
        batches: Callable[[int], tf.data.Dataset],
        *,
        epochs: int,
        validate: Callable[[], Mapping[str, float]] | None = None,
        hook: EpochHook | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Trains from the current state to the end of epoch number `epochs`.

        Args:
          batches: Epoch (from 0) to its batches, always in the same order.
          epochs: Number of epochs in total.
          validate: Called after each epoch, on the chief; its values are added to the mean metrics.
          hook: Called on every worker before the end of an epoch is saved; called again if the
            process dies between the two.
          should_stop: Called before each epoch; whether to end the training.

        Raises:
          InputError: The loss or a weight is no longer finite, or another worker is lost.
        """
        with SignalGuard() as guard, self._group.explain_lost_worker():
            while (epoch := int(self._epoch)) < epochs and not should_stop():
                self._run_epoch(epoch, epochs, batches(epoch), guard)
                means = self._compute_means(epoch)
                is_stopped, is_save_due = self._agree(guard)
                if is_stopped:
                    self._save()
                    return
                self._check_weights(epoch)
                if validate is not None:
                    if is_save_due:
                        # A validation may take as long as an epoch.
                        self._save()
                    means |= self._group.run_on_chief(lambda: dict(validate()))
                if hook is not None:
                    hook(epoch + 1, means)
                self._epoch.assign_add(1)
                self._step.assign(0)
                self._sums.assign(tf.zeros_like(self._sums))
                self._save()

    def _run_epoch(
        self, epoch: int, epochs: int, batches: tf.data.Dataset, guard: SignalGuard
    ) -> None:
        num_done = int(self._step)
        steps = progress.track(
            batches.skip(num_done),
            title=f"{self._title}: epoch {epoch + 1}/{epochs}",
            total=int(batches.cardinality()),
            done=num_done,
            unit="step",
        )
        for number, batch in enumerate(steps, 1):
            self._sums.assign_add(self._learner.train_step(batch))
            self._step.assign_add(1)
            is_stopped = is_save_due = False
            if self._group.num_workers == 1 or number % _STEPS_BETWEEN_AGREEMENTS == 0:
                is_stopped, is_save_due = self._agree(guard)
            if is_stopped:
                return
            if number % _STEPS_BETWEEN_CHECKS == 0:
                self._compute_means(epoch)
            if is_save_due:
                self._compute_means(epoch)
                self._save()

    def _agree(self, guard: SignalGuard) -> tuple[bool, bool]:
        """Returns whether to stop and whether to save, the same on all workers.

        A signal that one worker has received is then received by all.
        """
        rows = self._group.gather([guard.signal_received or 0, int(self._is_save_due())])
        signal_received, _ = rows.max(0)
        if signal_received:
            guard.signal_received = int(signal_received)
        return bool(signal_received), bool(rows[0, 1])

    def _compute_means(self, epoch: int) -> dict[str, float]:
        steps = max(int(self._step), 1)
        means = self._sums.numpy() / steps
        if not np.all(np.isfinite(means)):
            metrics = dict(zip(self._learner.metrics, means, strict=True))
            raise errors.InputError(
                f"The {self._title} diverged in epoch {epoch + 1}, within its first {steps} steps: "
                f"{metrics}. The results of earlier epochs are intact. Lower the learning rate."
            )
        return dict(zip(self._learner.metrics, means.tolist(), strict=True))

    def _check_weights(self, epoch: int) -> None:
        # The last step's loss was computed before its update.
        weights = (w for layer in self._learner.layers for w in layer.weights)
        if not all(np.isfinite(np.asarray(w)).all() for w in weights):
            raise errors.InputError(
                f"The {self._title} diverged at the end of epoch {epoch + 1}: weights are no "
                "longer finite. The results of earlier epochs are intact. Lower the learning rate."
            )

    def _is_save_due(self) -> bool:
        return time.monotonic() - self._last_save > _CHECKPOINT_SECONDS

    def _save(self) -> None:
        if self._checkpoint is not None:
            number = int(self._epoch) * _MAX_STEPS + int(self._step)
            self._checkpoint.save(number if self._group.num_workers > 1 else None)
        self._last_save = time.monotonic()
