"""Step 2: a classifier, trained from images or trained on."""

import dataclasses
import shutil
from typing import Any

from qup import curves, evaluation, files, models, training
from qup.components import artifacts
from qup.components.artifacts import Examples, Model, ModelRun
from qup.datasets import examples as files_of_examples
from qup.orchestration import In, Out, Place, StatefulDir, component
from qup.subjects import Subject
from qup.summaries import Summaries
from qup.types import Recipe

_BATCH = 500


@component(
    plugins=lambda given: {
        "qup.datasets": [],
        "qup.models": [given["model_name"]],
    }
)
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
    log_dir: Place[str | None] = None,
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
    if previous and not (state / "checkpoints").exists():
        shutil.copy2(previous.path / "history.json", state)
        with files.replacing(state / "checkpoints") as partial:
            shutil.copytree(previous.path / "checkpoints", partial)
    data = files_of_examples.read(examples.path)
    classifier = models.build(model_name, data.info, seed=seed, **model_options)
    split = "validation" if "validation" in data.info.sizes else "test"
    history = training.History(state / "history.json")
    board = Summaries(log_dir) if log_dir else None

    def validate() -> dict[str, float]:
        # Without images held out the test split makes the curve; no
        # decision of the training looks at it.
        batches = data.evaluation_batches(split, _BATCH)
        accuracy = evaluation.accuracy(classifier, batches)
        return {f"{split}_accuracy": accuracy.value}

    def hook(epoch: int, metrics: dict[str, float]) -> None:
        history.record(epoch, metrics)
        curves.log("classifier", epoch, metrics)
        if board:
            curves.show(board, "classifier", epoch, metrics)

    training.fit_classifier(
        classifier,
        data,
        epochs=epochs,
        recipe=dataclasses.replace(Recipe(), **recipe),
        augment=augment,
        seed=seed,
        directory=state / "checkpoints",
        validate=validate,
        hook=hook,
    )
    shutil.copytree(state, run.path, dirs_exist_ok=True)
    name = data.info.name
    subject = Subject(name, model_name, "CL", epochs, seed, row_parameters)
    artifacts.save_classifier(classifier, subject, model.path)
