"""Training the translator, image to Delta_N: step 3 of supplement Fig. 3.

```python
translator = fit_translator(deltas, epochs=10)
```
"""

import pathlib
from collections.abc import Callable, Mapping

import keras

from qup import errors, pairs
from qup.deltas import DeltaDataset
from qup.pix2pix import Pix2Pix
from qup.training.loop import EpochHook, TrainingLoop

SCHEDULES = ("constant", "cosine")


def fit_translator(
    deltas: DeltaDataset,
    *,
    epochs: int,
    width: int = 16,
    batch_size: int = 64,
    learning_rate: float = 2e-4,
    beta_1: float = 0.5,
    l1_weight: float = 100.0,
    schedule: str = "constant",
    seed: int = 0,
    directory: pathlib.Path | None = None,
    validate: Callable[[keras.Model], Mapping[str, float]] | None = None,
    hook: EpochHook | None = None,
) -> keras.Model:
    """Trains a Pix2Pix network on the pairs (X_0, Delta_N).

    Args:
      deltas: The pairs; the largest |Delta| scales the output.
      epochs: Number of epochs.
      width: Channels of the first block of both networks.
      batch_size: Pairs a step.
      learning_rate: Of both Adams, at the start.
      beta_1: Of both Adams.
      l1_weight: Isola et al.'s lambda.
      schedule: "constant", or "cosine" down to zero over all epochs.
      seed: Drives initialisation and order.
      directory: Folder of the checkpoints; None keeps none.
      validate: Given the generator after each epoch; its values join the
        epoch's metrics.
      hook: hook(epoch, metrics) after each epoch.

    Returns:
      The generator, image to Delta.

    Raises:
      InputError: The loss diverged, or a checkpoint cannot be written.
    """
    batch_size = min(batch_size, deltas.num_images)
    steps = deltas.num_images // batch_size
    gan = Pix2Pix(
        deltas.image_shape,
        width=width,
        scale=deltas.scale,
        l1_weight=l1_weight,
        learning_rate=_build_learning_rate(schedule, learning_rate, epochs * steps),
        beta_1=beta_1,
        seed=seed,
    )

    TrainingLoop(gan, directory=directory, title="translator training").run(
        lambda epoch: pairs.build_pair_batches(deltas, batch_size, seed=seed, epoch=epoch),
        epochs=epochs,
        validate=validate and (lambda: validate(gan.generator)),
        hook=hook,
    )
    return gan.generator


def _build_learning_rate(schedule: str, learning_rate: float, steps: int):
    if schedule not in SCHEDULES:
        raise errors.make_unknown_error("schedule", schedule, SCHEDULES)
    if schedule == "constant":
        return learning_rate
    return keras.optimizers.schedules.CosineDecay(learning_rate, steps)
