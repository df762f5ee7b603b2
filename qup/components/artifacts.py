"""What the components give each other, under TFX's names where it has one."""

import hashlib
import pathlib
from typing import Any

import keras

from qup import export, model_files, subjects
from qup.orchestration import Artifact

# TFX's name of the folder that a server can load.
SERVING = "Format-Serving"
_MODEL, _SUBJECT = "model.keras", "subject.json"


class Examples(Artifact):
    """Images and labels, see qup/datasets/examples.py."""


class _Trained(Artifact):
    """What a training made, told apart by weights.

    Its files hold dates and counters, so that equal ones differ in bytes.
    """

    def identity(self) -> list[Any]:
        """Returns what components that read it depend on."""
        return [self.type_name, self.properties]


class Model(_Trained):
    """A network; of a classifier also a SavedModel and its `Subject`."""


class ModelRun(_Trained):
    """history.json, and of a classifier checkpoints/, of a training."""


class Deltas(Artifact):
    """The pairs (X_0, Delta_N), see qup/deltas.py."""


class Trajectory(Artifact):
    """trajectory.json: how many X_n were classified rightly at which n."""


class ModelEvaluation(Artifact):
    """measurements.csv."""


class ModelBlessing(Artifact):
    """BLESSED or NOT_BLESSED, and in blessing.json why."""


class ModelAnalysis(Artifact):
    """measurements.csv, and images.npz of examples."""


class Report(Artifact):
    """measurements.csv, and figures as PNG."""


class PushedModel(Artifact):
    """pushed.json: where the model went."""


def save_classifier(
    classifier: keras.Model, subject: subjects.Subject, model: Model
) -> None:
    """Writes a classifier, for us and for servers, and what it is."""
    save_network(classifier, model)
    subjects.write(subject, model.path / _SUBJECT)
    told = (model.path / _SUBJECT).read_bytes()
    content = f"{model.properties['content']}\0".encode() + told
    model.properties["content"] = hashlib.sha256(content).hexdigest()
    export.save(classifier, model.path / SERVING)
    export.mark(model.path / SERVING, model.properties["content"])


def save_network(network: keras.Model, model: Model) -> None:
    """Writes a network that is no classifier."""
    model_files.save(network, model.path / _MODEL)
    model.properties["content"] = model_files.digest(network)


def load_network(folder: pathlib.Path) -> keras.Model:
    """Returns the network of a `Model`."""
    return model_files.load(folder / _MODEL)


def subject(folder: pathlib.Path) -> subjects.Subject:
    """Returns what the classifier of a `Model` is."""
    return subjects.read(folder / _SUBJECT)
