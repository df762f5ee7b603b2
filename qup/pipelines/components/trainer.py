"""Classifiers: standard and adversarial training, and untrained controls."""

import dataclasses
import pathlib
import shutil
from typing import Any

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
from qup.training.strategies import ReplicaGroup

_EVALUATION_BATCH_SIZE = 500
CONTROL_KINDS = ("untrained", "constant")


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
    strategy: str = "none",
) -> None:
    """Trains a classifier, and exports it as a SavedModel.

    Args:
      run: The training, which a training of more epochs continues.
      state: Checkpoints of an unfinished training.
      previous: The training of fewer epochs to continue.
      model_name: Registered name of the architecture.
      model_options: Its keyword arguments.
      recipe: Fields of `Recipe`.
      augment: See `training.fit_classifier`.
      epochs: Total number of epochs.
      strategy: See `training.build_strategy`.
    """
    _train_classifier(
        examples,
        model,
        run,
        state,
        previous,
        model_name=model_name,
        model_options=model_options,
        recipe=recipe,
        augment=augment,
        epochs=epochs,
        seed=seed,
        row_parameters=row_parameters,
        log_dir=log_dir,
        strategy=strategy,
    )


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
    strategy: str = "none",
) -> None:
    """Trains a classifier by PGD-AT or TRADES; other arguments are those of `Trainer`.

    Args:
      model: The classifier; its rows have the parameters of
        `AdversarialTraining.describe`.
      previous: The training of fewer epochs by the same adversary.
      adversary: "method", "epsilon" and, unless they have their defaults,
        "num_steps", "step_size" and "beta" of `AdversarialTraining`.
    """
    xla = "auto" if strategy == "none" else "off"
    adversarial_training = AdversarialTraining(**adversary, seed=seed, xla=xla)
    _train_classifier(
        examples,
        model,
        run,
        state,
        previous,
        model_name=model_name,
        model_options=model_options,
        recipe=recipe,
        augment=augment,
        adversary=adversarial_training,
        epochs=epochs,
        seed=seed,
        row_parameters={**row_parameters, **adversarial_training.describe()},
        log_dir=log_dir,
        strategy=strategy,
    )


def _train_classifier(
    examples: Examples,
    model: Model,
    run: ModelRun,
    state: pathlib.Path,
    previous: ModelRun | None,
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
    strategy: str,
) -> None:
    if previous and not (state / "checkpoints").exists():
        shutil.copy2(previous.path / "history.json", state)
        with files.atomic_write(state / "checkpoints") as partial:
            shutil.copytree(previous.path / "checkpoints", partial)
    data = example_files.read(examples.path)
    group = ReplicaGroup(training.build_strategy(strategy))
    with group.scope():
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
        strategy=group.strategy,
    )
    classifier = group.copy_model(classifier)
    name = data.info.name
    model_info = ModelInfo(name, model_name, "CL", epochs, seed, row_parameters)
    artifacts.save_classifier(classifier, model_info, model)
    shutil.copy2(state / "history.json", run.path)
    shutil.copytree(state / "checkpoints", run.path / "checkpoints")
    run.properties["content"] = model.properties["content"]


def _evaluate_monitor_split(classifier: keras.Model, data: Dataset) -> dict[str, float]:
    """Returns the accuracy on the split of TensorBoard's curves."""
    split = data.info.monitor_split
    batches = data.evaluation_batches(split, _EVALUATION_BATCH_SIZE)
    return {f"{split}_accuracy": evaluation.evaluate_accuracy(classifier, batches).value}


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
    """Builds an untrained network, to compare trained ones with.

    Args:
      examples: Images of the network's input shape and classes.
      model: The network, of 0 epochs.
      kind: "untrained", the initialised network, or "constant", with the same
        logits for every image.
      model_name: Registered name of the architecture.
      model_options: Its keyword arguments.
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
