"""The Fast Gradient Sign Method: Eq. 1 of the paper.

```python
attacked = fgsm(classifier, images, labels, epsilon=8 / 255)
```
"""

import tensorflow as tf

from qup import attacks, compilation, norms
from qup.attacks import base, losses
from qup.types import Bounds, LogitsFn


@attacks.register(kind="budget", norms=norms.NAMES, gradients=True)
def fgsm(
    logits_fn: LogitsFn,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    epsilon: float,
    norm: str = "linf",
    bounds: Bounds = (0.0, 1.0),
    targeted: bool = False,
    loss: str = "cross_entropy",
    xla: str = "auto",
) -> tf.Tensor:
    """Takes one step of length `epsilon` up the loss.

    Args:
      logits_fn: The classifier, image to logits.
      images: float32 [batch, ...] inside `bounds`.
      labels: int [batch]; the targets where `targeted`.
      epsilon: Length of the step in `norm`, in the units of `bounds`.
      norm: "linf" (Eq. 1) or "l2".
      bounds: (lowest, highest) pixel; None leaves pixels unclipped.
      targeted: Step down the loss of the targets instead.
      loss: "cross_entropy" or "log_odds".
      xla: "auto", "on" or "off".

    Returns:
      float32 of the shape of `images`.

    Raises:
      InputError: An argument out of its range.

    Reference: Goodfellow, Shlens, Szegedy 2015, arXiv 1412.6572.
    """
    norms.check(norm)
    losses.get(loss)
    base.check_number("epsilon", epsilon, least=0)
    bounds = base.checked_bounds(bounds)
    images, labels = base.check_batch(images, labels, bounds)
    run = compilation.program(
        logits_fn,
        ("fgsm", norm, bounds, targeted, loss, xla),
        lambda call: _build(
            base.ascent(call, norm, loss, targeted), bounds, xla
        ),
    )
    return run(images, labels, tf.cast(epsilon, tf.float32))


def _build(direction, bounds: Bounds, xla: str):
    @tf.function(
        autograph=False,
        jit_compile=compilation.use_xla(xla),
        reduce_retracing=True,
    )
    def run(images, labels, epsilon):
        # X = X_0 + epsilon sign(grad_X l(f(X), Y*)) at X = X_0     (Eq. 1)
        return base.clip(images + epsilon * direction(images, labels), bounds)

    return run
