"""An attack on a classifier, image by image: records, rows, pictures."""

import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from qup import attacks, compilation, measurements, progress, robustness
from qup import evaluation as evaluations
from qup.attacks.base.result import AttackResult
from qup.components import artifacts
from qup.components.artifacts import (
    AttackRecords,
    Examples,
    Model,
    ModelEvaluation,
)
from qup.core import hashing
from qup.datasets import examples as files_of_examples
from qup.orchestration import In, Out, Place, StatefulDir, component
from qup.summaries import Summaries
from qup.types import LogitsFn

# Images in TensorBoard.
_SHOWN = 8


@component
def Attacker(
    examples: In[Examples],
    model: In[Model],
    evaluation: Out[ModelEvaluation],
    records: Out[AttackRecords],
    shards: StatefulDir,
    *,
    attack: dict[str, Any],
    num_images: int | None = None,
    split: str = "test",
    batch_size: int = 128,
    seed: int = 0,
    precision: str = "float32",
    save_images: bool = False,
    log_dir: Place[str | None] = None,
) -> None:
    """Attacks the first images of a split, and keeps what came of each.

    Args:
      examples: The images.
      model: The classifier.
      evaluation: Its rows, see `robustness.rows_of`; with `save_images` also
        "disagreements", the share of attacked images that the classifier
        puts into another class when it is asked in batches of another size.
      records: records.npz, and images.npy where `save_images`.
      shards: Of an unfinished attack.
      attack: Name and options of the attack.
      num_images: How many images; None for all.
      split: The images to attack.
      batch_size: Images a batch.
      seed: Of everything random.
      precision: See `attacks.run`.
      save_images: Keep the attacked images.
      log_dir: TensorBoard's folder.
    """
    data = files_of_examples.read(examples.path)
    images, labels, ids = (a[:num_images] for a in data.arrays(split))
    classifier = artifacts.load_classifier(model.path)
    options = dict(attack)
    name = options.pop("name")
    with _counter(attack, len(labels)) as tick:
        result = attacks.run(
            name, classifier, _pixels(images, batch_size), labels, ids=ids,
            batch_size=batch_size, seed=seed, precision=precision,
            output=shards / "shards", tick=tick, **options,
        )  # fmt: skip
    right = _classes(classifier, images, batch_size) == labels
    subject = artifacts.subject(model.path).such(split=split)
    told = _options(attack) | {"images": len(labels)}
    if precision != "float32":
        told["precision"] = precision
    rows = robustness.rows_of(subject, result, right, told)
    if save_images:
        _save(records.path / "images.npy", result.images, batch_size)
        differ = _disagreements(classifier, result.images, batch_size)
        rows.append(subject.row("disagreements", differ, told))
    measurements.write(evaluation.path / "measurements.csv", rows)
    np.savez(
        records.path / "records.npz", id=ids, label=labels, right=right,
        stages=np.array(result.stages), **result.columns(),
    )  # fmt: skip
    if log_dir:
        run = f"{_label(told)}/epoch-{subject.epochs}"
        _show(Summaries(log_dir), run, subject.epochs, images, result)


def _counter(attack: dict[str, Any], count: int):
    """Returns a bar; without an end, where not all parts see all images."""
    name, own = attack["name"], {k: v for k, v in attack.items() if k != "name"}
    goals = own.pop("targets", None)
    method = attacks.traits(name)["method"]
    several = method and len(attacks.method(name, **own).parts()) > 1
    if several or goals == "all":
        return progress.counter(f"{name}, images in all parts", None, "image")
    return progress.counter(name, count, "image")


def _save(path: pathlib.Path, images: Sequence, batch_size: int) -> None:
    """Writes images as .npy, a batch in memory at a time."""
    shape = (len(images), *images.shape[1:])
    file = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.float32, shape=shape
    )
    for start in range(0, len(images), batch_size):
        end = min(start + batch_size, len(images))
        file[start:end] = images[start:end]
    file.flush()


def _disagreements(
    classifier: LogitsFn, images, batch_size: int
) -> evaluations.Accuracy:
    """Returns the share of images whose class depends on the batch size."""
    once, again = (
        _classes(classifier, images, size)
        for size in (batch_size, max(1, batch_size // 3))
    )
    return evaluations.binomial(float((once != again).sum()), len(once))


def _options(attack: dict[str, Any]) -> dict[str, Any]:
    """Returns name, epsilon and every option as the attack took it."""
    options = dict(attack)
    name, goals = options.pop("name"), options.pop("targets", None)
    if attacks.traits(name)["method"]:
        options = dict(vars(attacks.method(name, **options)))
    for place in ("seed", "xla"):
        options.pop(place, None)
    bounds = options.pop("bounds", (0.0, 1.0))
    told = {"name": name, "epsilon": None, **options}
    if goals is not None:
        told |= {"targeted": True, "targets": goals}
    return told | {"pixel_clip": bounds is not None}


def _pixels(images, batch_size: int) -> Iterator[np.ndarray]:
    """Yields batches of float32 in [0, 1], of bytes or of floats."""
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        if batch.dtype == np.uint8:
            batch = batch / np.float32(255)
        yield batch


def _classes(classifier: LogitsFn, images, batch_size: int) -> np.ndarray:
    found = []
    for batch in _pixels(images, batch_size):
        fill = np.repeat(batch[-1:], batch_size - len(batch), 0)
        logits = compilation.predict(
            classifier, tf.constant(np.concatenate([batch, fill]))
        )
        found.append(logits.numpy()[: len(batch)].argmax(-1))
    return np.concatenate(found)


def _label(told: dict[str, Any]) -> str:
    """Returns an attack's folder: other options are another one."""
    parts = [told["name"], told.get("norm"), told["epsilon"]]
    words = "-".join(str(part) for part in parts if part is not None)
    text = json.dumps(told, sort_keys=True, default=repr)
    return f"{words}-{hashing.text_digest(text)[:6]}"


def _show(
    board: Summaries, run: str, epochs: int, images, result: AttackResult
) -> None:
    """Shows the first images that were broken, before and after."""
    rows = np.flatnonzero(result.success & (result.distances["l2"] > 0))
    rows = rows[:_SHOWN]
    if not rows.size:
        return
    clean = next(_pixels(images[rows], len(rows)))
    moved = np.asarray(result.images[rows])
    delta = moved - clean
    scale = np.maximum(np.abs(delta).max((1, 2, 3), keepdims=True), 1e-12)
    run = f"attacks/{run}"
    board.clear(run)
    board.images(
        run,
        epochs,
        {
            "1_clean": tf.constant(clean),
            "2_attacked": tf.constant(moved),
            "3_perturbation_scaled": tf.constant(0.5 + delta / scale / 2),
        },
        sheet="0_all",
    )
