"""Training that goes on after a kill: classifiers and translators."""

from qup.training.classifier import fit_classifier
from qup.training.translator import fit_translator

__all__ = ["fit_classifier", "fit_translator"]
