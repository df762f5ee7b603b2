"""Computing Delta_N: Eqs. 1 and 2 of the supplement.

The iterates X_n of opposite FGSM (see `opposite_fgsm`) of every training image are computed, and
Delta_N = X_N - X_0 is written to disk for the training of the translator.

```python
deltas = compute_deltas(classifier, data, "deltas", num_steps=20, step_size=0.02)
```
"""

import logging
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from qup.augmentation import opposite_fgsm
from qup.augmentation.deltas import DeltaDataset
from qup.core import errors, identity, progress
from qup.core.parts import WHOLE, Part
from qup.core.types import Attack, Batch, Bounds, LogitsFn
from qup.datasets import Dataset
from qup.robustness import evaluation

_log = logging.getLogger("qup")


def compute_deltas(
    logits_fn: LogitsFn,
    dataset: Dataset,
    directory: str | pathlib.Path,
    *,
    num_steps: int,
    step_size: float,
    bounds: Bounds = (0.0, 1.0),
    loss: str = "log_odds",
    batch_size: int = 500,
    points: Sequence[int] = (),
    attack: Attack | None = None,
    num_images: int | None = None,
    part: Part = WHOLE,
) -> DeltaDataset:
    """Computes Delta_N = X_N - X_0 of the training images and writes it in shards.

    Args:
      logits_fn: The classifier.
      dataset: Its "train" split is used.
      directory: Folder of the shards; existing shards are reused.
      num_steps: N, at least 1.
      step_size: The supplement's epsilon, in units of [0, 1].
      bounds: Range to which each X_n is clipped; None does not clip.
      loss: See `opposite_fgsm.iterate`.
      batch_size: Images per shard.
      points: The n at which TA, and RA under `attack`, of X_n are counted; values above N are
        ignored.
      attack: The attack for RA of X_n, in a ball around X_n; None counts TA alone.
      num_images: Use only the first `num_images` images; None means all.
      part: Compute only the shards of one part; other processes compute the others in the same
        folder.

    Returns:
      The pairs, complete if `part` is the whole or the last one.

    Raises:
      InputError: A setting is out of its range, the disk is full, or the folder holds other pairs.
    """
    errors.check_number("num_steps", num_steps, at_least=1)
    errors.check_number("step_size", step_size, above=0)
    count = dataset.get_size("train")
    if num_images is not None:
        errors.check_number("num_images", num_images, at_least=1)
        count = min(count, num_images)
    points = sorted({int(n) for n in points if 0 <= n <= num_steps})
    deltas = DeltaDataset(
        directory,
        {
            "num_steps": num_steps,
            "step_size": step_size,
            "bounds": None if bounds is None else list(bounds),
            "loss": loss,
            "num_images": count,
            "num_shards": math.ceil(count / batch_size),
            "batch_size": batch_size,
            "classifier": _compute_identity(logits_fn, dataset, batch_size),
            "dataset": dataset.fingerprint,
        },
        {"points": points, "attack": getattr(attack, "__name__", None)},
    )
    for shard, batch in _iterate_missing_shards(dataset, deltas, part):
        shard_data = _compute_shard(logits_fn, batch, points, attack, **deltas.iterate_options)
        deltas.write_shard(shard, *shard_data)
    return deltas


def _compute_identity(logits_fn: LogitsFn, dataset: Dataset, batch_size: int) -> str:
    """Returns the identity of the classifier, on the first images of the dataset."""
    (batch,) = dataset.evaluation_batches("train", batch_size, max_images=batch_size).take(1)
    return identity.compute_classifier_identity(logits_fn, batch["image"].numpy())


def _iterate_missing_shards(
    dataset: Dataset, deltas: DeltaDataset, part: Part
) -> Iterator[tuple[int, Batch]]:
    """Yields the batches of a part's shards that do not exist yet, with a progress bar."""
    settings, missing = deltas.settings, set(filter(part.owns, deltas.list_missing()))
    if not missing:
        return
    count, total = settings["num_images"], settings["num_shards"]
    _log.info("opposite FGSM: %d images, %d of %d shards to compute", count, len(missing), total)
    batches = dataset.evaluation_batches("train", settings["batch_size"], max_images=count)
    yield from progress.track(
        ((i, b) for i, b in enumerate(batches) if i in missing),
        title="opposite FGSM",
        total=total,
        done=total - len(missing),
        unit="shard",
    )


def _compute_shard(
    logits_fn: LogitsFn,
    batch: Batch,
    points: list[int],
    attack: Attack | None,
    *,
    num_steps: int,
    **options: Any,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns the arrays and the counts of one shard, see qup/augmentation/deltas.py."""
    start, counts = batch["image"], []
    for images in opposite_fgsm.iterate_points(
        logits_fn, start, batch["label"], [*points, num_steps], **options
    ):
        if len(counts) < len(points):
            counts.append(_count_correct(logits_fn, images, batch, attack))
    is_real = batch["weight"].numpy() > 0
    arrays = {
        "id": batch["id"].numpy()[is_real],
        "image": np.rint(start.numpy()[is_real] * 255).astype(np.uint8),
        # Delta_N = X_N - X_0 = sum_n D_n                      (S, Eq. 2)
        "delta": (images - start).numpy()[is_real],
    }
    num_correct, num_robust = np.array(counts, float).reshape(-1, 2).T
    points = np.array(points, np.int64)
    return arrays, {"points": points, "right": num_correct, "attacked": num_robust}


def _count_correct(logits_fn, images, batch: Batch, attack) -> tuple[float, float]:
    """Returns the numbers of images classified correctly, without and with the attack."""
    correct_mask = evaluation.compute_correct_mask(logits_fn, images, batch)
    if attack is None:
        return float(tf.reduce_sum(correct_mask)), float("nan")
    perturbed = attack(logits_fn, images, batch["label"], ids=batch["id"])
    robust_mask = evaluation.compute_correct_mask(logits_fn, perturbed, batch)
    return float(tf.reduce_sum(correct_mask)), float(tf.reduce_sum(robust_mask))
