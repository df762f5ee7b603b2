"""What cleverhans's attacks are given, checked: it says little itself."""

import tensorflow as tf

from qup import compilation, errors, gradients
from qup.attacks import base
from qup.attacks.base import checks, victim
from qup.types import Bounds, LogitsFn


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
    images, labels = base.check_batch(images, labels, bounds)
    if not tf.executing_eagerly() or not len(labels):
        return logits_fn, images, labels
    classifier_info = checks.inspect_classifier(logits_fn, images)
    checks.check_label_range(labels.numpy(), classifier_info.num_classes)
    is_differentiable = compilation.get_program(
        logits_fn, "has a gradient", lambda call: _has_gradient(call, images[:1])
    )
    if not is_differentiable:
        raise victim.make_no_gradient_error()
    return checks.get_logits_fn(logits_fn, classifier_info), images, labels


def _has_gradient(call: LogitsFn, images: tf.Tensor) -> bool:
    def sum_logits(logits):
        return tf.reduce_sum(logits, -1)

    return gradients.differentiate_logits(call, sum_logits, images)[2] is not None
