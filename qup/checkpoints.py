"""Checkpoints that survive a kill at any moment.

`tf.train.CheckpointManager` writes beside and renames, so that the newest
complete checkpoint is always there. Keras leaves the state of its dropout
generators out of every format, so they are added here.
"""

import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf

from qup import errors, files


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
