"""What tells one classifier from another."""

import keras
import numpy as np

from qup.core import hashing
from qup.core.types import LogitsFn


def hash_weights(logits_fn: LogitsFn) -> str | None:
    """Returns SHA-256, in hex, of a model's weights; None of a function's."""
    if not isinstance(logits_fn, keras.Model):
        return None
    return hashing.joined_digest(
        np.ascontiguousarray(weight.numpy()) for weight in logits_fn.weights
    )
