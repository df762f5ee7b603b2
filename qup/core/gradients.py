"""The gradient of a loss with respect to the image: the paper's momentum.

The one place where a tape is opened on inputs.
"""

from collections.abc import Callable

import tensorflow as tf

from qup.core.types import LogitsFn


def compute_input_gradient(
    objective: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Differentiates each image's own objective with respect to it.

    The objectives are summed, not averaged, so that an image's gradient
    depends neither on the size of its batch nor on the rows beside it.

    Args:
      objective: Maps images to float32 [batch].
      images: float32 [batch, ...].

    Returns:
      (values, gradients): float32 [batch] and float32 of images' shape.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        values = objective(images)
    gradients = tape.gradient(values, images, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return values, gradients


def differentiate_logits(
    logits_fn: LogitsFn, objective: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
    """Differentiates each image's objective of its logits by the image.

    Args:
      logits_fn: The classifier.
      objective: Maps logits to float32 [batch].
      images: float32 [batch, ...].

    Returns:
      (logits, values, gradients); None for the gradients where the logits
      do not depend on the images in a way that can be differentiated.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        logits = logits_fn(images)
        values = objective(logits)
    return logits, values, tape.gradient(values, images)


def compute_class_jacobian(
    logits_fn: LogitsFn, objectives: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Differentiates several objectives of the logits by the image.

    One forward pass, and one backward pass for each objective.

    Args:
      logits_fn: The classifier.
      objectives: Maps logits to float32 [batch, k], k known when traced.
      images: float32 [batch, ...].

    Returns:
      (logits, jacobian): float32 [batch, num_classes] and
      float32 [batch, k, ...]; None as in `differentiate_logits`.
    """
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(images)
        logits = logits_fn(images)
        columns = tf.unstack(objectives(logits), axis=1)
    class_gradients = [tape.gradient(objective, images) for objective in columns]
    if any(gradient is None for gradient in class_gradients):
        return logits, None
    return logits, tf.stack(class_gradients, axis=1)
