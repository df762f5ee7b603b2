"""The gradient of a loss with respect to the image: the paper's momentum.

The one place where a tape is opened on inputs.
"""

from collections.abc import Callable

import tensorflow as tf


def input_gradient(
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
    gradients = tape.gradient(
        values, images, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return values, gradients
