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

import numpy as np
import tensorflow as tf

from qup.augmentation import opposite_fgsm
from qup.augmentation.deltas import DeltaDataset
from qup.core import errors, hashing, progress
from qup.core.types import Attack, Batch, Bounds, LogitsFn
from qup.datasets import Dataset
from qup.robustness import evaluation

_log = logging.getLogger("qup")


def compute_deltas(
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
) -> DeltaDataset:
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
      The complete `DeltaDataset`.

    Raises:
      InputError: A setting out of range, a full disk, or another walk.
    """
    errors.check_number("num_steps", num_steps, at_least=1)
    errors.check_number("step_size", step_size, above=0)
    count = _count_images(dataset, num_images)
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
            "classifier": hashing.hash_weights(logits_fn),
            "dataset": dataset.fingerprint,
        },
        {"points": points, "attack": getattr(attack, "__name__", None)},
    )
    for shard, batch in _iterate_missing_shards(dataset, deltas):
        shard_data = _compute_shard(logits_fn, batch, points, attack, **deltas.iterate_options)
        deltas.write_shard(shard, *shard_data)
    return deltas


def _count_images(dataset: Dataset, num_images: int | None) -> int:
    """Returns how many training images are walked."""
    size = dataset.info.sizes["train"]
    requested = size if num_images is None else num_images
    errors.check_number("num_images", requested, at_least=1)
    return min(size, requested)


def _iterate_missing_shards(dataset: Dataset, deltas: DeltaDataset) -> Iterator[tuple[int, Batch]]:
    """Yields the shards that are still to walk, under a bar."""
    settings, missing = deltas.settings, set(deltas.list_missing())
    if not missing:
        return
    count, total = settings["num_images"], settings["num_shards"]
    _log.info("opposite FGSM: %d images, %d of %d shards to walk", count, len(missing), total)
    batches = dataset.evaluation_batches("train", settings["batch_size"], max_images=count)
    yield from progress.track(
        ((i, b) for i, b in enumerate(batches) if i in missing),
        title="opposite FGSM",
        total=total,
        done=total - len(missing),
        unit="shard",
    )


def _compute_shard(
    logits_fn: LogitsFn, batch: Batch, points, attack, **steps
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns the arrays and the counts of one shard, see qup/augmentation/deltas.py."""
    images, counts = _iterate_and_count(logits_fn, batch, points, attack, **steps)
    is_real = batch["weight"].numpy() > 0
    start = batch["image"]
    arrays = {
        "id": batch["id"].numpy()[is_real],
        "image": np.rint(start.numpy()[is_real] * 255).astype(np.uint8),
        # Delta_N = X_N - X_0 = sum_n D_n                      (S, Eq. 2)
        "delta": (images - start).numpy()[is_real],
    }
    correct, attacked = np.array(counts, float).reshape(-1, 2).T
    points = np.array(points, np.int64)
    return arrays, {"points": points, "right": correct, "attacked": attacked}


def _iterate_and_count(
    logits_fn: LogitsFn, batch: Batch, points, attack, *, num_steps, **steps
) -> tuple[tf.Tensor, list[tuple[float, float]]]:
    """Walks one batch; returns X_N and the counts at each point."""
    images, counts, num_done = batch["image"], [], 0
    for point in [*points, num_steps]:
        if point > num_done:
            images = opposite_fgsm.iterate(
                logits_fn, images, batch["label"], num_steps=point - num_done, **steps
            )
            num_done = point
        if len(counts) < len(points):
            counts.append(_count_correct(logits_fn, images, batch, attack))
    return images, counts


def _count_correct(logits_fn, images, batch: Batch, attack) -> tuple[float, float]:
    correct_mask = evaluation.compute_correct_mask(logits_fn, images, batch)
    if attack is None:
        return float(tf.reduce_sum(correct_mask)), float("nan")
    perturbed = attack(logits_fn, images, batch["label"], ids=batch["id"])
    robust_mask = evaluation.compute_correct_mask(logits_fn, perturbed, batch)
    return float(tf.reduce_sum(correct_mask)), float(tf.reduce_sum(robust_mask))
