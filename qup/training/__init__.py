"""Training that goes on after a kill: classifiers, and the loop of all."""

from qup.training.classifier import fit_classifier
from qup.training.history import History

__all__ = ["History", "fit_classifier"]
