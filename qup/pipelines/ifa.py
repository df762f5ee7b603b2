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

import pathlib

import keras

from qup import (
    augmentation,
    deltas,
    files,
    measurements,
    model_files,
    models,
    training,
)
from qup.pipelines import (
    attacking,
    checking,
    measuring,
    opening,
    settings,
    shipping,
    showing,
)
from qup.pipelines.opening import Run


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
    checking.check(config)
    this = opening.opened(config)
    showing.describe(this)
    classifiers = _train(this)
    rows = []
    for epochs, classifier in classifiers.items():
        rows += _augment(this, classifier, epochs)
    measurements.write(this.path("measurements.csv"), rows)
    return showing.table(this, rows)


def _train(this: Run) -> dict[int, keras.Model]:
    """Trains once; returns the classifier as it was at each epoch asked."""
    snapshots = {
        epochs: this.path("classifier", f"epoch-{epochs}.keras")
        for epochs in sorted(set(this.config.training.epochs))
    }

    def complete() -> bool:
        return all(path.exists() for path in snapshots.values())

    if not complete():
        _fit(this, snapshots)
    if not complete():
        # The training had ended, and a snapshot was lost since: train anew.
        files.remove(this.path("classifier", "checkpoints"))
        _fit(this, snapshots)
    return {
        epochs: model_files.load(path) for epochs, path in snapshots.items()
    }


def _fit(this: Run, snapshots: dict[int, pathlib.Path]) -> None:
    config = this.config
    classifier = models.build(
        config.model.name,
        this.data.info,
        seed=config.seed,
        **settings.model_options(config),
    )

    def hook(epoch: int, metrics: dict[str, float]) -> None:
        showing.epoch(this, "classifier", "", epoch, metrics)
        if epoch in snapshots:
            model_files.save(classifier, snapshots[epoch])

    training.fit_classifier(
        classifier,
        this.data,
        epochs=max(snapshots),
        recipe=settings.recipe(config),
        augment=config.training.augment,
        seed=config.seed,
        directory=this.path("classifier", "checkpoints"),
        validate=lambda: measuring.held_out(this, classifier),
        hook=hook,
    )


def _augment(
    this: Run, classifier: keras.Model, epochs: int
) -> list[measurements.Row]:
    """Walks, translates, combines, attacks and ships one classifier."""
    folder = f"epoch-{epochs}"
    rows = this.workdir.remember(
        f"{folder}/classifier.csv",
        lambda: measuring.attacked(this, classifier, "CL", epochs, {}),
    )
    rows += this.workdir.remember(
        f"{folder}/trajectory.csv",
        lambda: measuring.trajectory(
            this, _walk(this, classifier, folder), epochs
        ),
    )
    translator = _translate(this, classifier, folder)
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
    both = {"classifier": classifier, "augmented_classifier": augmented}
    if not shipping.shipped(this, both, epochs):
        showing.images(this, classifier, translator, epochs)
        showing.results(this, rows, epochs)
        shipping.ship(this, both, epochs)
    return rows


def _walk(this: Run, classifier: keras.Model, folder: str) -> deltas.Deltas:
    return augmentation.opposite_deltas(
        classifier,
        this.data,
        this.path(folder, "deltas"),
        attack=attacking.on_trajectory(this.config),
        **settings.walk_options(this.config),
    )


def _translate(this: Run, classifier, folder: str) -> keras.Model:
    path = this.path(folder, "translator.keras")
    if not path.exists():
        translator = training.fit_translator(
            _walk(this, classifier, folder),
            seed=this.config.seed,
            directory=this.path(folder, "checkpoints"),
            validate=measuring.translator_check(this, classifier),
            hook=lambda epoch, metrics: showing.epoch(
                this, "translator", folder, epoch, metrics
            ),
            **this.config.translator,
        )
        model_files.save(translator, path)
    return model_files.load(path)
