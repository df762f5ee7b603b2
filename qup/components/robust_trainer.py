"""A classifier trained on attacked images: the counter-example of step 2."""

from typing import Any

from qup.adversarial_training import AdversarialTraining
from qup.components import classifier_training
from qup.components.artifacts import Examples, Model, ModelRun
from qup.components.classifier_training import TrainingArtifacts
from qup.orchestration import In, Location, Out, StatefulDir, component


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
    classifier_training.train_classifier(
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
