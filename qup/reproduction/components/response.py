"""Step 8: which response frequencies a training fits first (F-principle)."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from qup.core import compilation, measurements
from qup.core.errors import InputError
from qup.core.measurements import Accuracy, ModelInfo, Row
from qup.core.types import Batch, LogitsFn
from qup.datasets import Dataset
from qup.datasets import examples as example_files
from qup.orchestration import In, Out, component
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import Examples, Model, ModelEvaluation
from qup.robustness import response

# The images over whose space response frequency is told, as points.


class ResponsePoints:
    """The images, and where they lie.

    Attributes:
      n: Number of images.
      distance: Their typical distance, the unit of widths.
    """

    def __init__(self, points: np.ndarray, targets: np.ndarray, class_shares: np.ndarray | float):
        """Takes images as points, and what is taken from all answers.

        Args:
          points: float [n, dimensions].
          targets: float [n, classes], one-hot labels.
          class_shares: float [classes], taken from targets and answers; or 0.
        """
        self._points, self._class_shares = points, class_shares
        self._targets = targets - class_shares
        self.n = len(points)
        self.distance = response.compute_typical_distance(points)
        self._projections = response.project_to_axis(points)

    @classmethod
    def from_dataset(
        cls, data: Dataset, split: str, num_images: int, centred: bool
    ) -> "ResponsePoints":
        """Takes the first images of a split as points."""
        images, labels, _ = data.get_arrays(split)
        images, labels = images[:num_images], labels[:num_images]
        points = images.reshape(len(images), -1) / 255.0
        targets = np.eye(data.info.num_classes)[labels]
        return cls(points, targets, targets.mean(0) if centred else 0.0)

    def compute_errors(
        self,
        logits_fn: LogitsFn,
        batches: Iterable[Batch],
        widths: Sequence[float],
        frequencies: int,
    ) -> dict[str, np.ndarray]:
        """Compares a network's probabilities with the labels.

        Args:
          logits_fn: The network.
          batches: The same images, in the same order.
          widths: Of the filters, in typical distances, [w].
          frequencies: Those along the line are 1, ..., that many, [k].

        Returns:
          Relative errors "low" and "high" [w] and "line" [k], each also as
          "_stderr"; and of the labels "target" and "noise" [k], see
          `response.Line`.
        """
        probabilities = _predict_probabilities(logits_fn, batches, self.n) - self._class_shares
        band_errors = [
            response.compute_filtered_errors(
                self._points, self._targets, probabilities, width * self.distance
            )
            for width in widths
        ]
        line_errors = response.compute_line_response(
            self._projections, self._targets, probabilities, np.arange(1, frequencies + 1)
        )
        errors_by_name = {
            "line": line_errors.error,
            "line_stderr": line_errors.stderr,
            "target": line_errors.target,
            "noise": line_errors.noise,
        }
        for name, column in zip(("low", "high"), zip(*band_errors, strict=True), strict=True):
            errors_by_name[name] = np.array([estimate.value for estimate in column])
            stderrs = [estimate.stderr or np.nan for estimate in column]
            errors_by_name[f"{name}_stderr"] = np.array(stderrs)
        return errors_by_name


def _predict_probabilities(logits_fn: LogitsFn, batches: Iterable[Batch], count: int) -> np.ndarray:
    """Returns probabilities, float32 [count, classes]."""
    batch_probabilities = [
        tf.nn.softmax(compilation.predict(logits_fn, batch["image"])).numpy() for batch in batches
    ]
    return np.concatenate(batch_probabilities)[:count]


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
    one; see qup/robustness/response.py.

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
    data = example_files.read(examples.path)
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
