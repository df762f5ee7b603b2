"""Training that goes on after a kill: classifiers, and the loop of all."""

from qup.training.classifier import Adversary, fit_classifier
from qup.training.history import History
from qup.training.loop import EpochHook

__all__ = ["Adversary", "EpochHook", "History", "fit_classifier"]
