"""What is asked of a classifier, a batch and options before an attack."""

import numpy as np
import tensorflow as tf
from absl import logging

from qup import compilation, errors
from qup.attacks.base import integers
from qup.types import Bounds, LogitsFn


def validate_bounds(bounds) -> Bounds:
    """Returns the pixel box as a tuple, or None.

    Raises:
      InputError: It is not (lowest, highest).
    """
    if bounds is None:
        return None
    try:
        low, high = (float(bound) for bound in bounds)
    except (TypeError, ValueError):
        low = high = 0.0
    if not low < high:
        raise errors.InputError(
            f"bounds must be (lowest, highest), such as (0, 1), or None; got {bounds!r}."
        )
    return low, high


def check_number(name: str, value, *, least: float) -> None:
    """Raises an InputError unless `value` is a number of at least `least`.

    Tensors pass unread: reading one would stop a device.
    """
    if not tf.is_tensor(value):
        errors.check_number(name, value, at_least=least)


def check_batch(images, labels, bounds: Bounds) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns images and labels as tensors an attack can use.

    Args:
      images: float [batch, ...], inside `bounds` to 1e-6, without NaN.
      labels: Integers [batch], none negative.
      bounds: The pixel box, or None.

    Returns:
      (images, labels): float32 [batch, ...] and int32 [batch].

    Raises:
      InputError: A shape, dtype or value that cannot be attacked.
    """
    images, labels = tf.convert_to_tensor(images), tf.convert_to_tensor(labels)
    if not images.dtype.is_floating or images.shape.rank < 2:
        raise errors.InputError(
            "Images must be floating point [batch, ...]; got "
            f"{images.dtype.name} {images.shape}. Divide bytes by 255."
        )
    if not labels.dtype.is_integer or labels.shape != images.shape[:1]:
        raise errors.InputError(
            f"Labels must be integers [{images.shape[0]}], one an image; got "
            f"{labels.dtype.name} {labels.shape}. One-hot labels need an "
            "argmax over the last axis."
        )
    if tf.executing_eagerly():
        check_values(images.numpy(), labels.numpy(), bounds)
    return tf.cast(images, tf.float32), tf.cast(labels, tf.int32)


def check_values(images, labels, bounds: Bounds) -> None:
    """Raises an InputError for pixels or labels that cannot be attacked."""
    if not images.size:
        return
    low, high = images.min(), images.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise errors.InputError("Images hold NaN or infinite values.")
    if bounds and (low < bounds[0] - 1e-6 or high > bounds[1] + 1e-6):
        raise errors.InputError(
            f"Images reach from {low:.4g} to {high:.4g}, outside the bounds "
            f"{tuple(bounds)}. Rescale them, or pass bounds=None."
        )
    integers.check_class_numbers("Labels", labels)


class ClassifierInfo:
    """What a classifier answers to its first batch.

    Attributes:
      num_classes: Number of logits.
      probabilities: The rows sum to one: a softmax was left in.
    """

    def __init__(self, logits_fn: LogitsFn, images: tf.Tensor):
        """Asks once.

        Args:
          logits_fn: The classifier.
          images: float32 [batch, ...].

        Raises:
          InputError: The answer is not [batch, classes], or not finite.
        """
        logits = compilation.predict(logits_fn, images).numpy()
        if logits.ndim != 2 or len(logits) != len(images):
            raise errors.InputError(
                f"The classifier must map images {images.shape} to logits "
                f"[{len(images)}, classes]; got {logits.shape}."
            )
        if not np.isfinite(logits).all():
            raise errors.InputError(
                "The classifier answers NaN or infinite logits to clean "
                "images. Look at its training, or at the range of its input."
            )
        self.num_classes = logits.shape[1]
        self.probabilities = bool(
            logits.min() >= 0 and logits.shape[1] > 1 and np.abs(logits.sum(1) - 1).max() < 1e-4
        )
        if self.probabilities:
            logging.warning(
                "The classifier answers probabilities, not logits; their "
                "logarithm is attacked. A softmax in float32 hides small "
                "gradients: give the logits where you can."
            )


def inspect_classifier(logits_fn: LogitsFn, images: tf.Tensor) -> ClassifierInfo:
    """Returns what the classifier answers, from memory after the first call."""
    return compilation.get_program(
        logits_fn, "answers", lambda _: ClassifierInfo(logits_fn, images)
    )


def check_label_range(labels: np.ndarray, num_classes: int, name: str = "Labels") -> None:
    """Raises an InputError where a label is no class of the classifier."""
    if labels.size and labels.max() >= num_classes:
        raise errors.InputError(
            f"{name} reach {labels.max()}, but the classifier has "
            f"{num_classes} classes, 0 to {num_classes - 1}."
        )


def convert_to_logits(call: LogitsFn, probabilities: bool) -> LogitsFn:
    """Returns a function of logits where `call` gives probabilities.

    A logarithm has its softmax unchanged, and every loss here is one of
    logits up to a constant of each row.
    """
    if not probabilities:
        return call
    tiny = np.finfo(np.float32).tiny
    return lambda images: tf.math.log(tf.maximum(call(images), tiny))


def get_logits_fn(logits_fn: LogitsFn, classifier_info: ClassifierInfo) -> LogitsFn:
    """Returns a classifier of logits, the same object at every call."""
    if not classifier_info.probabilities:
        return logits_fn
    return compilation.get_program(
        logits_fn, "logits of probabilities", lambda call: convert_to_logits(call, True)
    )
