"""Step 8: which response frequencies a training fits first (F-principle)."""

import dataclasses
import json
from typing import Any

import numpy as np

from qup import measurements
from qup.components import artifacts
from qup.components.artifacts import Examples, Model, ModelEvaluation
from qup.components.response_view import View
from qup.datasets import examples as files_of_examples
from qup.errors import InputError
from qup.evaluation import Accuracy
from qup.measurements import Row
from qup.orchestration import In, Out, component
from qup.subjects import Subject

_ARTIFACT = "response.npz"


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
    view = View.of(data, split, num_images, centred)
    further = {"split": split, "centred": centred, **(row_parameters or {})}
    size, found = min(batch_size, view.n), []
    for subject, model in _ordered(models):
        classifier = artifacts.load_classifier(model.path)
        batches = data.evaluation_batches(split, size, limit=view.n)
        errors = view.errors(classifier, batches, widths, frequencies)
        found.append((subject.such(**further), errors))
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
