"""What gradient attacks share: the problem, one step, the checks.

An attack is composed of an initial image, a step and a number of steps;
every scalar in a compiled step is a tensor, so that a sweep over epsilon,
step size or number of steps compiles nothing again.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from qup import compilation, errors, gradients, norms
from qup.attacks import losses
from qup.types import Bounds, LogitsFn


def ascent(
    logits_fn: LogitsFn, norm: str, loss: str, targeted: bool
) -> Callable:
    """Returns the direction of steepest ascent in the unit ball of `norm`.

    Args:
      logits_fn: The classifier.
      norm: "linf" or "l2".
      loss: Name in `losses`.
      targeted: Labels are targets, whose loss falls instead of rising.

    Returns:
      direction(images, labels) -> float32 of images' shape; for "linf" it
      is sign(grad_X l(f(X), Y)), of Eqs. 1 and 23.
    """
    value = losses.get(loss)
    sign = -1.0 if targeted else 1.0

    def direction(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        _, gradient = gradients.input_gradient(
            lambda inputs: sign * value(logits_fn(inputs), labels), images
        )
        return norms.normalise(gradient, norm)

    return direction


def repeated(step: Callable, xla: str) -> Callable:
    """Compiles `step` and returns the function that repeats it.

    XLA compiles the loop as a whole. Without XLA the step is compiled and
    the loop is Python's: TensorFlow's own runs a small network's steps 10
    to 15 % slower on a CPU, because it does not optimise a loop's body.

    Args:
      step: step(images, *rest) -> images, of tensors.
      xla: "auto", "on" or "off".

    Returns:
      run(images, num_steps, *rest) -> images.
    """
    compiled = tf.function(step, autograph=False, reduce_retracing=True)

    def in_graph(images, num_steps, *rest):
        _, end = tf.while_loop(
            lambda i, _: i < num_steps,
            lambda i, current: (i + 1, compiled(current, *rest)),
            (tf.constant(0), images),
            shape_invariants=(tf.TensorShape([]), images.shape),
            parallel_iterations=1,
        )
        return end

    if compilation.use_xla(xla):
        return tf.function(
            in_graph, autograph=False, jit_compile=True, reduce_retracing=True
        )

    def run(images, num_steps, *rest):
        if not tf.executing_eagerly():
            return in_graph(images, num_steps, *rest)
        for _ in range(int(num_steps)):
            images = compiled(images, *rest)
        return images

    return run


def clip(images: tf.Tensor, bounds: Bounds) -> tf.Tensor:
    """Returns `images` within `bounds`; unchanged where that is None."""
    return images if bounds is None else tf.clip_by_value(images, *bounds)


def checked_bounds(bounds) -> Bounds:
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
            "bounds must be (lowest, highest), such as (0, 1), or None; got "
            f"{bounds!r}."
        )
    return low, high


def check_number(name: str, value, *, least: float) -> None:
    """Raises an InputError unless `value` is a number of at least `least`.

    Tensors pass unread: reading one would stop a device.
    """
    if not tf.is_tensor(value):
        errors.check_number(name, value, least=least)


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
        _check_values(images.numpy(), labels.numpy(), bounds)
    return tf.cast(images, tf.float32), tf.cast(labels, tf.int32)


def _check_values(images, labels, bounds: Bounds) -> None:
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
    if labels.min() < 0:
        raise errors.InputError(
            f"Labels must not be negative; got {labels.min()}."
        )
