"""What the components give each other, under TFX's names where it has one."""

import dataclasses
import pathlib
import shutil
from collections.abc import Iterable
from typing import Any

import keras

from qup.core import hashing, measurements
from qup.core.types import LogitsFn
from qup.models import saving
from qup.orchestration import Artifact

# TFX's name of the folder that a server can load.
SERVING = "Format-Serving"
_MODEL_FILE, _MODEL_INFO_FILE = "model.keras", "subject.json"


class Examples(Artifact):
    """Images and labels, see qup/datasets/examples.py."""


class _TrainedArtifact(Artifact):
    """What a training made, told apart by weights.

    Its files hold dates and counters, so that equal ones differ in bytes.
    """

    def identity(self) -> list[Any]:
        """Returns what components that read it depend on."""
        return [self.type_name, self.properties]


class Model(_TrainedArtifact):
    """A network; of a classifier also a SavedModel and its `Subject`."""


class ModelRun(_TrainedArtifact):
    """history.json, and of a classifier checkpoints/, of a training."""


class Deltas(Artifact):
    """The pairs (X_0, Delta_N), see qup/augmentation/deltas.py."""


class Trajectory(Artifact):
    """trajectory.json: how many X_n were classified rightly at which n."""


class ModelEvaluation(Artifact):
    """measurements.csv."""


class AttackRecords(Artifact):
    """records.npz, one value an image, and images.npy where asked for."""


class Diagnosis(Artifact):
    """findings.json, and the curves behind them in arrays.npz."""


class ModelBlessing(Artifact):
    """BLESSED or NOT_BLESSED, and in blessing.json why."""


class ModelAnalysis(Artifact):
    """measurements.csv, and images.npz of examples."""


class Report(Artifact):
    """measurements.csv, and figures as PNG."""


class UncertaintyMap(Artifact):
    """Of each estimator an .npz of the relation along every axis.

    importance.npz and mcmc.npz, see qup/uncertainty/records.py; in
    matrices/ the same names, between directions; and in setting.json what
    was measured, and what was "refused", and why.
    """


class UncertaintyReport(Artifact):
    """findings.md, and figures as PNG."""


class PushedModel(Artifact):
    """pushed.json: where the model went."""


def save_classifier(
    classifier: keras.Model, model_info: measurements.ModelInfo, model: Model
) -> None:
    """Writes a classifier, for us and for servers, and what it is."""
    save_unexported_classifier(classifier, model_info, model)
    saving.export_saved_model(classifier, model.path / SERVING)
    saving.write_fingerprint(model.path / SERVING, model.properties["content"])


def save_unexported_classifier(
    classifier: keras.Model, model_info: measurements.ModelInfo, model: Model
) -> None:
    """Writes a classifier that no server will load, and what it is."""
    save_network(classifier, model)
    measurements.write_model_info(model_info, model.path / _MODEL_INFO_FILE)
    model_info_bytes = (model.path / _MODEL_INFO_FILE).read_bytes()
    content = f"{model.properties['content']}\0".encode() + model_info_bytes
    model.properties["content"] = hashing.hash_bytes(content)


def save_network(network: keras.Model, model: Model) -> None:
    """Writes a network that is no classifier."""
    saving.save_model(network, model.path / _MODEL_FILE)
    model.properties["content"] = hashing.hash_weights(network)


def load_network(folder: pathlib.Path) -> keras.Model:
    """Returns the network of a `Model`."""
    return saving.load_model(folder / _MODEL_FILE)


def load_classifier(folder: pathlib.Path) -> LogitsFn:
    """Returns the classifier of a `Model`, our own or an imported one."""
    if (folder / _MODEL_FILE).exists():
        return load_network(folder)
    return saving.load_saved_model(folder / SERVING)


def import_classifier(
    source: pathlib.Path, model_info: measurements.ModelInfo, model: Model
) -> None:
    """Copies a user's .keras file or SavedModel, and notes what it is.

    Raises:
      InputError: It cannot be read, or is no classifier.
    """
    if source.is_dir():
        saving.load_saved_model(source)
        shutil.copytree(source, model.path / SERVING)
    else:
        saving.load_user_model(source)
        shutil.copy2(source, model.path / _MODEL_FILE)
    measurements.write_model_info(model_info, model.path / _MODEL_INFO_FILE)


def load_model_info(folder: pathlib.Path) -> measurements.ModelInfo:
    """Returns what the classifier of a `Model` is."""
    return measurements.read_model_info(folder / _MODEL_INFO_FILE)


def write_rows(
    evaluation: Artifact, rows: Iterable[measurements.Row], *, arrays_file: str = ""
) -> None:
    """Writes measurements.csv of an artifact.

    Args:
      evaluation: The artifact.
      rows: Its rows.
      arrays_file: The .npz in the artifact that the rows refer to; "" for none.
    """
    if arrays_file:
        rows = [dataclasses.replace(row, artifact=arrays_file) for row in rows]
    measurements.write_rows(evaluation.path / "measurements.csv", rows)
