"""Gradients with respect to the image, which are the paper's momentum.

Only this module opens a gradient tape on inputs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from qup.core.types import LogitsFn


def compute_input_gradient(
    objective: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Differentiates each image's objective with respect to that image.

    The objectives are summed, not averaged: an image's gradient depends neither on the batch size
    nor on the other images.

    Args:
      objective: Maps images to float32 [batch].
      images: float32 [batch, ...].

    Returns:
      (values, gradients): float32 [batch], and float32 [batch, ...]. The gradient is zero where
      the objective does not depend on the images.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        values = objective(images)
    gradients = tape.gradient(values, images, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return values, gradients


def differentiate_logits(
    logits_fn: LogitsFn, objective: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
    """Differentiates an objective of the logits with respect to the images.

    Args:
      logits_fn: The classifier.
      objective: Maps logits to float32 [batch].
      images: float32 [batch, ...].

    Returns:
      (logits, values, gradients); gradients is None if the logits are not differentiable. NaN and
      infinite elements are 0: `Classifier.probe` warns of them.
    """
    logits, values, gradient = differentiate_raw(logits_fn, objective, images)
    return logits, values, replace_non_finite(gradient)


def differentiate_raw(
    logits_fn: LogitsFn, objective: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
    """Returns what `differentiate_logits` returns, with NaN and infinite elements."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        logits = logits_fn(images)
        values = objective(logits)
    return logits, values, _compute_gradient(tape, values, images)


def _compute_gradient(tape: tf.GradientTape, values: tf.Tensor, images: tf.Tensor):
    """Returns the gradient, or None if an operation between them has none."""
    try:
        return tape.gradient(values, images)
    except LookupError:  # No gradient is registered for an operation.
        return None


def differentiate_jointly(
    objective: Callable[[], tf.Tensor], images: tf.Tensor, variables: Sequence[Any]
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor | None]]:
    """Differentiates a number with respect to images and weights, in one backward pass.

    Args:
      objective: Returns a float32 scalar, a function of `images` and `variables`.
      images: float32 [batch, ...].
      variables: The weights.

    Returns:
      (value, image_gradient, variable_gradients): the gradient of the images is float32
      [batch, ...], with 0 in place of NaN and infinite elements; those of the weights may be None.
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        value = objective()
    image_gradient, *variable_gradients = tape.gradient(value, [images, *variables])
    if image_gradient is None:
        image_gradient = tf.zeros_like(images)
    return value, replace_non_finite(image_gradient), variable_gradients


def replace_non_finite(gradient: tf.Tensor | None) -> tf.Tensor | None:
    """Returns the gradient with 0 in place of NaN and infinite elements."""
    if gradient is None:
        return None
    is_finite = tf.cast(tf.math.is_finite(gradient), gradient.dtype)
    return tf.math.multiply_no_nan(gradient, is_finite)


def compute_class_jacobian(
    logits_fn: LogitsFn,
    objectives: Callable[[tf.Tensor], tf.Tensor],
    images: tf.Tensor,
    *,
    keep_non_finite: bool = False,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Differentiates k objectives of the logits: one forward pass, k backward passes.

    Args:
      logits_fn: The classifier.
      objectives: Maps logits to float32 [batch, k]; k is static.
      images: float32 [batch, ...].
      keep_non_finite: Whether NaN and infinite elements stay; otherwise they are 0.

    Returns:
      (logits, jacobian): float32 [batch, num_classes] and float32 [batch, k, ...]; jacobian is
      None if the logits are not differentiable.
    """
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(images)
        logits = logits_fn(images)
        columns = tf.unstack(objectives(logits), axis=1)
    class_gradients = [_compute_gradient(tape, objective, images) for objective in columns]
    if any(gradient is None for gradient in class_gradients):
        return logits, None
    jacobian = tf.stack(class_gradients, axis=1)
    return logits, jacobian if keep_non_finite else replace_non_finite(jacobian)
