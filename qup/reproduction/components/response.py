"""Response frequencies: which frequencies over image space a training fits first (F-principle)."""

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from qup.core.classifier import predict_logits
from qup.core.errors import InputError
from qup.core.measurements import Measurement, ModelInfo, Row
from qup.core.types import Batch, LogitsFn
from qup.datasets import examples as example_files
from qup.orchestration import In, Out, component
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import Examples, Model, ModelEvaluation
from qup.robustness import response

_RESPONSE_FILE = "response.npz"


@component
def ResponseAnalyzer(
    examples: In[Examples],
    models: In[list[Model]],
    evaluation: Out[ModelEvaluation],
    *,
    widths: list[float] = (0.2, 0.3, 0.4),
    frequencies: int = 20,
    split: str = "train",
    num_images: int = 2000,
    centred: bool = True,
    batch_size: int = 250,
    row_parameters: dict[str, Any] | None = None,
) -> None:
    """Measures the errors of low and high response frequencies during a training.

    Response frequency is a frequency over the space of images, not over the pixels of one image;
    see qup/robustness/response.py.

    Args:
      models: Snapshots of one training.
      evaluation: "response_error" of each snapshot, by "method" "filter" with "width" and "band",
        and by "line" with "frequency". response.npz: "epochs" [e], "widths" [w], "distance",
        "low", "high" and their "_stderr" [e, w], "frequencies" [k], "line" and "line_stderr"
        [e, k], "target" and "noise" [k], and "told", a description in JSON.
      widths: Of the Gaussian filters, in median distances between images.
      frequencies: The frequencies along the line are 1, ..., this number.
      split: The F-principle is about the images of the training.
      num_images: Time and memory of the filter grow with its square.
      centred: Subtract the class shares from labels and probabilities: an error of 1 is then that
        of a network that knows these shares only. False is the definition of Xu et al., with which
        even an untrained network of constant output has a small error at low frequencies.

    Raises:
      InputError: Two snapshots have the same epoch, or are of different networks.
    """
    data = example_files.read(examples.path)
    images, labels, _ = (array[:num_images] for array in data.get_arrays(split))
    count = len(images)
    points = images.reshape(count, -1) / 255.0
    targets = np.eye(data.info.num_classes)[labels]
    class_shares = targets.mean(0) if centred else 0.0
    distance = response.compute_typical_distance(points)
    projections = response.project_to_axis(points)
    parameters = {"split": split, "centred": centred, **(row_parameters or {})}
    snapshot_errors = []
    for model_info, model in _sort_snapshots(models):
        probabilities = _predict_probabilities(
            artifacts.load_classifier(model.path),
            data.evaluation_batches(split, min(batch_size, count), max_images=count),
            count,
        )
        errors = _compute_errors(
            points,
            targets - class_shares,
            probabilities - class_shares,
            projections,
            widths=[width * distance for width in widths],
            frequencies=np.arange(1, frequencies + 1),
        )
        snapshot_errors.append((model_info.with_parameters(**parameters), errors))
    rows = [
        row
        for info_and_errors in snapshot_errors
        for row in _build_response_rows(*info_and_errors, widths, count)
    ]
    artifacts.write_rows(evaluation, rows, arrays_file=_RESPONSE_FILE)
    np.savez(
        evaluation.path / _RESPONSE_FILE,
        **_stack_snapshots(snapshot_errors, count),
        widths=np.array(widths),
        distance=distance,
        frequencies=np.arange(1, frequencies + 1),
    )


def _predict_probabilities(logits_fn: LogitsFn, batches: Iterable[Batch], count: int) -> np.ndarray:
    """Returns probabilities, float32 [count, classes]."""
    batch_probabilities = [
        tf.nn.softmax(predict_logits(logits_fn, batch["image"])).numpy() for batch in batches
    ]
    return np.concatenate(batch_probabilities)[:count]


def _compute_errors(
    points: np.ndarray,
    targets: np.ndarray,
    probabilities: np.ndarray,
    projections: np.ndarray,
    *,
    widths: list[float],
    frequencies: np.ndarray,
) -> dict[str, np.ndarray]:
    """Compares the probabilities of a network with the labels.

    Args:
      points: Images, float [n, dimensions].
      targets: One-hot labels, float [n, classes].
      probabilities: float [n, classes].
      projections: Of the images to the line, float [n].
      widths: Of the filters, in the unit of `points`, [w].
      frequencies: Along the line, [k].

    Returns:
      Relative errors "low" and "high" [w] and "line" [k], each also as "_stderr"; and "target" and
      "noise" of the labels [k], see `response.compute_line_response`.
    """
    line = response.compute_line_response(projections, targets, probabilities, frequencies)
    errors_by_name = {
        "line": line.error,
        "line_stderr": line.stderr,
        "target": line.target,
        "noise": line.noise,
    }
    band_errors = [
        response.compute_filtered_errors(points, targets, probabilities, width) for width in widths
    ]
    for name, estimates in zip(("low", "high"), zip(*band_errors, strict=True), strict=True):
        errors_by_name[name] = np.array([estimate.value for estimate in estimates])
        errors_by_name[f"{name}_stderr"] = np.array([e.stderr or np.nan for e in estimates])
    return errors_by_name


def _stack_snapshots(
    snapshot_errors: list[tuple[ModelInfo, dict[str, np.ndarray]]], images: int
) -> dict[str, np.ndarray]:
    """Returns the errors of all snapshots stacked over epochs, and their description."""
    first_info, first_errors = snapshot_errors[0]
    arrays = {key: np.stack([errors[key] for _, errors in snapshot_errors]) for key in first_errors}
    metadata = {**dataclasses.asdict(first_info), "images": images}
    metadata.pop("epochs")
    return {
        **arrays,
        # Properties of the labels, equal for all snapshots.
        "target": first_errors["target"],
        "noise": first_errors["noise"],
        "epochs": np.array([model_info.epochs for model_info, _ in snapshot_errors]),
        "told": np.array(json.dumps(metadata, sort_keys=True)),
    }


def _sort_snapshots(models: list[Model]) -> list[tuple[ModelInfo, Model]]:
    """Returns the snapshots in the order of their epochs."""
    snapshots = [(artifacts.load_model_info(model.path), model) for model in models]
    snapshots.sort(key=lambda snapshot: snapshot[0].epochs)
    epochs = [s.epochs for s, _ in snapshots]
    trainings = {(s.dataset, s.model, s.classifier, s.seed) for s, _ in snapshots}
    if len(trainings) != 1 or len(set(epochs)) < len(epochs):
        raise InputError(
            "Snapshots must be of one training at different epochs; got "
            f"{sorted(trainings)} at epochs {epochs}. Pass the snapshots of one network."
        )
    return snapshots


def _build_response_rows(
    model_info: ModelInfo, errors: dict[str, np.ndarray], widths: list[float], n: int
) -> list[Row]:
    row_specs = []
    for index, width in enumerate(widths):
        for band in ("low", "high"):
            parameters = {"method": "filter", "width": width, "band": band}
            row_specs.append((band, index, parameters))
    for index in range(len(errors["line"])):
        parameters = {"method": "line", "frequency": index + 1}
        row_specs.append(("line", index, parameters))
    rows = []
    for curve, index, parameters in row_specs:
        value, error = errors[curve][index], errors[f"{curve}_stderr"][index]
        error = float(error) if np.isfinite(error) else None
        row_info = model_info.with_parameters(**parameters)
        if np.isfinite(value):
            accuracy = Measurement(float(value), error, n)
            rows.append(row_info.build_row("response_error", accuracy))
    return rows
