"""What the components give each other, under TFX's names where it has one."""

import pathlib

import keras

from qup import export, model_files, subjects
from qup.orchestration import Artifact

# TFX's name of the folder that a server can load.
SERVING = "Format-Serving"
_MODEL, _SUBJECT = "model.keras", "subject.json"


class Examples(Artifact):
    """Images and labels, see qup/datasets/examples.py."""


class Model(Artifact):
    """A network; of a classifier also a SavedModel and its `Subject`."""


class ModelRun(Artifact):
    """history.json and checkpoints/ of a training."""


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
    classifier: keras.Model, subject: subjects.Subject, folder: pathlib.Path
) -> None:
    """Writes a classifier, for us and for servers, and what it is."""
    model_files.save(classifier, folder / _MODEL)
    export.save(classifier, folder / SERVING)
    subjects.write(subject, folder / _SUBJECT)


def save_network(network: keras.Model, folder: pathlib.Path) -> None:
    """Writes a network that is no classifier."""
    model_files.save(network, folder / _MODEL)


def load_network(folder: pathlib.Path) -> keras.Model:
    """Returns the network of a `Model`."""
    return model_files.load(folder / _MODEL)


def subject(folder: pathlib.Path) -> subjects.Subject:
    """Returns what the classifier of a `Model` is."""
    return subjects.read(folder / _SUBJECT)
