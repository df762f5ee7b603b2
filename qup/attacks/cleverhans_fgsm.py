"""cleverhans's FGSM, to check `fgsm` against.

```python
attack = attacks.get("cleverhans_fgsm")
```
"""

import numpy as np
import tensorflow as tf

from qup import attacks, norms
from qup.attacks import base, cleverhans_input
from qup.types import Bounds, LogitsFn

NORM_ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}


@attacks.register("cleverhans_fgsm", kind="budget", norms=norms.NAMES, gradients=True)
def cleverhans_fgsm(
    logits_fn: LogitsFn,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    epsilon: float,
    norm: str = "linf",
    bounds: Bounds = (0.0, 1.0),
    targeted: bool = False,
    ids: tf.Tensor | None = None,
) -> tf.Tensor:
    """Runs cleverhans 4's fast_gradient_method.

    Args:
      logits_fn: The classifier.
      images: float32 [batch, ...] inside `bounds`.
      labels: int [batch]; the targets where `targeted`.
      epsilon: Length of the step, in the units of `bounds`.
      norm: "linf", "l2" or "l1".
      bounds: (lowest, highest) pixel; None leaves pixels unclipped.
      targeted: Step down the loss of the targets.
      ids: Not used: nothing is drawn.

    Returns:
      float32 of the shape of `images`.

    Raises:
      InputError: An argument out of its range.

    Reference: Papernot et al. 2018, arXiv 1610.00768.
    """
    from cleverhans.tf2.attacks import fast_gradient_method

    norms.check_norm(norm)
    base.check_number("epsilon", epsilon, least=0)
    low, high = base.validate_bounds(bounds) or (None, None)
    logits_fn, images, labels = cleverhans_input.validate_inputs(
        logits_fn, images, labels, bounds, targeted
    )
    return fast_gradient_method.fast_gradient_method(
        logits_fn,
        images,
        epsilon,
        NORM_ORDERS[norm],
        clip_min=low,
        clip_max=high,
        y=labels,
        targeted=targeted,
    )
