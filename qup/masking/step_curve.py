"""Robust accuracy over the number of PGD steps.

```python
masking.get("step_curve")(classifier, images, labels, epsilon=0.1)
```
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from qup import errors, masking
from qup.masking.breaking import compute_robust_accuracy, run_pgd
from qup.masking.case import DiagnosisCase
from qup.masking.comparison import PairedComparison
from qup.masking.finding import FLAGGED, PASSED, CheckResult

STEP_COUNTS = (1, 4, 10, 40, 100)
# A point is one image in a hundred, which another start may change; what
# counts is larger, and beyond chance as well.
STEP_CURVE_POINTS = 1.0


@masking.register
def step_curve(
    case: DiagnosisCase, *, steps: Sequence[int] = STEP_COUNTS, loss: str = "cross_entropy"
) -> CheckResult:
    """Attacks by PGD with more and more steps.

    More steps of an attack that can see only help; where they stop helping,
    the attack has converged. The steps of a run are together 2.5 epsilon
    long, start at random, and the first adversarial point is kept.

    Args:
      case: What is examined, see `DiagnosisCase`.
      steps: Numbers of steps, rising, at least two.
      loss: What PGD climbs, see `attacks.losses`.

    Returns:
      A finding with "robust_accuracy_<steps>" in percent and the arrays
      "steps" and "robust_accuracy". Flagged where robust accuracy rises
      with the steps, or still falls from the last but one to the last, by
      more than a point and two standard errors.

    Raises:
      InputError: Steps that do not rise, or an unknown loss.

    Reference: Carlini et al. 2019, arXiv 1902.06705.
    """
    is_rising = all(one < other for one, other in pairwise(steps))
    if len(steps) < 2 or not is_rising:
        raise errors.InputError(
            f"steps must be at least two rising numbers, such as (10, 40, 100); got {steps!r}."
        )
    success_masks = [run_pgd(case, int(count), loss=loss) for count in steps]
    curve = [compute_robust_accuracy(success) for success in success_masks]
    comparisons = [PairedComparison.from_success(*pair) for pair in pairwise(success_masks)]
    rises = [
        PairedComparison.from_success(after, before).is_second_stronger(STEP_CURVE_POINTS)
        for before, after in pairwise(success_masks)
    ]
    is_falling = comparisons[-1].is_second_stronger(STEP_CURVE_POINTS)
    message = (
        f"Robust accuracy {_format_numbers(curve)} % after {_format_numbers(steps)} PGD steps."
    )
    if any(rises):
        message += (
            " It rises with the steps, which an attack that follows a useful gradient does not do."
        )
    elif is_falling:
        message += (
            f" It still falls by {comparisons[-1].accuracy_drop:.1f} points at the "
            "last: take more steps before believing the number."
        )
    return CheckResult(
        "step_curve",
        {f"robust_accuracy_{count}": percent for count, percent in zip(steps, curve, strict=True)},
        FLAGGED if any(rises) or is_falling else PASSED,
        message,
        len(case.labels),
        {"steps": np.asarray(steps), "robust_accuracy": np.asarray(curve)},
    )


def _format_numbers(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:.3g}" for number in numbers)
