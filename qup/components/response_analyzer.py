"""Step 8: which response frequencies a training fits first (F-principle)."""

import dataclasses
import json
from typing import Any

import numpy as np

from qup import measurements
from qup.components import artifacts
from qup.components.artifacts import Examples, Model, ModelEvaluation
from qup.components.response_view import ResponsePoints
from qup.datasets import examples as files_of_examples
from qup.errors import InputError
from qup.evaluation import Accuracy
from qup.measurements import Row
from qup.orchestration import In, Out, component
from qup.subjects import ModelInfo

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
    """Follows the errors of low and high response frequencies.

    Response frequency is over the space of images, not over the pixels of
    one; see qup/measures/response.py.

    Args:
      examples: The images.
      models: Snapshots of one training.
      evaluation: measurements.csv: "response_error" of each snapshot, by
        "method" "filter" with "width" and "band", and by "line" with
        "frequency"; and response.npz: "epochs" [e], "widths" [w],
        "distance", "low", "high" and their "_stderr" [e, w],
        "frequencies" [k], "line" and "line_stderr" [e, k], "target" and
        "noise" [k], and in "told" what they are of, as JSON.
      widths: Of the Gaussian filters, in typical (median) distances of
        images.
      frequencies: Those along the line are 1, ..., that many.
      split: The images; those that were trained on, for the F-principle.
      num_images: How many; time and memory of the filter go with its
        square and with it.
      centred: Takes the classes' shares from labels and answers: then an
        error of 1 is that of who knows these shares and nothing else. False
        leaves them, as Xu et al. do: then even an untrained network, which
        answers the same everywhere, has much of the low ones right.
      batch_size: Images at a time.
      row_parameters: What rows tell beside all that.

    Raises:
      InputError: Two snapshots of one epoch, or of several networks.
    """
    data = files_of_examples.read(examples.path)
    image_points = ResponsePoints.from_dataset(data, split, num_images, centred)
    parameters = {"split": split, "centred": centred, **(row_parameters or {})}
    size, snapshot_errors = min(batch_size, image_points.n), []
    for model_info, model in _sort_snapshots(models):
        classifier = artifacts.load_classifier(model.path)
        batches = data.evaluation_batches(split, size, max_images=image_points.n)
        errors = image_points.compute_errors(classifier, batches, widths, frequencies)
        snapshot_errors.append((model_info.with_parameters(**parameters), errors))
    rows = [
        row
        for info_and_errors in snapshot_errors
        for row in _build_response_rows(*info_and_errors, widths, image_points.n)
    ]
    measurements.write_rows(evaluation.path / "measurements.csv", rows)
    np.savez(
        evaluation.path / _RESPONSE_FILE,
        **_stack_snapshots(snapshot_errors, image_points.n),
        widths=np.array(widths),
        distance=image_points.distance,
        frequencies=np.arange(1, frequencies + 1),
    )


def _stack_snapshots(
    snapshot_errors: list[tuple[ModelInfo, dict[str, np.ndarray]]], images: int
) -> dict[str, np.ndarray]:
    """Returns what was found, stacked over epochs, and of what."""
    first_info, first_errors = snapshot_errors[0]
    arrays = {key: np.stack([errors[key] for _, errors in snapshot_errors]) for key in first_errors}
    metadata = {**dataclasses.asdict(first_info), "images": images}
    metadata.pop("epochs")
    return {
        **arrays,
        # They do not depend on the network.
        "target": first_errors["target"],
        "noise": first_errors["noise"],
        "epochs": np.array([model_info.epochs for model_info, _ in snapshot_errors]),
        "told": np.array(json.dumps(metadata, sort_keys=True)),
    }


def _sort_snapshots(models: list[Model]) -> list[tuple[ModelInfo, Model]]:
    """Returns the snapshots of one training by their epochs."""
    snapshots = [(artifacts.load_model_info(model.path), model) for model in models]
    snapshots.sort(key=lambda snapshot: snapshot[0].epochs)
    epochs = [s.epochs for s, _ in snapshots]
    trainings = {(s.dataset, s.model, s.classifier, s.seed) for s, _ in snapshots}
    if len(trainings) != 1 or len(set(epochs)) < len(epochs):
        raise InputError(
            "Snapshots must be of one training, each of another epoch; got "
            f"{sorted(trainings)} at epochs {epochs}. Give one network's."
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
            accuracy = Accuracy(float(value), error, n)
            rows.append(row_info.build_row("response_error", accuracy))
    return [dataclasses.replace(row, artifact=_RESPONSE_FILE) for row in rows]
