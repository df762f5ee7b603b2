"""cleverhans's PGD without a random start, to check `pgd` against.

```python
attack = attacks.get("cleverhans_pgd")
```
"""

import tensorflow as tf

from qup import attacks, norms
from qup.attacks import base, cleverhans_input
from qup.attacks.base import integers
from qup.attacks.cleverhans_fgsm import NORM_ORDERS
from qup.types import Bounds, LogitsFn

_PGD_NORMS = ("linf", "l2")


@attacks.register("cleverhans_pgd", kind="budget", norms=_PGD_NORMS, gradients=True)
def cleverhans_pgd(
    logits_fn: LogitsFn,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    epsilon: float,
    num_steps: int = 4,
    step_size: float | None = None,
    norm: str = "linf",
    bounds: Bounds = (0.0, 1.0),
    targeted: bool = False,
    ids: tf.Tensor | None = None,
) -> tf.Tensor:
    """Runs cleverhans 4's projected_gradient_descent.

    Args:
      logits_fn: The classifier.
      images: float32 [batch, ...] inside `bounds`.
      labels: int [batch]; the targets where `targeted`.
      epsilon: Radius of the ball, in the units of `bounds`.
      num_steps: Number of steps.
      step_size: Length of a step; None means epsilon / num_steps.
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
    from cleverhans.tf2.attacks import projected_gradient_descent

    norms.check_norm(norm, _PGD_NORMS)
    base.check_number("epsilon", epsilon, least=0)
    integers.check_integer("num_steps", num_steps, least=1)
    low, high = base.validate_bounds(bounds) or (None, None)
    logits_fn, images, labels = cleverhans_input.validate_inputs(
        logits_fn, images, labels, bounds, targeted
    )
    step_size_or_default = epsilon / num_steps if step_size is None else step_size
    # It refuses steps longer than the ball's radius, which end at the
    # radius anyway.
    return projected_gradient_descent.projected_gradient_descent(
        logits_fn,
        images,
        epsilon,
        min(step_size_or_default, epsilon),
        num_steps,
        NORM_ORDERS[norm],
        clip_min=low,
        clip_max=high,
        y=labels,
        targeted=targeted,
        rand_init=False,
        sanity_checks=False,
    )
