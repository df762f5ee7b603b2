"""Step 2: a classifier, trained from images or trained on."""

import dataclasses
import pathlib
import shutil
from typing import Any, NamedTuple

import keras

from qup import models, training
from qup.core import files
from qup.core.errors import make_unknown_error
from qup.core.measurements import ModelInfo
from qup.core.types import DatasetInfo, Recipe
from qup.datasets import Dataset
from qup.datasets import examples as example_files
from qup.orchestration import In, Location, Out, StatefulDir, component
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import Examples, Model, ModelRun
from qup.robustness import evaluation
from qup.training import history as training_history
from qup.training.adversarial import AdversarialTraining

# What every training of a classifier does between artifacts.


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
    data = example_files.read(examples.path)
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
        hook=training_history.build_epoch_hook("classifier", history, log_dir),
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


@component
def Trainer(
    examples: In[Examples],
    model: Out[Model],
    run: Out[ModelRun],
    state: StatefulDir,
    previous: In[ModelRun] = None,
    *,
    model_name: str,
    model_options: dict[str, Any],
    recipe: dict[str, Any],
    augment: bool = False,
    epochs: int,
    seed: int = 0,
    row_parameters: dict[str, Any],
    log_dir: Location[str | None] = None,
) -> None:
    """Trains a classifier, and ships it as a SavedModel.

    Args:
      examples: The images.
      model: The classifier.
      run: Its training, for whoever trains it on.
      state: Checkpoints of an unfinished training.
      previous: The training of fewer epochs to go on from.
      model_name: The architecture's registered name.
      model_options: Its keyword arguments.
      recipe: Fields of `Recipe`.
      augment: See `training.fit_classifier`.
      epochs: The epoch to end after.
      seed: Of initialisation, order and augmentation.
      row_parameters: What rows of the classifier tell beside all that.
      log_dir: TensorBoard's folder.
    """
    train_classifier(
        examples,
        TrainingArtifacts(model, run, state, previous),
        model_name=model_name,
        model_options=model_options,
        recipe=recipe,
        augment=augment,
        epochs=epochs,
        seed=seed,
        row_parameters=row_parameters,
        log_dir=log_dir,
    )


# Networks to compare a trained one with: one that knows nothing.


CONTROL_KINDS = ("untrained", "constant")


@component
def ControlBuilder(
    examples: In[Examples],
    model: Out[Model],
    *,
    kind: str,
    model_name: str,
    model_options: dict[str, Any],
    seed: int = 0,
    row_parameters: dict[str, Any],
) -> None:
    """Builds a network that no image has shaped.

    Args:
      examples: What the images are.
      model: The network, of 0 epochs.
      kind: "untrained", the network as its training starts, or "constant",
        with the same logits at every image.
      model_name: The architecture's registered name.
      model_options: Its keyword arguments.
      seed: Of its initialisation.
      row_parameters: What its rows tell beside all that.
    """
    if kind not in CONTROL_KINDS:
        raise make_unknown_error("kind of control", kind, CONTROL_KINDS)
    info = example_files.read(examples.path).info
    network = models.build(model_name, info, seed=seed, **model_options)
    if kind == "constant":
        network = _build_constant_classifier(info)
    model_info = ModelInfo(info.name, model_name, "CL", 0, seed, row_parameters)
    artifacts.save_unexported_classifier(network, model_info, model)


def _build_constant_classifier(info: DatasetInfo) -> keras.Model:
    image = keras.Input(info.image_shape, name="image")
    logits = keras.layers.Dense(info.num_classes, kernel_initializer="zeros", name="logits")(
        keras.layers.Flatten()(image)
    )
    return keras.Model(image, logits, name="constant")


# A classifier trained on attacked images: the counter-example of step 2.


@component
def RobustTrainer(
    examples: In[Examples],
    model: Out[Model],
    run: Out[ModelRun],
    state: StatefulDir,
    previous: In[ModelRun] = None,
    *,
    adversary: dict[str, Any],
    model_name: str,
    model_options: dict[str, Any],
    recipe: dict[str, Any],
    augment: bool = False,
    epochs: int,
    seed: int = 0,
    row_parameters: dict[str, Any],
    log_dir: Location[str | None] = None,
) -> None:
    """Trains a classifier as `Trainer` does, by PGD-AT or TRADES.

    Args:
      examples: The images.
      model: The classifier; its rows tell the adversary, see
        `adversarial_training.Adversary.told`.
      run: Its training, for whoever trains it on.
      state: Checkpoints of an unfinished training.
      previous: The training of fewer epochs, by the same adversary, to go
        on from.
      adversary: "method", "epsilon" and, where they are not to be the
        defaults, "num_steps", "step_size" and "beta" of
        `adversarial_training.Adversary`.
      model_name: The architecture's registered name.
      model_options: Its keyword arguments.
      recipe: Fields of `Recipe`.
      augment: See `training.fit_classifier`.
      epochs: The epoch to end after.
      seed: Of initialisation, order, augmentation and the starts.
      row_parameters: What rows of the classifier tell beside all that.
      log_dir: TensorBoard's folder.
    """
    adversary_object = AdversarialTraining(**adversary, seed=seed)
    train_classifier(
        examples,
        TrainingArtifacts(model, run, state, previous),
        model_name=model_name,
        model_options=model_options,
        recipe=recipe,
        augment=augment,
        adversary=adversary_object,
        epochs=epochs,
        seed=seed,
        row_parameters={**row_parameters, **adversary_object.describe()},
        log_dir=log_dir,
    )
