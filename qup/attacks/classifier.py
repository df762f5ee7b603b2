"""What an attack has to know about a classifier: its number of classes, logits or probabilities."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from qup.core import compilation, errors
from qup.core.types import LogitsFn


class ClassifierInfo(NamedTuple):
    """What the logits of the first batch show.

    Attributes:
      num_classes: Number of logits.
      probabilities: Whether the rows sum to one, that is, the classifier ends in a softmax.
    """

    num_classes: int
    probabilities: bool


def inspect_classifier(logits_fn: LogitsFn, images: tf.Tensor) -> ClassifierInfo:
    """Evaluates the classifier once and caches what its logits show.

    Raises:
      InputError: The logits are not [batch, classes], or not finite.
    """
    return compilation.get_program(
        logits_fn, "classifier info", lambda _: _inspect_logits(logits_fn, images)
    )


def _inspect_logits(logits_fn: LogitsFn, images: tf.Tensor) -> ClassifierInfo:
    logits = compilation.predict(logits_fn, images).numpy()
    if logits.ndim != 2 or len(logits) != len(images):
        raise errors.InputError(
            f"The classifier must map images {tuple(images.shape)} to logits [{len(images)}, "
            f"classes]; got {logits.shape}."
        )
    if not np.isfinite(logits).all():
        raise errors.InputError(
            "The classifier returns NaN or infinite logits for clean images. Check its training "
            "and the range of its input."
        )
    probabilities = bool(
        logits.min() >= 0 and logits.shape[1] > 1 and np.abs(logits.sum(1) - 1).max() < 1e-4
    )
    if probabilities:
        logging.warning(
            "The classifier returns probabilities, not logits. Their logarithm is attacked. A "
            "softmax in float32 hides small gradients: return logits if possible."
        )
    return ClassifierInfo(logits.shape[1], probabilities)


def convert_to_logits(call: LogitsFn, probabilities: bool) -> LogitsFn:
    """Returns `call`, or its logarithm if it returns probabilities.

    The softmax of the logarithm equals the probabilities, and all losses here depend on the logits
    only up to a constant per row.
    """
    if not probabilities:
        return call
    tiny = np.finfo(np.float32).tiny
    return lambda images: tf.math.log(tf.maximum(call(images), tiny))


def get_logits_fn(logits_fn: LogitsFn, classifier_info: ClassifierInfo) -> LogitsFn:
    """Returns a classifier that returns logits, the same object at every call."""
    if not classifier_info.probabilities:
        return logits_fn
    return compilation.get_program(
        logits_fn, "logits of probabilities", lambda call: convert_to_logits(call, True)
    )
