"""Step 2: a classifier, trained from images or trained on."""

from typing import Any

from qup.components import classifier_training
from qup.components.artifacts import Examples, Model, ModelRun
from qup.components.classifier_training import TrainingArtifacts
from qup.orchestration import In, Location, Out, StatefulDir, component


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
    classifier_training.train_classifier(
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
