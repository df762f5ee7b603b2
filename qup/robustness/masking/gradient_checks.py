"""Checks of the input gradient: whether it is zero, and whether the loss follows it.

```python
result = masking.get("landscape")(classifier, images, labels, epsilon=0.1)
result.arrays["loss"]  # [along, across]
```
"""

import math

import numpy as np
import tensorflow as tf

from qup import attacks
from qup.attacks import losses
from qup.core import errors, gradients, norms, prng
from qup.core.classifier import get_classifier_program
from qup.robustness import masking
from qup.robustness.masking.case import FLAGGED, PASSED, CheckResult, DiagnosisCase
from qup.robustness.masking.comparisons import SLACK_PERCENT

ZERO_GRADIENT_LOSSES = ("cross_entropy", "log_odds", "margin")
# A loss that follows its first-order model never falls along its gradient; a shattered one falls at
# every second step. The threshold is the mean of both.
MAX_ROUGHNESS_PERCENT = 25.0


@masking.register
def zero_gradients(case: DiagnosisCase) -> CheckResult:
    """Counts images without a gradient at the start of the attack.

    An image with a gradient of zero does not move under any sign step or normalised step, and
    counts as robust. In float32 the gradient of cross-entropy is zero at a logit gap of about 104,
    and coarse above about 17. Those of log odds and margin are not, so a difference between the
    losses shows underflow. Zero elements alone mean little: border pixels without a filter weight
    have them as well.

    Returns:
      For each of `ZERO_GRADIENT_LOSSES` the share in percent of images ("zero_images_...") and of
      elements ("zero_elements_...") with a gradient of zero; "not_finite", the share of images with
      a NaN or infinite element for any loss. Flagged if more than 0.2 % of the images have no
      gradient, or one that is not finite: robust accuracy may be too high by that share.

    Reference: Athalye, Carlini, Wagner 2018, arXiv 1802.00420.
    """
    values, finite = {}, np.ones(len(case.labels), bool)
    for loss in ZERO_GRADIENT_LOSSES:
        _, gradient = compute_loss_gradients(case, loss)
        flat = gradient.reshape(len(gradient), -1)
        values[f"zero_images_{loss}"] = _compute_percent((flat == 0).all(1))
        values[f"zero_elements_{loss}"] = _compute_percent(flat == 0)
        finite &= np.isfinite(flat).all(1)
    values["not_finite"] = _compute_percent(~finite)
    worst = max(values[f"zero_images_{loss}"] for loss in ZERO_GRADIENT_LOSSES)
    is_flagged = max(worst, values["not_finite"]) > SLACK_PERCENT
    return CheckResult(
        "zero_gradients",
        values,
        FLAGGED if is_flagged else PASSED,
        _format_zero_message(case, values),
        len(case.labels),
    )


def _compute_percent(mask: np.ndarray) -> float:
    return 100.0 * float(np.mean(mask))


def _format_zero_message(case: DiagnosisCase, values: dict[str, float]) -> str:
    if not case.differentiable:
        return (
            "The classifier has no gradient with respect to its input (because of rounding, a cast "
            "or NumPy code). A gradient attack cannot move; use square or spsa, or a "
            "differentiable approximation (BPDA)."
        )
    percentages = ", ".join(
        f"{values[f'zero_images_{loss}']:.1f} % by {loss}" for loss in ZERO_GRADIENT_LOSSES
    )
    message = f"Images whose input gradient is exactly zero: {percentages}."
    if values["zero_images_cross_entropy"] > values["zero_images_margin"]:
        message += (
            " Cross-entropy underflows at gaps of logits this large: use the loss log_odds, margin "
            "or dlr."
        )
    if values["not_finite"]:
        message += f" NaN or infinite: {values['not_finite']:.1f} %."
    return message


@masking.register
def landscape(
    case: DiagnosisCase,
    *,
    image: int = 0,
    num_points: int = 21,
    num_images: int = 32,
    loss: str = "log_odds",
) -> CheckResult:
    """Follows the loss along its gradient, and computes the loss surface of one image.

    The directions are the steepest step of length epsilon (in L-inf the sign of the gradient) and a
    random one of the same kind. Pixels are clipped to the bounds, where the first-order model still
    rises.

    Args:
      case: See `DiagnosisCase`.
      image: Index of the image of the surface.
      num_points: Points per direction, at least 3.
      num_images: Only the first `num_images` images are followed along the gradient.
      loss: See `attacks.losses`; the default does not underflow.

    Returns:
      "roughness", the share in percent of steps from 0 to epsilon along the gradient at which the
      loss falls although the first-order model rises, over images with a gradient; "flat", the
      share of images without one. Arrays: "loss" [num_points, num_points] over "along" and
      "across", both from -epsilon to epsilon in units of epsilon. Flagged if roughness is above 25
      %, or no image has a gradient.

    Raises:
      InputError: An image index out of range, or too few points.

    Reference: Athalye, Carlini, Wagner 2018, arXiv 1802.00420; Qin et al. 2019, arXiv 1907.02610.
    """
    errors.check_number("num_points", num_points, at_least=3)
    errors.check_number("num_images", num_images, at_least=1)
    errors.check_number("image", image, at_least=0, below=len(case.labels))
    rows = slice(0, num_images)
    steepest = _compute_steepest_steps(case, loss, rows)
    is_flat = (steepest == 0).reshape(len(steepest), -1).all(1)
    falls = _find_falls(case, loss, rows, steepest, num_points)
    roughness = math.nan if is_flat.all() else 100.0 * float(falls[~is_flat].mean())
    numbers = {"roughness": roughness, "flat": 100.0 * float(is_flat.mean())}
    message = (
        f"Along the gradient the {loss} loss falls at {roughness:.1f} % of the steps, where a "
        "smooth loss rises."
    )
    if is_flat.all():
        message = "No image has a gradient to follow."
    elif roughness > MAX_ROUGHNESS_PERCENT:
        message += " The gradient does not point to a higher loss."
    return CheckResult(
        "landscape",
        numbers,
        FLAGGED if is_flat.all() or roughness > MAX_ROUGHNESS_PERCENT else PASSED,
        message,
        len(is_flat),
        _compute_loss_surface(case, loss, image, num_points),
    )


def _compute_steepest_steps(case: DiagnosisCase, loss: str, rows: slice) -> np.ndarray:
    """Returns the steepest steps of length epsilon: float32 [m, ...]."""
    _, gradient = compute_loss_gradients(case, loss, rows)
    step = norms.normalise(tf.constant(gradient), case.norm)
    return (case.epsilon * step).numpy()


def _take_clipped_steps(case: DiagnosisCase, images: np.ndarray, steps: np.ndarray) -> np.ndarray:
    return attacks.clip(tf.constant(images + steps), case.bounds).numpy()


def _find_falls(
    case: DiagnosisCase, loss: str, rows: slice, steepest: np.ndarray, count: int
) -> np.ndarray:
    """Marks the steps at which the loss falls: bool [m, count - 1]."""
    images, labels = case.images[rows], case.labels[rows]
    loss_values = np.stack(
        [
            compute_losses(case, loss, _take_clipped_steps(case, images, share * steepest), labels)
            for share in np.linspace(0, 1, count, dtype=np.float32)
        ],
        axis=1,
    )
    # Larger than rounding errors.
    tolerance = 1e-6 * np.maximum(1, np.abs(loss_values[:, 1:]))
    return loss_values[:, 1:] < loss_values[:, :-1] - tolerance


def _compute_loss_surface(case: DiagnosisCase, loss: str, image: int, count: int) -> dict:
    """Returns the loss on a grid around one image, and the grid."""
    rows = slice(image, image + 1)
    shape = case.images.shape[1:]
    key = prng.make_keys(case.seed, np.array([image]))
    across = case.epsilon * norms.normalise(prng.normal(key, shape), case.norm)
    shares = np.linspace(-1, 1, count, dtype=np.float32)
    first, second = (
        coordinates.reshape(-1, *[1] * len(shape))
        for coordinates in np.meshgrid(shares, shares, indexing="ij")
    )
    steps = first * _compute_steepest_steps(case, loss, rows) + second * across.numpy()
    images = _take_clipped_steps(case, case.images[rows], steps)
    labels = np.repeat(case.labels[rows], len(images))
    surface = compute_losses(case, loss, images, labels).reshape(count, count)
    return {"loss": surface, "along": shares, "across": shares}


def compute_loss_gradients(
    case: DiagnosisCase, loss: str, rows: slice = slice(None)
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the loss and its input gradient, image by image.

    Args:
      case: See `DiagnosisCase`.
      loss: See `attacks.losses`.
      rows: Selects images.

    Returns:
      (values, gradients): float32 [n] and float32 [n, ...].
    """
    objective = losses.get(loss)

    def build(call):
        @tf.function(autograph=False)
        def run(images, labels):
            _, values, gradient = gradients.differentiate_raw(
                call, lambda logits: objective(logits, labels), images
            )
            return values, gradient

        return run

    run = get_classifier_program(case.logits_fn, ("masking gradients", loss), build)
    return case.run_batched(run, case.images[rows], case.labels[rows])


def compute_losses(
    case: DiagnosisCase, loss: str, images: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Returns the loss of the case's classifier on any images: float32 [m].

    Args:
      case: Gives the classifier.
      loss: See `attacks.losses`.
      images: float32 [m, ...].
      labels: int32 [m].
    """
    logits = case.predict(images)
    return losses.get(loss)(tf.constant(logits), tf.constant(labels)).numpy()
