"""The classifier as an attack sees it: what it answers, and how often asked.

One gradient is one forward and one backward pass, and counts as one
gradient call; a Jacobian of k classes counts k.
"""

from collections.abc import Callable

import tensorflow as tf

from qup import errors, gradients
from qup.types import LogitsFn


class QueryCounter:
    """A classifier under attack.

    Calls are counted while a step is traced, for each example: a call on a
    batch of p times as many rows counts p.
    """

    def __init__(self, logits_fn: LogitsFn, batch_size: int):
        """Makes a victim.

        Args:
          logits_fn: Image to logits.
          batch_size: Number of examples a batch.
        """
        self._logits_fn = logits_fn
        self._batch_size = batch_size
        self.forward_calls = 0.0
        self.gradient_calls = 0.0

    def logits(self, images: tf.Tensor) -> tf.Tensor:
        """Returns logits, float32 [rows, classes]; one forward call."""
        self.forward_calls += images.shape[0] / self._batch_size
        return self._logits_fn(images)

    def gradient(
        self, objective: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Differentiates an objective of the logits by the images.

        Args:
          objective: logits float32 [rows, classes] -> float32 [rows].
          images: float32 [rows, ...].

        Returns:
          (logits, values, gradients), at `images`.

        Raises:
          InputError: The classifier has no gradient.
        """
        self.gradient_calls += images.shape[0] / self._batch_size
        logits, values, input_gradients = gradients.differentiate_logits(
            self._logits_fn, objective, images
        )
        if input_gradients is None:
            raise make_no_gradient_error()
        return logits, values, input_gradients

    def jacobian(
        self, images: tf.Tensor, classes: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Differentiates several logits by the images.

        Args:
          images: float32 [rows, ...].
          classes: int32 [rows, k], which logits of each row; None for all.

        Returns:
          (logits, jacobian): float32 [rows, num_classes] and
          float32 [rows, k, ...].

        Raises:
          InputError: The classifier has no gradient.
        """
        return self.gradients(
            images,
            lambda logits: logits if classes is None else tf.gather(logits, classes, batch_dims=1),
        )

    def gradients(
        self, images: tf.Tensor, objectives: Callable[[tf.Tensor], tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Differentiates several objectives of the logits by the images.

        Args:
          images: float32 [rows, ...].
          objectives: logits -> float32 [rows, k].

        Returns:
          (logits, slopes): float32 [rows, num_classes] and
          float32 [rows, k, ...]; k gradient calls.

        Raises:
          InputError: The classifier has no gradient.
        """
        logits, input_gradients = gradients.compute_class_jacobian(
            self._logits_fn, objectives, images
        )
        if input_gradients is None:
            raise make_no_gradient_error()
        self.gradient_calls += input_gradients.shape[1] * images.shape[0] / self._batch_size
        return logits, input_gradients


def make_no_gradient_error() -> errors.InputError:
    """Returns the error for a classifier that cannot be differentiated."""
    return errors.InputError(
        "The classifier gives no gradient by its input: something in it is "
        "not differentiable (NumPy code, a cast to integers, rounding). "
        "Attack it with square, one_pixel or spsa, which need none."
    )


def adversarial(logits: tf.Tensor, labels: tf.Tensor, targeted: bool) -> tf.Tensor:
    """Marks the rows whose attack has succeeded.

    Args:
      logits: float32 [batch, classes].
      labels: int32 [batch], true classes or targets.
      targeted: Success is the target's class, not any but the true one.

    Returns:
      bool [batch]; False where the logits hold NaN, which are no class.
    """
    is_label = tf.argmax(logits, -1, tf.int32) == labels
    return has_no_nan(logits) & (is_label if targeted else ~is_label)


def has_no_nan(logits: tf.Tensor) -> tf.Tensor:
    """Marks the rows without NaN: bool [batch]."""
    return ~tf.reduce_any(tf.math.is_nan(logits), -1)
