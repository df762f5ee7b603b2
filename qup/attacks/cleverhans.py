"""cleverhans's PGD without a random start, to check `pgd` against.

```python
attack = attacks.get("cleverhans_pgd")
```
"""

import numpy as np
import tensorflow as tf

from qup import attacks
from qup.attacks import inputs, method
from qup.core import compilation, errors, extras, gradients, norms
from qup.core.types import Bounds, LogitsFn

# What cleverhans's attacks are given, checked: it says little itself.


def validate_inputs(
    logits_fn: LogitsFn, images, labels, bounds: Bounds, targeted: bool
) -> tuple[LogitsFn, tf.Tensor, tf.Tensor]:
    """Returns classifier, images and labels as cleverhans can use them.

    Args:
      logits_fn: The classifier; of one of probabilities the logarithms are
        attacked.
      images: float [batch, ...] inside `bounds`.
      labels: int [batch].
      bounds: (lowest, highest) pixel, or None.
      targeted: Whether labels are targets.

    Raises:
      InputError: An argument or a classifier that cannot be used.
    """
    if not isinstance(targeted, bool):
        raise errors.InputError(f"targeted must be True or False; got {targeted!r}.")
    images, labels = inputs.check_batch(images, labels, bounds)
    if not tf.executing_eagerly() or not len(labels):
        return logits_fn, images, labels
    classifier_info = inputs.inspect_classifier(logits_fn, images)
    inputs.check_label_range(labels.numpy(), classifier_info.num_classes)
    is_differentiable = compilation.get_program(
        logits_fn, "has a gradient", lambda call: _has_gradient(call, images[:1])
    )
    if not is_differentiable:
        raise method.make_no_gradient_error()
    return inputs.get_logits_fn(logits_fn, classifier_info), images, labels


def _has_gradient(call: LogitsFn, images: tf.Tensor) -> bool:
    def sum_logits(logits):
        return tf.reduce_sum(logits, -1)

    return gradients.differentiate_logits(call, sum_logits, images)[2] is not None


# cleverhans's FGSM, to check `fgsm` against.
#
# ```python
# attack = attacks.get("cleverhans_fgsm")
# ```


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
    with extras.explain_missing("cleverhans_fgsm"):
        from cleverhans.tf2.attacks import fast_gradient_method

    norms.check_norm(norm)
    inputs.check_number("epsilon", epsilon, least=0)
    low, high = inputs.validate_bounds(bounds) or (None, None)
    logits_fn, images, labels = validate_inputs(logits_fn, images, labels, bounds, targeted)
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
    with extras.explain_missing("cleverhans_pgd"):
        from cleverhans.tf2.attacks import projected_gradient_descent

    norms.check_norm(norm, _PGD_NORMS)
    inputs.check_number("epsilon", epsilon, least=0)
    inputs.check_integer("num_steps", num_steps, least=1)
    low, high = inputs.validate_bounds(bounds) or (None, None)
    logits_fn, images, labels = validate_inputs(logits_fn, images, labels, bounds, targeted)
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


# cleverhans's MI-FGSM, to check `momentum` against.
#
# ```python
# attack = attacks.get("cleverhans_momentum")
# ```


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
    with extras.explain_missing("cleverhans_momentum"):
        from cleverhans.tf2.attacks import momentum_iterative_method

    norms.check_norm(norm, _MOMENTUM_NORMS)
    inputs.check_number("epsilon", epsilon, least=0)
    inputs.check_integer("num_steps", num_steps, least=1)
    low, high = inputs.validate_bounds(bounds) or (None, None)
    logits_fn, images, labels = validate_inputs(logits_fn, images, labels, bounds, targeted)
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
