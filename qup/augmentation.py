"""Iterative FGSM Augmentation: Eqs. 1 and 2 of the supplement.

Every training image is walked down the loss (the step stands in
`opposite_fgsm.walk`) and the walk is written to disk; the translator that
learns it is put before the classifier by `combine`.

```python
deltas = opposite_deltas(classifier, data, "deltas", num_steps=20,
                         step_size=0.02)
augmented = combine(classifier, translator)
```
"""

import logging
import math
import pathlib
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from qup import errors, evaluation, model_files, opposite_fgsm, progress
from qup.datasets import Dataset
from qup.deltas import Deltas
from qup.types import Attack, Batch, Bounds, LogitsFn

_log = logging.getLogger("qup")


def opposite_deltas(
    logits_fn: LogitsFn,
    dataset: Dataset,
    directory: pathlib.Path,
    *,
    num_steps: int,
    step_size: float,
    bounds: Bounds = (0.0, 1.0),
    loss: str = "log_odds",
    batch_size: int = 500,
    points: Sequence[int] = (),
    attack: Attack | None = None,
    num_images: int | None = None,
) -> Deltas:
    """Walks every training image and writes Delta_N = X_N - X_0 in shards.

    Args:
      logits_fn: The classifier.
      dataset: Its "train" split is walked.
      directory: Folder of the shards; those an earlier call left are kept.
      num_steps: N, at least 1.
      step_size: The supplement's epsilon, in units of [0, 1].
      bounds: Clips each X_n; None walks unclipped.
      loss: See `opposite_fgsm.walk`.
      batch_size: Images a shard.
      points: The n at which TA, and RA under `attack`, of X_n are counted;
        those above N are left out.
      attack: For RA of X_n, its ball round X_n; None counts TA alone.
      num_images: Walk only the first that many; None walks all.

    Returns:
      The complete `Deltas`.

    Raises:
      InputError: A setting out of range, a full disk, or another walk.
    """
    errors.check_number("num_steps", num_steps, least=1)
    errors.check_number("step_size", step_size, above=0)
    count = _counted(dataset, num_images)
    points = sorted({int(n) for n in points if 0 <= n <= num_steps})
    deltas = Deltas(
        directory,
        {
            "num_steps": num_steps,
            "step_size": step_size,
            "bounds": None if bounds is None else list(bounds),
            "loss": loss,
            "num_images": count,
            "num_shards": math.ceil(count / batch_size),
            "batch_size": batch_size,
            "classifier": model_files.digest(logits_fn),
            "dataset": dataset.fingerprint,
        },
        {"points": points, "attack": getattr(attack, "__name__", None)},
    )
    for shard, batch in _missing(dataset, deltas):
        made = _walk_batch(logits_fn, batch, points, attack, **deltas.walk)
        deltas.write(shard, *made)
    return deltas


def _counted(dataset: Dataset, num_images: int | None) -> int:
    """Returns how many training images are walked."""
    size = dataset.info.sizes["train"]
    wanted = size if num_images is None else num_images
    errors.check_number("num_images", wanted, least=1)
    return min(size, wanted)


def _missing(dataset: Dataset, deltas: Deltas) -> Iterator[tuple[int, Batch]]:
    """Yields the shards that are still to walk, under a bar."""
    settings, missing = deltas.settings, set(deltas.missing())
    if not missing:
        return
    count, total = settings["num_images"], settings["num_shards"]
    _log.info(
        "opposite FGSM: %d images, %d of %d shards to walk",
        count, len(missing), total,
    )  # fmt: skip
    batches = dataset.evaluation_batches(
        "train", settings["batch_size"], limit=count
    )
    yield from progress.bar(
        ((i, b) for i, b in enumerate(batches) if i in missing),
        title="opposite FGSM",
        total=total,
        done=total - len(missing),
        unit="shard",
    )


def _walk_batch(
    logits_fn: LogitsFn, batch: Batch, points, attack, **steps
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns the arrays and the counts of one shard, see qup/deltas.py."""
    images, counted = _trajectory(logits_fn, batch, points, attack, **steps)
    rows = batch["weight"].numpy() > 0
    start = batch["image"]
    arrays = {
        "id": batch["id"].numpy()[rows],
        "image": np.rint(start.numpy()[rows] * 255).astype(np.uint8),
        # Delta_N = X_N - X_0 = sum_n D_n                      (S, Eq. 2)
        "delta": (images - start).numpy()[rows],
    }
    right, attacked = np.array(counted, float).reshape(-1, 2).T
    points = np.array(points, np.int64)
    return arrays, {"points": points, "right": right, "attacked": attacked}


def _trajectory(
    logits_fn: LogitsFn, batch: Batch, points, attack, *, num_steps, **steps
) -> tuple[tf.Tensor, list[tuple[float, float]]]:
    """Walks one batch; returns X_N and the counts at each point."""
    images, counts, done = batch["image"], [], 0
    for point in [*points, num_steps]:
        if point > done:
            images = opposite_fgsm.walk(
                logits_fn, images, batch["label"],
                num_steps=point - done, **steps,
            )  # fmt: skip
            done = point
        if len(counts) < len(points):
            counts.append(_count(logits_fn, images, batch, attack))
    return images, counts


def _count(logits_fn, images, batch: Batch, attack) -> tuple[float, float]:
    right = evaluation.hits(logits_fn, images, batch)
    if attack is None:
        return float(tf.reduce_sum(right)), float("nan")
    moved = attack(logits_fn, images, batch["label"], ids=batch["id"])
    robust = evaluation.hits(logits_fn, moved, batch)
    return float(tf.reduce_sum(right)), float(tf.reduce_sum(robust))


THROUGH = ("both", "classifier")


def combine(
    classifier: keras.Model, translator: keras.Model, *, through: str = "both"
) -> keras.Model:
    """Puts the translator before the classifier: X -> f(X + G(X)).

    Args:
      classifier: Image to logits; unchanged (supplement, S3).
      translator: Image to Delta.
      through: "both" lets an attack differentiate both networks, the
        paper's setting; "classifier" hides the translator's gradient, with
        the same logits.

    Returns:
      The augmented classifier, again image to logits.

    Raises:
      InputError: Another `through`, or shapes that do not fit.
    """
    if through not in THROUGH:
        raise errors.unknown("through", through, THROUGH)
    shape = classifier.input_shape[1:]
    if translator.input_shape[1:] != shape:
        raise errors.InputError(
            f"The classifier takes images {shape}, the translator "
            f"{translator.input_shape[1:]}: they must be equal."
        )
    inputs = keras.Input(shape, name="image")
    delta = translator(inputs)
    if through == "classifier":
        delta = keras.ops.stop_gradient(delta)
    outputs = classifier(keras.layers.Add()([inputs, delta]))
    return keras.Model(inputs, outputs, name=f"augmented_{classifier.name}")
