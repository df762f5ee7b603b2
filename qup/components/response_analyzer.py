"""Step 8: which response frequencies a training fits first (F-principle)."""

import dataclasses
import json
import logging
from typing import Any

import keras
import numpy as np

from qup import compilation, measurements
from qup.components import artifacts, plugins
from qup.components.artifacts import Examples, Model, ModelEvaluation
from qup.datasets import Dataset
from qup.datasets import examples as files_of_examples
from qup.errors import InputError
from qup.evaluation import Accuracy
from qup.measurements import Row
from qup.measures import response
from qup.orchestration import In, Out, component
from qup.subjects import Subject
from qup.types import LogitsFn

_log = logging.getLogger("qup")
_ARTIFACT = "response.npz"


@component(plugins=plugins.none)
def ResponseAnalyzer(
    examples: In[Examples],
    models: In[list[Model]],
    evaluation: Out[ModelEvaluation],
    *,
    widths: list[float] = (0.2, 0.3, 0.4),
    frequencies: int = 20,
    split: str = "train",
    num_images: int = 2000,
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
      batch_size: Images at a time.
      row_parameters: What rows tell beside all that.

    Raises:
      InputError: Two snapshots of one epoch, or of several networks.
    """
    data = files_of_examples.read(examples.path)
    view = _View.of(data, split, num_images)
    found = []
    for subject, model in _ordered(models):
        subject = subject.such(split=split, **(row_parameters or {}))
        classifier = artifacts.load_classifier(model.path)
        answers = _answers(classifier, data, split, view.n, batch_size)
        errors = view.errors(answers, widths, frequencies)
        found.append((subject, errors))
        _log.info(
            "%s, epoch %d: relative error of low response frequencies %.3f, "
            "of high ones %.3f", subject.model, subject.epochs,
            errors["low"][0], errors["high"][0],
        )  # fmt: skip
    rows = [row for pair in found for row in _rows(*pair, widths, view.n)]
    measurements.write(evaluation.path / "measurements.csv", rows)
    np.savez(
        evaluation.path / _ARTIFACT, **_arrays(found, view.n),
        widths=np.array(widths), distance=view.distance,
        frequencies=np.arange(1, frequencies + 1),
    )  # fmt: skip


def _arrays(
    found: list[tuple[Subject, dict[str, np.ndarray]]], images: int
) -> dict[str, np.ndarray]:
    """Returns what was found, stacked over epochs, and of what."""
    first, one = found[0]
    arrays = {key: np.stack([own[key] for _, own in found]) for key in one}
    told = {**dataclasses.asdict(first), "images": images}
    told.pop("epochs")
    return {
        **arrays,
        # They do not depend on the network.
        "target": one["target"],
        "noise": one["noise"],
        "epochs": np.array([subject.epochs for subject, _ in found]),
        "told": np.array(json.dumps(told, sort_keys=True)),
    }


def _ordered(models: list[Model]) -> list[tuple[Subject, Model]]:
    """Returns the snapshots of one training by their epochs."""
    named = [(artifacts.subject(model.path), model) for model in models]
    named.sort(key=lambda pair: pair[0].epochs)
    epochs = [s.epochs for s, _ in named]
    alike = {(s.dataset, s.model, s.classifier, s.seed) for s, _ in named}
    if len(alike) != 1 or len(set(epochs)) < len(epochs):
        raise InputError(
            "Snapshots must be of one training, each of another epoch; got "
            f"{sorted(alike)} at epochs {epochs}. Give one network's."
        )
    return named


def _answers(
    classifier: LogitsFn, data: Dataset, split: str, count: int, size: int
) -> np.ndarray:
    """Returns probabilities, float32 [count, classes]."""
    batches = data.evaluation_batches(split, min(size, count), limit=count)
    parts = [
        keras.ops.softmax(compilation.predict(classifier, batch["image"]))
        for batch in batches
    ]
    return np.concatenate([part.numpy() for part in parts])[:count]


class _View:
    """The images, and where they lie."""

    def __init__(self, points: np.ndarray, targets: np.ndarray):
        self._points, self._targets = points, targets
        self.n = len(points)
        self.distance = response.typical_distance(points)
        self._places = response.projected(points)

    @classmethod
    def of(cls, data: Dataset, split: str, num_images: int) -> "_View":
        """Takes the first images of a split as points."""
        images, labels, _ = data.arrays(split)
        images, labels = images[:num_images], labels[:num_images]
        points = images.reshape(len(images), -1) / 255.0
        return cls(points, np.eye(data.info.num_classes)[labels])

    def errors(
        self, answers: np.ndarray, widths: list[float], frequencies: int
    ) -> dict[str, np.ndarray]:
        """Returns "low", "high" [w] and "line" [k] with "_stderr", and more."""
        pairs = [
            response.filtered(
                self._points, self._targets, answers, width * self.distance
            )
            for width in widths
        ]
        line = response.along_line(
            self._places, self._targets, answers,
            np.arange(1, frequencies + 1),
        )  # fmt: skip
        found = {
            "line": line.error, "line_stderr": line.stderr,
            "target": line.target, "noise": line.noise,
        }  # fmt: skip
        for name, column in zip(
            ("low", "high"), zip(*pairs, strict=True), strict=True
        ):
            found[name] = np.array([each.value for each in column])
            errors = [each.stderr or np.nan for each in column]
            found[f"{name}_stderr"] = np.array(errors)
        return found


def _rows(
    subject: Subject, found: dict[str, np.ndarray], widths: list[float], n: int
) -> list[Row]:
    told = []
    for place, width in enumerate(widths):
        for band in ("low", "high"):
            parameters = {"method": "filter", "width": width, "band": band}
            told.append((band, place, parameters))
    for place in range(len(found["line"])):
        parameters = {"method": "line", "frequency": place + 1}
        told.append(("line", place, parameters))
    rows = []
    for key, place, parameters in told:
        value, error = found[key][place], found[f"{key}_stderr"][place]
        error = float(error) if np.isfinite(error) else None
        one = subject.such(**parameters)
        if np.isfinite(value):
            accuracy = Accuracy(float(value), error, n)
            rows.append(one.row("response_error", accuracy))
    return [dataclasses.replace(row, artifact=_ARTIFACT) for row in rows]
