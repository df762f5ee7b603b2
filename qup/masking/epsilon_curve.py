"""Robust accuracy over epsilon, up to the whole box.

```python
finding = masking.get("epsilon_curve")(classifier, images, labels, epsilon=0.1)
finding.arrays["epsilon"], finding.arrays["robust_accuracy"]
```
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from qup import errors, masking
from qup.masking.breaking import compute_robust_accuracy, run_white_box
from qup.masking.case import DiagnosisCase
from qup.masking.comparison import PairedComparison
from qup.masking.finding import FLAGGED, PASSED, CheckResult

# Where any image may be chosen the attack must break all but stray ones.
MAX_ROBUST_PERCENT = 1.0
# See step_curve.POINTS.
EPSILON_CURVE_POINTS = 1.0
# Without a box the curve ends at so many times epsilon.
_MAX_EPSILON_FACTOR = 64


@masking.register
def epsilon_curve(case: DiagnosisCase, *, epsilons: Sequence[float] | None = None) -> CheckResult:
    """Attacks at larger and larger budgets, each on its own.

    With a larger ball there is more to find, and in the whole box an image
    of another class can be had, so robust accuracy falls to zero. A curve
    that rises, or that levels off above zero, shows an attack that fails.
    No budget takes over what a smaller one found.

    Args:
      case: What is examined, see `DiagnosisCase`. Leave a step size out of its
        attack's options: one that suits a small ball is short for the box.
      epsilons: Rising budgets above zero; None for half epsilon, epsilon
        and its doubles up to the size of the box.

    Returns:
      A finding with "test_accuracy" (at epsilon 0), "robust_accuracy_last"
      (at the largest budget), "largest_rise" in points from one budget to
      the next, and "chance_epsilon", the least budget at which a guess is
      as good (NaN for none); arrays "epsilon" and "robust_accuracy".
      Flagged where accuracy rises by more than a point and two standard
      errors, or where, at the size of the box, more than 1 % of
      the images, and more than one, withstand.

    Raises:
      InputError: Budgets that do not rise from above zero.

    Reference: Carlini et al. 2019, arXiv 1902.06705; Athalye, Carlini,
    Wagner 2018, arXiv 1802.00420.
    """
    budgets = _build_budgets(case) if epsilons is None else _check_epsilons(epsilons)
    success_masks = [~case.clean_correct, *(run_white_box(case, budget) for budget in budgets)]
    curve = np.array([compute_robust_accuracy(success) for success in success_masks])
    budgets = np.array([0.0, *budgets])
    rises = [
        PairedComparison.from_success(after, before) for before, after in pairwise(success_masks)
    ]
    is_rising = any(rise.is_second_stronger(EPSILON_CURVE_POINTS) for rise in rises)
    box_length = _compute_box_length(case)
    covers_box = box_length is not None and budgets[-1] >= box_length * (1 - 1e-6)
    has_robust_left = covers_box and _has_too_many_robust(success_masks[-1])
    values = {
        "test_accuracy": float(curve[0]),
        "robust_accuracy_last": float(curve[-1]),
        "largest_rise": max(rise.accuracy_drop for rise in rises),
        "chance_epsilon": _find_chance_epsilon(case, budgets, curve),
    }
    return CheckResult(
        "epsilon_curve",
        values,
        FLAGGED if is_rising or has_robust_left else PASSED,
        _format_epsilon_message(values, budgets[-1], covers_box, is_rising, has_robust_left),
        len(case.labels),
        {"epsilon": budgets, "robust_accuracy": curve},
    )


def _check_epsilons(epsilons: Sequence[float]) -> list[float]:
    budgets = [0.0, *map(float, epsilons)]
    is_rising = all(one < other for one, other in pairwise(budgets))
    if len(budgets) < 2 or not is_rising:
        raise errors.InputError(
            f"epsilons must rise from above 0, such as (0.05, 0.1, 1.0); got {epsilons!r}."
        )
    return budgets[1:]


def _compute_box_length(case: DiagnosisCase) -> float | None:
    """Returns the length of the longest perturbation in the box."""
    if case.bounds is None:
        return None
    width = case.bounds[1] - case.bounds[0]
    size = math.prod(case.images.shape[1:])
    return width * {"linf": 1.0, "l2": math.sqrt(size), "l1": size}[case.norm]


def _build_budgets(case: DiagnosisCase) -> list[float]:
    largest = _compute_box_length(case) or _MAX_EPSILON_FACTOR * case.epsilon
    budgets = [case.epsilon / 2]
    while budgets[-1] * 2 < largest:
        budgets.append(budgets[-1] * 2)
    return [*budgets, largest]


def _find_chance_epsilon(case: DiagnosisCase, budgets: np.ndarray, curve: np.ndarray) -> float:
    below = budgets[curve <= 100 / case.classifier_info.num_classes]
    return float(below[0]) if below.size else math.nan


def _has_too_many_robust(success: np.ndarray) -> bool:
    max_robust = max(1.0, MAX_ROBUST_PERCENT / 100 * len(success))
    return bool((~success).sum() > max_robust)


def _format_epsilon_message(
    values, largest: float, covers_box: bool, is_rising: bool, has_robust_left: bool
) -> str:
    message = (
        f"Accuracy falls from {values['test_accuracy']:.1f} % without attack "
        f"to {values['robust_accuracy_last']:.1f} % at epsilon {largest:.3g}"
        f"{', the whole box' if covers_box else ''}."
    )
    if is_rising:
        message += (
            f" It rises by {values['largest_rise']:.1f} points from one "
            "budget to the next, though the larger ball holds the smaller."
        )
    if has_robust_left:
        message += " With no limit on the change an attack that works leaves nothing."
    return message
