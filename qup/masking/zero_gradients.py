"""How many input gradients are exactly zero, and where.

```python
masking.get("zero_gradients")(classifier, images, labels, epsilon=0.1)
```
"""

import numpy as np

from qup import masking
from qup.masking.case import DiagnosisCase
from qup.masking.comparison import SLACK_PERCENT
from qup.masking.finding import FLAGGED, PASSED, CheckResult
from qup.masking.slopes import compute_loss_gradients

ZERO_GRADIENT_LOSSES = ("cross_entropy", "log_odds", "margin")


@masking.register
def zero_gradients(case: DiagnosisCase) -> CheckResult:
    """Counts images without a gradient at the start of the attack.

    An image whose gradient is zero in all its elements stays where it is
    under every sign or normalised step, and is counted as robust. In
    float32 the gradient of cross-entropy is zero at a logit gap of about
    104 and coarse from about 17 on; those of log odds and margin are not,
    so that a difference between the losses shows underflow. Zero elements
    alone mean little: a border that no filter weighs has them too.

    Args:
      case: What is examined, see `DiagnosisCase`.

    Returns:
      A finding with, for each of `ZERO_GRADIENT_LOSSES`, the share in percent of images
      whose gradient is zero ("zero_images_...") and of elements that are
      ("zero_elements_..."); "not_finite" is the share of images with a NaN
      or infinite element in any. Flagged where more than 0.2 % of the
      images have no gradient, or one that is not finite: so many points
      robust accuracy may be too high.

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
            "The classifier has no gradient by its input at all (rounding, a "
            "cast or NumPy code cuts it off). An attack by gradients cannot "
            "move; use square or spsa, or a differentiable stand-in (BPDA)."
        )
    percentages = ", ".join(
        f"{values[f'zero_images_{loss}']:.1f} % by {loss}" for loss in ZERO_GRADIENT_LOSSES
    )
    message = f"Images whose input gradient is exactly zero: {percentages}."
    if values["zero_images_cross_entropy"] > values["zero_images_margin"]:
        message += (
            " Cross-entropy underflows at gaps of logits this large: attack "
            "by log_odds, margin or dlr."
        )
    if values["not_finite"]:
        message += f" NaN or infinite: {values['not_finite']:.1f} %."
    return message
