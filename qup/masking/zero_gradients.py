"""How many input gradients are exactly zero, and where.

```python
masking.get("zero_gradients")(classifier, images, labels, epsilon=0.1)
```
"""

import numpy as np

from qup import masking
from qup.masking.case import Case
from qup.masking.comparison import SLACK_POINTS
from qup.masking.finding import FLAGGED, PASSED, Finding
from qup.masking.slopes import slopes

LOSSES = ("cross_entropy", "log_odds", "margin")


@masking.register
def zero_gradients(case: Case) -> Finding:
    """Counts images without a gradient at the start of the attack.

    An image whose gradient is zero in all its elements stays where it is
    under every sign or normalised step, and is counted as robust. In
    float32 the gradient of cross-entropy is zero at a logit gap of about
    104 and coarse from about 17 on; those of log odds and margin are not,
    so that a difference between the losses shows underflow. Zero elements
    alone mean little: a border that no filter weighs has them too.

    Args:
      case: What is examined, see `Case`.

    Returns:
      A finding with, for each of `LOSSES`, the share in percent of images
      whose gradient is zero ("zero_images_...") and of elements that are
      ("zero_elements_..."); "not_finite" is the share of images with a NaN
      or infinite element in any. Flagged where more than 0.2 % of the
      images have no gradient, or one that is not finite: so many points
      robust accuracy may be too high.

    Reference: Athalye, Carlini, Wagner 2018, arXiv 1802.00420.
    """
    values, finite = {}, np.ones(len(case.labels), bool)
    for loss in LOSSES:
        _, slope = slopes(case, loss)
        flat = slope.reshape(len(slope), -1)
        values[f"zero_images_{loss}"] = _percent((flat == 0).all(1))
        values[f"zero_elements_{loss}"] = _percent(flat == 0)
        finite &= np.isfinite(flat).all(1)
    values["not_finite"] = _percent(~finite)
    worst = max(values[f"zero_images_{loss}"] for loss in LOSSES)
    bad = max(worst, values["not_finite"]) > SLACK_POINTS
    return Finding(
        "zero_gradients", values, FLAGGED if bad else PASSED,
        _words(case, values), len(case.labels),
    )  # fmt: skip


def _percent(marks: np.ndarray) -> float:
    return 100.0 * float(np.mean(marks))


def _words(case: Case, values: dict[str, float]) -> str:
    if not case.differentiable:
        return (
            "The classifier has no gradient by its input at all (rounding, a "
            "cast or NumPy code cuts it off). An attack by gradients cannot "
            "move; use square or spsa, or a differentiable stand-in (BPDA)."
        )
    told = ", ".join(
        f"{values[f'zero_images_{loss}']:.1f} % by {loss}" for loss in LOSSES
    )
    words = f"Images whose input gradient is exactly zero: {told}."
    if values["zero_images_cross_entropy"] > values["zero_images_margin"]:
        words += (
            " Cross-entropy underflows at gaps of logits this large: attack "
            "by log_odds, margin or dlr."
        )
    if values["not_finite"]:
        words += f" NaN or infinite: {values['not_finite']:.1f} %."
    return words
