"""The attacks of cleverhans 4, as references for `fgsm`, `pgd4` and `momentum`.

```python
adversarial = attacks.get("cleverhans_pgd")(classifier, images, labels, epsilon=0.1)
```

Reference: Papernot et al. 2018, arXiv 1610.00768.
"""

import numpy as np
import tensorflow as tf

from qup import attacks
from qup.attacks import inputs, method
from qup.core import errors, extras, gradients, norms
from qup.core.classifier import get_classifier_program, inspect_classifier, wrap_classifier
from qup.core.types import Bounds, LogitsFn

_NORM_ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}
_ITERATIVE_NORMS = ("linf", "l2")


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
    """Runs fast_gradient_method with the options of `fgsm`; `ids` is not used."""
    with extras.explain_missing("cleverhans_fgsm"):
        from cleverhans.tf2.attacks import fast_gradient_method

    norms.check_norm(norm)
    inputs.check_number("epsilon", epsilon, least=0)
    logits_fn, images, options = _prepare(logits_fn, images, labels, bounds, targeted)
    return fast_gradient_method.fast_gradient_method(
        logits_fn, images, epsilon, _NORM_ORDERS[norm], **options
    )


@attacks.register("cleverhans_pgd", kind="budget", norms=_ITERATIVE_NORMS, gradients=True)
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
    """Runs projected_gradient_descent with the options of `pgd4`; `ids` is not used."""
    with extras.explain_missing("cleverhans_pgd"):
        from cleverhans.tf2.attacks import projected_gradient_descent

    norms.check_norm(norm, _ITERATIVE_NORMS)
    inputs.check_number("epsilon", epsilon, least=0)
    inputs.check_integer("num_steps", num_steps, least=1)
    logits_fn, images, options = _prepare(logits_fn, images, labels, bounds, targeted)
    step_size = epsilon / num_steps if step_size is None else step_size
    # cleverhans refuses steps longer than the radius, which end at the radius anyway.
    return projected_gradient_descent.projected_gradient_descent(
        logits_fn,
        images,
        epsilon,
        min(step_size, epsilon),
        num_steps,
        _NORM_ORDERS[norm],
        rand_init=False,
        sanity_checks=False,
        **options,
    )


@attacks.register("cleverhans_momentum", kind="budget", norms=_ITERATIVE_NORMS, gradients=True)
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
    """Runs momentum_iterative_method with the options of `momentum`; `ids` is not used."""
    with extras.explain_missing("cleverhans_momentum"):
        from cleverhans.tf2.attacks import momentum_iterative_method

    norms.check_norm(norm, _ITERATIVE_NORMS)
    inputs.check_number("epsilon", epsilon, least=0)
    inputs.check_integer("num_steps", num_steps, least=1)
    logits_fn, images, options = _prepare(logits_fn, images, labels, bounds, targeted)
    step_size = epsilon / num_steps if step_size is None else step_size
    return momentum_iterative_method.momentum_iterative_method(
        logits_fn,
        images,
        epsilon,
        step_size,
        num_steps,
        _NORM_ORDERS[norm],
        decay_factor=decay,
        sanity_checks=False,
        **options,
    )


def _prepare(
    logits_fn: LogitsFn, images, labels, bounds: Bounds, targeted: bool
) -> tuple[LogitsFn, tf.Tensor, dict]:
    """Checks the arguments, because cleverhans does not.

    Args:
      logits_fn: The classifier; if it returns probabilities, their logarithms are attacked.
      images: float [batch, ...] inside `bounds`.
      labels: int [batch].
      bounds: (lowest, highest) pixel value, or None.
      targeted: Whether labels are targets.

    Returns:
      The classifier, the images, and keyword arguments that all attacks of cleverhans share.

    Raises:
      InputError: An argument or the classifier cannot be used.
    """
    low, high = inputs.validate_bounds(bounds) or (None, None)
    if not isinstance(targeted, bool):
        raise errors.InputError(f"targeted must be True or False; got {targeted!r}.")
    images, labels = inputs.check_batch(images, labels, bounds)
    options = {"clip_min": low, "clip_max": high, "y": labels, "targeted": targeted}
    if not tf.executing_eagerly() or not len(labels):
        return logits_fn, images, options
    classifier_info = inspect_classifier(logits_fn, images)
    inputs.check_label_range(labels.numpy(), classifier_info.num_classes)
    is_differentiable = get_classifier_program(
        logits_fn, "has a gradient", lambda call: _has_gradient(call, images[:1])
    )
    if not is_differentiable:
        raise method.make_no_gradient_error()
    return wrap_classifier(logits_fn), images, options


def _has_gradient(call: LogitsFn, images: tf.Tensor) -> bool:
    def sum_logits(logits):
        return tf.reduce_sum(logits, -1)

    return gradients.differentiate_logits(call, sum_logits, images)[2] is not None
