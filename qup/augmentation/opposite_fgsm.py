"""Iterated opposite FGSM: Eq. 1 of the supplement.

FGSM raises the loss of the true label; the opposite step lowers it.

```python
x_n = iterate(classifier, images, labels, num_steps=20, step_size=0.02)
```
"""

from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from qup import attacks
from qup.attacks import losses
from qup.core import gradients
from qup.core.classifier import get_classifier_program
from qup.core.types import Bounds, LogitsFn


def iterate(
    logits_fn: LogitsFn,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    num_steps: int,
    step_size: float,
    bounds: Bounds = (0.0, 1.0),
    loss: str = "log_odds",
) -> tf.Tensor:
    """Takes opposite-FGSM steps, which lower the loss of the labels.

    Args:
      logits_fn: The classifier.
      images: float32 [batch, ...], X_n.
      labels: int32 [batch], the true labels Y*.
      num_steps: Number of steps.
      step_size: The supplement's epsilon, in units of [0, 1].
      bounds: Range to which each X_n is clipped; None does not clip, as Eq. 1 is printed.
      loss: "log_odds" (the sign of cross-entropy without its underflow, see attacks.losses) or
        "cross_entropy".

    Returns:
      float32 of the shape of `images`, X_{n + num_steps}.
    """
    bounds = attacks.validate_bounds(bounds)
    run = get_classifier_program(
        logits_fn,
        ("opposite FGSM", bounds, loss),
        lambda call: _build_iterate(call, bounds, losses.get(loss)),
    )
    return run(images, tf.constant(num_steps, tf.int32), labels, tf.constant(step_size, tf.float32))


def iterate_points(
    logits_fn: LogitsFn, images: tf.Tensor, labels: tf.Tensor, points: Sequence[int], **options: Any
) -> Iterator[tf.Tensor]:
    """Yields X_n for each n of the ascending `points`; `options` are those of `iterate`."""
    num_done = 0
    for point in points:
        if point > num_done:
            images = iterate(logits_fn, images, labels, num_steps=point - num_done, **options)
            num_done = point
        yield images


def _build_iterate(call, bounds: Bounds, loss_fn):
    def step(images, labels, step_size):
        _, gradient = gradients.compute_input_gradient(
            lambda inputs: loss_fn(call(inputs), labels), images
        )
        # X_{n+1} = X_n - epsilon sign(grad_X l(f(X_n), Y*))       (S, Eq. 1)
        return attacks.clip(images - step_size * tf.sign(gradient), bounds)

    return attacks.compile_repeated_step(step, "auto")
