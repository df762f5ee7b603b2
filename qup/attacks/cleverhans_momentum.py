"""cleverhans's MI-FGSM, to check `momentum` against.

```python
attack = attacks.get("cleverhans_momentum")
```
"""

import tensorflow as tf

from qup import attacks, norms
from qup.attacks import base, cleverhans_input
from qup.attacks.base import integers
from qup.attacks.cleverhans_fgsm import NORM_ORDERS
from qup.types import Bounds, LogitsFn

_MOMENTUM_NORMS = ("linf", "l2")


@attacks.register("cleverhans_momentum", kind="budget", norms=_MOMENTUM_NORMS, gradients=True)
def cleverhans_momentum(
    logits_fn: LogitsFn,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    epsilon: float,
    num_steps: int = 10,
    step_size: float | None = None,
    decay: float = 1.0,
    norm: str = "linf",
    bounds: Bounds = (0.0, 1.0),
    targeted: bool = False,
    ids: tf.Tensor | None = None,
) -> tf.Tensor:
    """Runs cleverhans 4's momentum_iterative_method.

    Args:
      logits_fn: The classifier.
      images: float32 [batch, ...] inside `bounds`.
      labels: int [batch]; the targets where `targeted`.
      epsilon: Radius of the ball, in the units of `bounds`.
      num_steps: Number of steps.
      step_size: Length of a step; None means epsilon / num_steps.
      decay: Factor of the sum of gradients at each step.
      norm: "linf" or "l2".
      bounds: (lowest, highest) pixel; None leaves pixels unclipped.
      targeted: Descend the loss of the targets.
      ids: Not used: nothing is drawn.

    Returns:
      float32 of the shape of `images`.

    Raises:
      InputError: An argument out of its range.

    Reference: Papernot et al. 2018, arXiv 1610.00768.
    """
    from cleverhans.tf2.attacks import momentum_iterative_method

    norms.check_norm(norm, _MOMENTUM_NORMS)
    base.check_number("epsilon", epsilon, least=0)
    integers.check_integer("num_steps", num_steps, least=1)
    low, high = base.validate_bounds(bounds) or (None, None)
    logits_fn, images, labels = cleverhans_input.validate_inputs(
        logits_fn, images, labels, bounds, targeted
    )
    step_size_or_default = epsilon / num_steps if step_size is None else step_size
    return momentum_iterative_method.momentum_iterative_method(
        logits_fn,
        images,
        epsilon,
        step_size_or_default,
        num_steps,
        NORM_ORDERS[norm],
        clip_min=low,
        clip_max=high,
        y=labels,
        targeted=targeted,
        decay_factor=decay,
        sanity_checks=False,
    )
