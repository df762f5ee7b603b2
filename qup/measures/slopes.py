"""Gradient norms of differences of logits, sampled in balls around images.

```python
maxima = largest(classifier, given, ball, Sizes(50, 256, 256), "auto")
```
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qup import compilation, draws, errors, gradients, norms
from qup.types import Bounds, LogitsFn

# The norm of a gradient that goes with a norm of a perturbation.
DUAL_NORM = {"l2": "l2", "linf": "l1", "l1": "linf"}


class TargetedExamples(NamedTuple):
    """Images and the differences of logits that are looked at.

    Attributes:
      images: float32 [n, ...].
      labels: int32 [n].
      targets: int32 [n, k], of z_label - z_target.
      ids: int64 [n].
    """

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    ids: np.ndarray


class SampleBall(NamedTuple):
    """Where samples are drawn.

    Attributes:
      norm: Of the perturbation.
      radius: In the units of the pixels.
      bounds: The box to which samples are clipped, or None.
      seed: Drives every sample.
    """

    norm: str
    radius: float
    bounds: Bounds
    seed: int


class SampleSizes(NamedTuple):
    """How much is drawn.

    Attributes:
      num_batches: Batches an image.
      num_samples: Samples a batch.
      batch_size: Samples the classifier is given at a time, of any images.
    """

    num_batches: int
    num_samples: int
    batch_size: int


def compute_logit_gaps(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Returns z_label - z_target: float32 [rows, k].

    Args:
      logits: float32 [rows, classes].
      labels: int32 [rows].
      targets: int32 [rows, k].
    """
    label_logits = tf.gather(logits, labels[:, None], batch_dims=1)
    return label_logits - tf.gather(logits, targets, batch_dims=1)


def compute_max_gradients(
    logits_fn: LogitsFn, examples: TargetedExamples, ball: SampleBall, sizes: SampleSizes, xla: str
) -> np.ndarray:
    """Returns the largest gradient norm of each batch of samples.

    An image's samples depend on the seed, its id and their number alone.

    Args:
      logits_fn: The classifier.
      examples: The images.
      ball: Where samples are drawn.
      sizes: How many.
      xla: "auto", "on" or "off".

    Returns:
      float64 [n, num_batches, k], in the dual norm.

    Raises:
      InputError: The classifier has no gradient, or one that is not finite.
    """
    run = compilation.get_program(
        logits_fn,
        ("slopes", ball.norm, ball.bounds, xla),
        lambda call: _build_gradient_norm_fn(call, ball.norm, ball.bounds, xla),
    )
    num_batches, num_samples, batch_size = sizes
    samples_per_image, (count, classes) = num_batches * num_samples, examples.targets.shape
    columns = [tf.constant(column) for column in examples]
    radius = tf.constant(ball.radius, tf.float32)
    seed = tf.constant(ball.seed, tf.int64)
    maxima = np.zeros((count * num_batches, classes))
    for start in range(0, count * samples_per_image, batch_size):
        # What is too much repeats the last sample.
        sample_indices = np.arange(start, start + batch_size)
        sample_indices = np.minimum(sample_indices, count * samples_per_image - 1)
        row, number = np.divmod(sample_indices, samples_per_image)
        batch = TargetedExamples(*(tf.gather(column, row) for column in columns))
        gradient_norms = run(batch, number, radius, seed).numpy()
        np.maximum.at(maxima, sample_indices // num_samples, gradient_norms)
    if not np.isfinite(maxima).all():
        raise errors.InputError(
            "The classifier's gradient is NaN or infinite near an image. "
            "Look at its layers, or choose a smaller radius."
        )
    return maxima.reshape(count, num_batches, classes)


def _build_gradient_norm_fn(call: LogitsFn, norm: str, bounds: Bounds, xla: str) -> Callable:
    @tf.function(autograph=False, jit_compile=compilation.use_xla(xla))
    def run(examples, number, radius, seed):
        images, labels, targets, ids = examples
        keys = draws.make_keys(seed, ids, number)
        points = images + norms.sample(images, radius, norm, keys)
        if bounds is not None:
            points = tf.clip_by_value(points, *bounds)
        # One pass forward, and one backward for each target.
        _, jacobian = gradients.compute_class_jacobian(
            call, lambda logits: compute_logit_gaps(logits, labels, targets), points
        )
        if jacobian is None:
            raise errors.InputError(
                "The classifier gives no gradient by its input; CLEVER is made of gradients."
            )
        rows, classes = jacobian.shape[:2]
        flat = tf.reshape(jacobian, (rows * classes, -1))
        return tf.reshape(norms.compute_norm(flat, DUAL_NORM[norm]), (rows, classes))

    return run
