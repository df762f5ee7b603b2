"""What every training of a classifier does between artifacts."""

import dataclasses
import pathlib
import shutil
from typing import Any, NamedTuple

import keras

from qup import curves, evaluation, files, models, training
from qup.components import artifacts
from qup.components.artifacts import Examples, Model, ModelRun
from qup.datasets import Dataset
from qup.datasets import examples as files_of_examples
from qup.subjects import ModelInfo
from qup.types import Recipe

_EVALUATION_BATCH_SIZE = 500


class TrainingArtifacts(NamedTuple):
    """Where a training comes from and goes to.

    Attributes:
      model: The classifier.
      run: Its training, for whoever trains it on.
      state: Folder of an unfinished training's checkpoints.
      previous: The training of fewer epochs to go on from, or None.
    """

    model: Model
    run: ModelRun
    state: pathlib.Path
    previous: ModelRun | None


def train_classifier(
    examples: Examples,
    training_artifacts: TrainingArtifacts,
    *,
    model_name: str,
    model_options: dict[str, Any],
    recipe: dict[str, Any],
    augment: bool,
    adversary: training.Adversary | None = None,
    epochs: int,
    seed: int,
    row_parameters: dict[str, Any],
    log_dir: str | None,
) -> None:
    """Trains a classifier, and ships it as a SavedModel.

    Args:
      examples: The images.
      training_artifacts: Artifacts and folders.
      model_name: The architecture's registered name.
      model_options: Its keyword arguments.
      recipe: Fields of `Recipe`.
      augment: See `training.fit_classifier`.
      adversary: The same.
      epochs: The epoch to end after.
      seed: Of initialisation, order and augmentation.
      row_parameters: What rows of the classifier tell beside all that.
      log_dir: TensorBoard's folder.
    """
    model, run, state, previous = training_artifacts
    if previous and not (state / "checkpoints").exists():
        shutil.copy2(previous.path / "history.json", state)
        with files.atomic_write(state / "checkpoints") as partial:
            shutil.copytree(previous.path / "checkpoints", partial)
    data = files_of_examples.read(examples.path)
    classifier = models.build(model_name, data.info, seed=seed, **model_options)
    history = training.History(state / "history.json")

    training.fit_classifier(
        classifier,
        data,
        epochs=epochs,
        recipe=dataclasses.replace(Recipe(), **recipe),
        augment=augment,
        adversary=adversary,
        seed=seed,
        directory=state / "checkpoints",
        validate=lambda: _evaluate_monitor_split(classifier, data),
        hook=curves.build_epoch_hook("classifier", history, log_dir),
    )
    name = data.info.name
    model_info = ModelInfo(name, model_name, "CL", epochs, seed, row_parameters)
    artifacts.save_classifier(classifier, model_info, model)
    shutil.copy2(state / "history.json", run.path)
    shutil.copytree(state / "checkpoints", run.path / "checkpoints")
    run.properties["content"] = model.properties["content"]


def _evaluate_monitor_split(classifier: keras.Model, data: Dataset) -> dict[str, float]:
    """Returns the accuracy on the split that the curves show."""
    split = data.info.monitor_split
    batches = data.evaluation_batches(split, _EVALUATION_BATCH_SIZE)
    return {f"{split}_accuracy": evaluation.evaluate_accuracy(classifier, batches).value}
