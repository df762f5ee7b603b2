"""Attacks on a classifier, image by image, and checks for masked gradients."""

import dataclasses
import json
import logging
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from qup import attacks
from qup.attacks.results import AttackResult
from qup.core import hashing, progress
from qup.core.classifier import predict_logits
from qup.core.measurements import Measurement, ModelInfo, Row, compute_accuracy
from qup.core.parts import WHOLE
from qup.core.tensorboard import SummaryWriter
from qup.core.types import LogitsFn
from qup.orchestration import DoPart, In, Location, Out, StatefulDir, component
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import (
    AttackRecords,
    Diagnosis,
    Examples,
    Model,
    ModelEvaluation,
)
from qup.robustness import masking
from qup.robustness.evaluation import build_attack_rows, resolve_attack_parameters
from qup.robustness.masking import case
from qup.robustness.masking.case import CheckResult
from qup.robustness.report.attack_runs import build_attack_run, write_attack_runs

_log = logging.getLogger("qup")
# Images in TensorBoard.
_NUM_SHOWN_IMAGES = 8


@component
def Attacker(
    examples: In[Examples],
    model: In[Model],
    evaluation: Out[ModelEvaluation],
    records: Out[AttackRecords],
    shards: StatefulDir,
    part: DoPart = WHOLE,
    *,
    attack: dict[str, Any],
    num_images: int | None = None,
    split: str = "test",
    batch_size: int = 128,
    fixed_batch: bool = False,
    seed: int = 0,
    precision: str = "float32",
    save_images: bool = False,
    log_dir: Location[str | None] = None,
) -> None:
    """Attacks the first images of a split, and records the result of each.

    Args:
      evaluation: Rows of `build_attack_rows` at each budget; with
        `save_images` also "disagreements", the share of attacked images whose
        predicted class depends on the batch size.
      records: The files of `write_attack_runs`, and images.npy with
        `save_images`; for several budgets in a folder each.
      shards: Finished parts of an unfinished attack.
      part: The part to attack. Without `fixed_batch` the attack cannot be cut, and one of the parts
        attacks all images.
      attack: Name and options of the attack; "epsilons" for several budgets.
      fixed_batch: See `attacks.run`.
      precision: See `attacks.run`.
      save_images: Save the attacked images.
    """
    is_cut = fixed_batch and not part.is_whole
    if not (is_cut or part.owns(_choose_number(shards))):
        return
    data, classifier, model_info = artifacts.load_inputs(examples, model, split=split)
    images, labels, ids = (a[:num_images] for a in data.get_arrays(split))
    options = dict(attack)
    name, epsilons = options.pop("name"), options.pop("epsilons", None)
    with progress.open_share(name) as on_share:
        results = attacks.run(
            name,
            classifier,
            _iterate_pixel_batches(images, batch_size),
            labels,
            ids=ids,
            batch_size=batch_size,
            seed=seed,
            precision=precision,
            output=shards / "shards",
            on_share=on_share,
            epsilons=epsilons,
            fixed_batch=fixed_batch,
            part=part if is_cut else None,
            **options,
        )
    if not part.is_whole:
        return
    results = [results] if epsilons is None else results
    specs = [attack] if epsilons is None else [{**attack, "epsilon": e} for e in epsilons]
    all_parameters = [_describe_attack(spec, len(labels), precision) for spec in specs]
    runs = [
        build_attack_run(name, parameters, result, images, labels, ids, classifier, seed=seed)
        for parameters, result in zip(all_parameters, results, strict=True)
    ]
    folders = write_attack_runs(records.path, runs)
    rows: list[Row] = []
    for parameters, result, folder in zip(all_parameters, results, folders, strict=True):
        rows += build_attack_rows(model_info, result, parameters)
        if save_images:
            _save_images(folder / "images.npy", result.images, batch_size)
            disagreement_rate = _compute_disagreement_rate(classifier, result.images, batch_size)
            rows.append(model_info.build_row("disagreements", disagreement_rate, parameters))
        if log_dir:
            run = f"{_format_attack_label(parameters)}/epoch-{model_info.epochs}"
            _write_attacked_images(SummaryWriter(log_dir), run, model_info.epochs, images, result)
    # Every budget has the row of the clean accuracy.
    artifacts.write_rows(evaluation, list({row.key(): row for row in rows}.values()))


def _choose_number(shards: pathlib.Path) -> int:
    """Returns a number that decides which part runs an attack that cannot be cut."""
    # The folder has the name of the step's fingerprint, so that steps go to different parts.
    return int(hashing.hash_text(shards.name)[:8], 16)


def _describe_attack(attack: dict[str, Any], num_images: int, precision: str) -> dict[str, Any]:
    """Returns the parameters of the rows of an attack at one budget."""
    parameters = resolve_attack_parameters(attack) | {"images": num_images}
    return parameters if precision == "float32" else {**parameters, "precision": precision}


def _save_images(path: pathlib.Path, images: Sequence, batch_size: int) -> None:
    """Writes images as .npy, with one batch in memory at a time."""
    shape = (len(images), *images.shape[1:])
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    for start in range(0, len(images), batch_size):
        end = min(start + batch_size, len(images))
        file[start:end] = images[start:end]
    file.flush()


def _compute_disagreement_rate(classifier: LogitsFn, images, batch_size: int) -> Measurement:
    """Returns the share of images whose class depends on the batch size."""
    classes, other_classes = (
        _predict_classes(classifier, images, size) for size in (batch_size, max(1, batch_size // 3))
    )
    return compute_accuracy(float((classes != other_classes).sum()), len(classes))


def _iterate_pixel_batches(images, batch_size: int) -> Iterator[np.ndarray]:
    """Yields batches of float32 in [0, 1], from bytes or floats."""
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        if batch.dtype == np.uint8:
            batch = batch / np.float32(255)
        yield batch


def _predict_classes(classifier: LogitsFn, images, batch_size: int) -> np.ndarray:
    classes = []
    for batch in _iterate_pixel_batches(images, batch_size):
        padding = np.repeat(batch[-1:], batch_size - len(batch), 0)
        logits = predict_logits(classifier, tf.constant(np.concatenate([batch, padding])))
        classes.append(logits.numpy()[: len(batch)].argmax(-1))
    return np.concatenate(classes)


def _format_attack_label(attack_parameters: dict[str, Any]) -> str:
    """Returns the name of an attack's folder, one per set of options."""
    label_fields = [
        attack_parameters["name"],
        attack_parameters.get("norm"),
        attack_parameters["epsilon"],
    ]
    label = "-".join(str(part) for part in label_fields if part is not None)
    text = json.dumps(attack_parameters, sort_keys=True, default=repr)
    return f"{label}-{hashing.hash_text(text)[:6]}"


def _write_attacked_images(
    board: SummaryWriter, run: str, epochs: int, images, result: AttackResult
) -> None:
    """Writes the first adversarial images to TensorBoard, before and after."""
    rows = np.flatnonzero(result.success & (result.distances["l2"] > 0))
    rows = rows[:_NUM_SHOWN_IMAGES]
    if not rows.size:
        return
    clean = next(_iterate_pixel_batches(images[rows], len(rows)))
    attacked_images = np.asarray(result.images[rows])
    delta = attacked_images - clean
    scale = np.maximum(np.abs(delta).max((1, 2, 3), keepdims=True), 1e-12)
    run = f"attacks/{run}"
    board.clear(run)
    board.write_images(
        run,
        epochs,
        {
            "1_clean": tf.constant(clean),
            "2_attacked": tf.constant(attacked_images),
            "3_perturbation_scaled": tf.constant(0.5 + delta / scale / 2),
        },
        sheet_tag="0_all",
    )


@component
def Diagnoser(
    examples: In[Examples],
    model: In[Model],
    diagnosis: Out[Diagnosis],
    evaluation: Out[ModelEvaluation],
    *,
    epsilon: float,
    norm: str = "linf",
    num_images: int = 200,
    split: str = "test",
    batch_size: int = 128,
    seed: int = 0,
) -> None:
    """Runs every check for masked gradients on the first images of a split.

    Args:
      diagnosis: findings.json, and the curves in arrays.npz.
      evaluation: One row "masking" per check: 1 flagged, 0 passed, NaN not
        checked; masking.npz has the names and messages of all checks.
      epsilon: The budget.
      norm: Its norm.
    """
    data, classifier, model_info = artifacts.load_inputs(
        examples, model, split=split, evaluation="masking"
    )
    images, labels, _ = (a[:num_images] for a in data.get_arrays(split))
    title, num_checks = "search for masked gradients", len(masking.names())
    with progress.open_counter(title, num_checks, "check", is_whole_part=True) as count:

        def on_progress(result: CheckResult) -> None:
            _log.info("%s: %s", result.name, result.status)
            count(1)

        check_results = masking.diagnose(
            classifier,
            images / np.float32(255),
            labels,
            epsilon=epsilon,
            norm=norm,
            batch_size=batch_size,
            seed=seed,
            on_progress=on_progress,
        )
    result_records = [
        {
            "name": result.name,
            "status": result.status,
            "words": result.message,
            "values": {key: float(x) for key, x in result.values.items()},
            "n": result.n,
        }
        for result in check_results
    ]
    text = json.dumps({"epsilon": epsilon, "norm": norm, "findings": result_records}, indent=1)
    (diagnosis.path / "findings.json").write_text(text, encoding="utf-8")
    arrays = {
        f"{result.name}_{key}": value
        for result in check_results
        for key, value in result.arrays.items()
    }
    np.savez(diagnosis.path / "arrays.npz", **arrays)
    rows = [_build_check_row(model_info, result, epsilon) for result in check_results]
    artifacts.write_rows(evaluation, rows, arrays_file="masking.npz")
    np.savez(
        evaluation.path / "masking.npz",
        names=np.array([result.name for result in check_results]),
        words=np.array([result.message for result in check_results]),
    )


def _build_check_row(model_info: ModelInfo, result: CheckResult, epsilon: float) -> Row:
    measurement = Measurement(case.STATUS_VALUES[result.status], None, result.n)
    row = model_info.with_parameters(check=result.name).build_row("masking", measurement)
    return dataclasses.replace(row, epsilon=epsilon)
