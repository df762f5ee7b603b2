"""The rules of success: one verifier for every attack, built in or the user's.

An attack has broken an image if the classifier, in float32 and at the batch size of the call, gives
the attacked image another class than its label (or the target), and the image obeys the rules: its
pixels are finite, inside the box and inside the ball. An image that breaks a rule counts as not
attacked. An image that is misclassified as it is counts as broken, whatever an attack returns.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qup.attacks import losses
from qup.attacks.inputs import iterate_padded_rows
from qup.attacks.method import get_box_width, has_no_nan
from qup.core import norms
from qup.core.classifier import get_classifier_program
from qup.core.types import Bounds, LogitsFn

DISTANCE_NORMS = ("l0", "l1", "l2", "linf")
# What rounding may add to a perturbation that is projected to its budget, and to a pixel relative
# to the width of the box.
EPSILON_RTOL, EPSILON_ATOL, BOUNDS_RTOL = 1e-5, 1e-7, 1e-6
# Rules that an attacked image breaks, as bits.
NOT_FINITE, OUTSIDE_BOX, OUTSIDE_BALL, NAN_LOGITS = 1, 2, 4, 8


class Verification(NamedTuple):
    """The classification of attacked images, one value per example.

    Attributes:
      adversarial: bool [n], misclassified, or classified as the target, and no rule is broken.
      correct: bool [n], classified as the label, and no rule is broken.
      distances: float64 [n] per norm, from the clean images. "l0" counts elements (height x width
        x channels), not pixels.
      classes: int32 [n], the predicted classes.
      margins: float32 [n], the logit of the label minus the largest other logit.
      is_saturated: bool [n], whether the probability of the label is 1 in float32. Then the
        gradient of the cross-entropy has lost the part of the label, p_y - 1.
      violations: int8 [n], the rules that are broken, as bits.
    """

    adversarial: np.ndarray
    correct: np.ndarray
    distances: dict[str, np.ndarray]
    classes: np.ndarray
    margins: np.ndarray
    is_saturated: np.ndarray
    violations: np.ndarray


def is_within_budget(distances: np.ndarray, epsilon: np.ndarray) -> np.ndarray:
    """Returns bool [n]: whether a distance is inside its budget; NaN means no budget."""
    return np.isnan(epsilon) | (distances <= epsilon * (1 + EPSILON_RTOL) + EPSILON_ATOL)


def verify_images(
    logits_fn: LogitsFn,
    clean: np.ndarray,
    perturbed: np.ndarray,
    labels: np.ndarray,
    *,
    targeted: bool,
    batch_size: int,
    bounds: Bounds = None,
    norm: str = "linf",
    epsilon: np.ndarray | None = None,
) -> Verification:
    """Classifies attacked images, measures their distances and checks the rules.

    Args:
      logits_fn: The classifier.
      clean: float32 [n, ...].
      perturbed: float32 [n, ...].
      labels: int32 [n], true classes or targets.
      targeted: Success means the class of the label, not any other class.
      batch_size: Rows per batch; the last batch is padded.
      bounds: The box, (lowest, highest) pixel; None for none.
      norm: The norm of the ball.
      epsilon: float32 [n], its radius, NaN for none; None for no ball at all.
    """
    width = get_box_width(bounds)
    verify = get_classifier_program(
        logits_fn, ("verification", width), lambda call: _build_verification(call, width)
    )
    columns: list[list[np.ndarray]] = []
    for rows, num_real in iterate_padded_rows(len(labels), batch_size):
        outputs = verify(clean[rows], perturbed[rows], labels[rows])
        columns.append([output.numpy()[:num_real] for output in outputs])
    if not columns:
        distances = dict.fromkeys(DISTANCE_NORMS, np.zeros(0))
        none, types = np.zeros(0, bool), (np.int32, np.float32, bool, np.int8)
        return Verification(none, none, distances, *(np.zeros(0, t) for t in types))
    no_nan, distances, classes, margins, is_saturated = (
        np.concatenate(chunks) for chunks in zip(*columns, strict=True)
    )
    distances = dict(zip(DISTANCE_NORMS, distances.T.astype(np.float64), strict=True))
    violations = _find_violations(perturbed, bounds)
    # The logits of an image that is not finite say nothing.
    violations |= np.where(~no_nan & ~(violations & NOT_FINITE).astype(bool), NAN_LOGITS, 0)
    if epsilon is not None:
        outside = ~is_within_budget(distances[norm], epsilon) & np.isfinite(distances[norm])
        violations |= np.where(outside, OUTSIDE_BALL, 0)
    violations = violations.astype(np.int8)
    is_valid, is_label = violations == 0, classes == labels
    correct, incorrect = is_label & is_valid, ~is_label & is_valid
    adversarial = correct if targeted else incorrect
    return Verification(adversarial, correct, distances, classes, margins, is_saturated, violations)


def _find_violations(perturbed: np.ndarray, bounds: Bounds) -> np.ndarray:
    """Returns the rules that pixels break, int [n]."""
    pixels = perturbed.reshape(len(perturbed), -1)
    is_finite = np.isfinite(pixels).all(1)
    violations = np.where(is_finite, 0, NOT_FINITE)
    if bounds is not None:
        tolerance = BOUNDS_RTOL * get_box_width(bounds)
        low, high = bounds[0] - tolerance, bounds[1] + tolerance
        outside = is_finite & ((pixels < low) | (pixels > high)).any(1)
        violations |= np.where(outside, OUTSIDE_BOX, 0)
    return violations


def _build_verification(call: LogitsFn, width: float):
    @tf.function(autograph=False)
    def run(clean, perturbed, labels):
        delta = perturbed - clean
        distances = [norms.compute_norm(delta, norm, width=width) for norm in DISTANCE_NORMS]
        logits = call(perturbed)
        label_probability = tf.gather(tf.nn.softmax(logits), labels, batch_dims=1)
        return (
            has_no_nan(logits),
            tf.stack(distances, -1),
            tf.argmax(logits, -1, tf.int32),
            -losses.margin(logits, labels),
            label_probability == 1.0,
        )

    return run
