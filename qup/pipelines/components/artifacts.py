"""The artifacts that components exchange, named as in TFX if it has them, and their files."""

import dataclasses
import functools
import json
import pathlib
import shutil
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import keras

from qup.core import hashing, identity, measurements
from qup.core.classifier import Classifier
from qup.core.measurements import ModelInfo, Row
from qup.core.types import LogitsFn
from qup.datasets import Dataset
from qup.datasets import examples as example_files
from qup.models import keras_files, saving, user_models
from qup.orchestration import Artifact

# TFX's name of the folder that a server loads.
SERVING = "Format-Serving"
_MODEL_FILE, _MODEL_INFO_FILE = "model.keras", "subject.json"
# How the model of a user is read. Its files are model.keras, model.h5 or the folder `SERVING`.
_LOAD_OPTIONS_FILE = "load_options.json"


class Examples(Artifact):
    """Images and labels, see qup/datasets/examples.py."""


class _TrainedArtifact(Artifact):
    """The result of a training, identified by its weights in `properties`.

    Its files contain dates and counters, so equal results differ in bytes.
    """

    def get_identity(self) -> list[Any]:
        """Returns the type and the properties, without the digest of the files."""
        return [self.type_name, self.properties]


class Model(_TrainedArtifact):
    """A network; for a classifier also a SavedModel and its `ModelInfo`."""


class ModelRun(_TrainedArtifact):
    """history.json of a training, and for a classifier checkpoints/."""


class Deltas(Artifact):
    """The pairs (X_0, Delta_N), see qup/augmentation/deltas.py."""


class Trajectory(Artifact):
    """trajectory.json: the number of correctly classified X_n at several n."""


class ModelEvaluation(Artifact):
    """measurements.csv."""


class AttackRecords(Artifact):
    """The files of `robustness.report.attack_runs`, and images.npy on request."""


class Diagnosis(Artifact):
    """findings.json, and their curves in arrays.npz."""


class ModelBlessing(Artifact):
    """BLESSED or NOT_BLESSED, and the reason in blessing.json."""


class InfraBlessing(Artifact):
    """INFRA_BLESSED or INFRA_NOT_BLESSED, infra_blessing.json, and additions/ to the SavedModel."""

    @property
    def additions(self) -> pathlib.Path:
        """The files that are pushed with the SavedModel."""
        return self.path / "additions"


class ModelAnalysis(Artifact):
    """measurements.csv, and images.npz of examples."""


class Report(Artifact):
    """measurements.csv, and figures as PNG."""


class UncertaintyMap(Artifact):
    """The relation along every axis, one .npz per estimator.

    importance.npz and mcmc.npz, see qup/uncertainty/records.py; matrices/ has
    the same names, for pairs of directions; setting.json has the settings, and
    the reasons of refused estimates under "refused".
    """


class UncertaintyReport(Artifact):
    """findings.md, and figures as PNG."""


class PushedModel(Artifact):
    """pushed.json: the destination of the model."""


class Inputs(NamedTuple):
    """What most components read.

    Attributes:
      data: The images of `Examples`.
      classifier: The network of `Model`.
      model_info: Its description, the first columns of rows.
    """

    data: Dataset
    classifier: LogitsFn
    model_info: ModelInfo


def load_inputs(examples: Examples, model: Model, **parameters: Any) -> Inputs:
    """Reads images and a classifier; `parameters` are added to its `ModelInfo`."""
    return Inputs(
        example_files.read(examples.path),
        # Several attacks on one classifier follow one another, and share its compiled programs.
        _load_cached_classifier(str(model.path), model.properties.get("content")),
        load_model_info(model.path).with_parameters(**parameters),
    )


def save_classifier(classifier: keras.Model, model_info: ModelInfo, model: Model) -> None:
    """Writes a classifier as .keras and as a SavedModel, with its description."""
    save_unexported_classifier(classifier, model_info, model)
    saving.export_saved_model(classifier, model.path / SERVING)
    saving.write_fingerprint(model.path / SERVING, model.properties["content"])


def save_unexported_classifier(
    classifier: keras.Model, model_info: ModelInfo, model: Model
) -> None:
    """Writes a classifier as .keras alone, with its description."""
    save_network(classifier, model)
    measurements.write_model_info(model_info, model.path / _MODEL_INFO_FILE)
    model_info_bytes = (model.path / _MODEL_INFO_FILE).read_bytes()
    content = f"{model.properties['content']}\0".encode() + model_info_bytes
    model.properties["content"] = hashing.hash_bytes(content)


def save_network(network: keras.Model, model: Model) -> None:
    """Writes a network that is not a classifier."""
    saving.save_model(network, model.path / _MODEL_FILE)
    model.properties["content"] = identity.compute_network_identity(network)


def load_network(folder: pathlib.Path) -> keras.Model:
    """Returns the network of a `Model`."""
    return saving.load_model(folder / _MODEL_FILE)


@functools.lru_cache(maxsize=1)
def _load_cached_classifier(folder: str, content: str | None) -> LogitsFn:
    """Returns the classifier of a `Model`; the last one stays in memory with its programs."""
    return load_classifier(pathlib.Path(folder))


def load_classifier(folder: pathlib.Path) -> LogitsFn:
    """Returns the classifier of a `Model`, trained here or imported.

    Raises:
      InputError: An imported one cannot be read, for instance because a module of its layers is
        gone.
    """
    if not (folder / _LOAD_OPTIONS_FILE).exists():
        return load_network(folder)
    record = json.loads((folder / _LOAD_OPTIONS_FILE).read_text(encoding="utf-8"))
    image_shape = record.pop("image_shape")
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
    (path,) = [path for path in _list_model_paths(folder) if path.exists()]
    return user_models.load_user_model(path, user_models.LoadOptions(**options), image_shape)


def _list_model_paths(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the places where the model of a user may be."""
    return [folder / SERVING, *(folder / f"model{suffix}" for suffix in keras_files.SUFFIXES)]


def load_model_info(folder: pathlib.Path) -> ModelInfo:
    """Returns the description of the classifier of a `Model`."""
    return measurements.read_model_info(folder / _MODEL_INFO_FILE)


def import_classifier(
    source: pathlib.Path,
    model_info: ModelInfo,
    model: Model,
    options: user_models.LoadOptions,
    image_shape: Sequence[int] | None = None,
) -> Classifier:
    """Copies a user's model, and writes its description and how it is read.

    Args:
      source: A file of a Keras model, or the folder of a SavedModel.
      model_info: Its description.
      model: The artifact to fill.
      options: How it is read.
      image_shape: (height, width, channels) of the images that it will see; None leaves the model
        as it is.

    Returns:
      The classifier.

    Raises:
      InputError: It cannot be read, or declares other images.
    """
    classifier = user_models.load_user_model(source, options, image_shape)
    if source.is_dir():
        shutil.copytree(source, model.path / SERVING)
    else:
        shutil.copy2(source, model.path / f"model{source.suffix}")
    record = {**dataclasses.asdict(options), "image_shape": image_shape and list(image_shape)}
    text = json.dumps(record, indent=1, sort_keys=True)
    (model.path / _LOAD_OPTIONS_FILE).write_text(text, encoding="utf-8")
    measurements.write_model_info(model_info, model.path / _MODEL_INFO_FILE)
    return classifier


def write_rows(evaluation: Artifact, rows: Iterable[Row], *, arrays_file: str = "") -> None:
    """Writes measurements.csv of an artifact.

    Args:
      evaluation: The artifact.
      rows: Its rows.
      arrays_file: The .npz in the artifact that the rows refer to; "" for none.
    """
    if arrays_file:
        rows = [dataclasses.replace(row, artifact=arrays_file) for row in rows]
    measurements.write_rows(evaluation.path / "measurements.csv", rows)


def read_rows(evaluations: Iterable[Artifact]) -> list[Row]:
    """Returns the rows of measurements.csv of artifacts."""
    return [
        row
        for evaluation in evaluations
        for row in measurements.read_rows(evaluation.path / "measurements.csv")
    ]
