"""Iterative FGSM Augmentation as one road: supplement, Fig. 3.

| step | what | done by |
| --- | --- | --- |
| 1 | train a classifier | training.fit_classifier |
| 2 | attack it (TA, RA) | evaluation.attacked |
| 3 | N opposite-FGSM steps | augmentation.opposite_deltas |
| 4 | learn image -> Delta | training.fit_translator |
| 5 | combine | augmentation.combine |
| 6 | attack the pair | evaluation.attacked |
| 7 | ship both | export.save |

```python
print(run(config))  # config as in configs/defaults.py
```
"""

import dataclasses
import json
import logging
import pathlib

import keras

from qup import (
    augmentation,
    datasets,
    export,
    files,
    measurements,
    models,
    training,
)
from qup.pipelines import measuring, settings, showing
from qup.summaries import Summaries
from qup.types import Recipe
from qup.workdir import Workdir

_log = logging.getLogger("qup")


@dataclasses.dataclass(frozen=True)
class Run:
    """What every stage of one run shares.

    Attributes:
      config: The settings, resolved.
      workdir: Where everything is written.
      data: The dataset.
      board: TensorBoard's writers.
    """

    config: settings.Config
    workdir: Workdir
    data: datasets.Dataset
    board: Summaries

    def path(self, *parts: str) -> pathlib.Path:
        """Returns a path within the working directory."""
        return self.workdir.path.joinpath(*parts)


def run(config: settings.Config) -> str:
    """Runs every stage that the working directory does not hold yet.

    Args:
      config: The settings of configs/defaults.py.

    Returns:
      The final table and where everything lies, as text.

    Raises:
      InputError: A setting, a folder or the data cannot be used, or the
        disk is full; a second start goes on.
    """
    settings.check(config)
    this = _open(config)
    showing.describe(this)
    classifiers = _train(this)
    rows = []
    for epochs, classifier in classifiers.items():
        rows += _augment(this, classifier, epochs)
    measurements.write(this.path("measurements.csv"), rows)
    return showing.table(this, rows)


def _open(config: settings.Config) -> Run:
    workdir = Workdir(settings.workdir(config), settings.identity(config))
    data = datasets.load(
        config.dataset.name,
        data_dir=config.dataset.data_dir,
        manual_dir=config.dataset.manual_dir,
        scratch_dir=workdir.path / "data",
        image_size=settings.image_size(config),
        train_size=config.dataset.train_size,
        test_size=config.dataset.test_size,
        validation_size=config.dataset.validation_size,
        seed=config.seed,
    )
    board = Summaries(workdir.path / "tensorboard")
    return Run(config, workdir, data, board)


def _train(this: Run) -> dict[int, keras.Model]:
    """Trains once; returns the classifier as it was at each epoch asked."""
    config = this.config
    snapshots = {
        epochs: this.path("classifier", f"epoch-{epochs}.keras")
        for epochs in sorted(set(config.training.epochs))
    }
    if not all(path.exists() for path in snapshots.values()):
        classifier = models.build(
            config.model.name,
            this.data.info,
            seed=config.seed,
            **settings.model_options(config),
        )

        def hook(epoch: int, metrics: dict[str, float]) -> None:
            showing.epoch(this, "classifier", "", epoch, metrics)
            if epoch in snapshots:
                settings.save_model(classifier, snapshots[epoch])

        training.fit_classifier(
            classifier,
            this.data,
            epochs=max(snapshots),
            recipe=_recipe(config),
            augment=config.training.augment,
            seed=config.seed,
            directory=this.path("classifier", "checkpoints"),
            validate=lambda: measuring.held_out(this, classifier),
            hook=hook,
        )
    return {
        epochs: settings.load_model(path) for epochs, path in snapshots.items()
    }


def _recipe(config: settings.Config) -> Recipe:
    """Returns the model's recipe with what the configuration changes."""
    recipe = models.recipe(config.model.name)
    given = {
        key: config.training[key]
        for key in ("optimizer", "learning_rate", "batch_size")
        if config.training[key] is not None
    }
    if given.get("optimizer", recipe.optimizer) != recipe.optimizer:
        given["optimizer_options"] = {}
    return dataclasses.replace(recipe, **given)


def _augment(
    this: Run, classifier: keras.Model, epochs: int
) -> list[measurements.Row]:
    """Walks, translates, combines, attacks and ships one classifier."""
    folder = f"epoch-{epochs}"
    rows = this.workdir.remember(
        f"{folder}/classifier.csv",
        lambda: measuring.attacked(this, classifier, "CL", epochs, {}),
    )
    deltas = augmentation.opposite_deltas(
        classifier,
        this.data,
        this.path(folder, "deltas"),
        attack=measuring.trajectory_attack(this.config),
        **settings.walk_options(this.config),
    )
    rows += this.workdir.remember(
        f"{folder}/trajectory.csv",
        lambda: measuring.trajectory(this, deltas, epochs),
    )
    translator = _translate(this, classifier, deltas, folder)
    augmented = augmentation.combine(
        classifier, translator, through=this.config.attack.through
    )
    rows += this.workdir.remember(
        f"{folder}/augmented_classifier.csv",
        lambda: measuring.attacked(
            this,
            augmented,
            "ACL",
            epochs,
            settings.translator_parameters(this.config, translator),
        ),
    )
    showing.images(this, classifier, translator, epochs)
    showing.results(this, rows, epochs)
    _ship(this, {"classifier": classifier, "augmented_classifier": augmented},
          epochs)  # fmt: skip
    return rows


def _translate(this: Run, classifier, deltas, folder: str) -> keras.Model:
    path = this.path(folder, "translator.keras")
    if not path.exists():
        translator = training.fit_translator(
            deltas,
            seed=this.config.seed,
            directory=this.path(folder, "checkpoints"),
            validate=measuring.translator_check(this, classifier),
            hook=lambda epoch, metrics: showing.epoch(
                this, "translator", folder, epoch, metrics
            ),
            **this.config.translator,
        )
        settings.save_model(translator, path)
    return settings.load_model(path)


def _ship(this: Run, classifiers: dict[str, keras.Model], epochs: int) -> None:
    """Exports what is not exported yet and compares it in a new process."""
    mark = this.path(f"epoch-{epochs}", "serving.json")
    if mark.exists():
        return
    exported = {
        export.save(classifier, this.path("serving", name), version=epochs):
        classifier
        for name, classifier in classifiers.items()
    }  # fmt: skip
    batches = this.data.evaluation_batches("test", 8)
    worst = export.verify(exported, next(iter(batches))["image"].numpy())
    _log.info("exported; a fresh process agrees to %.1e", worst)
    files.write_text(mark, json.dumps({"greatest_difference": worst}))
