"""Training that resumes after an interruption."""

from qup.training.classifier import Adversary, fit_classifier, list_optimizers
from qup.training.history import History
from qup.training.loop import EpochHook

__all__ = ["Adversary", "EpochHook", "History", "fit_classifier", "list_optimizers"]
