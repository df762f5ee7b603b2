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
from qup.masking.breaking import accuracy, white_box
from qup.masking.case import Case
from qup.masking.comparison import Compared
from qup.masking.finding import FLAGGED, PASSED, Finding

# Where any image may be chosen the attack must break all but stray ones.
UNBOUNDED_PERCENT = 1.0
# See step_curve.POINTS.
POINTS = 1.0
# Without a box the curve ends at so many times epsilon.
_FARTHEST = 64


@masking.register
def epsilon_curve(
    case: Case, *, epsilons: Sequence[float] | None = None
) -> Finding:
    """Attacks at larger and larger budgets, each on its own.

    With a larger ball there is more to find, and in the whole box an image
    of another class can be had, so robust accuracy falls to zero. A curve
    that rises, or that levels off above zero, shows an attack that fails.
    No budget takes over what a smaller one found.

    Args:
      case: What is examined, see `Case`. Leave a step size out of its
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
    budgets = _budgets(case) if epsilons is None else _rising(epsilons)
    broken = [~case.right, *(white_box(case, budget) for budget in budgets)]
    curve = np.array([accuracy(hits) for hits in broken])
    budgets = np.array([0.0, *budgets])
    rises = [Compared.of(after, before) for before, after in pairwise(broken)]
    rising = any(rise.clearly(POINTS) for rise in rises)
    whole = _box(case)
    boxed = whole is not None and budgets[-1] >= whole * (1 - 1e-6)
    left = boxed and _left(broken[-1])
    values = {
        "test_accuracy": float(curve[0]),
        "robust_accuracy_last": float(curve[-1]),
        "largest_rise": max(rise.stronger for rise in rises),
        "chance_epsilon": _chance(case, budgets, curve),
    }
    return Finding(
        "epsilon_curve", values, FLAGGED if rising or left else PASSED,
        _words(values, budgets[-1], boxed, rising, left), len(case.labels),
        {"epsilon": budgets, "robust_accuracy": curve},
    )  # fmt: skip


def _rising(epsilons: Sequence[float]) -> list[float]:
    budgets = [0.0, *map(float, epsilons)]
    good = all(one < other for one, other in pairwise(budgets))
    if len(budgets) < 2 or not good:
        raise errors.InputError(
            "epsilons must rise from above 0, such as (0.05, 0.1, 1.0); got "
            f"{epsilons!r}."
        )
    return budgets[1:]


def _box(case: Case) -> float | None:
    """Returns the length of the longest perturbation in the box."""
    if case.bounds is None:
        return None
    width = case.bounds[1] - case.bounds[0]
    size = math.prod(case.images.shape[1:])
    return width * {"linf": 1.0, "l2": math.sqrt(size), "l1": size}[case.norm]


def _budgets(case: Case) -> list[float]:
    last = _box(case) or _FARTHEST * case.epsilon
    budgets = [case.epsilon / 2]
    while budgets[-1] * 2 < last:
        budgets.append(budgets[-1] * 2)
    return [*budgets, last]


def _chance(case: Case, budgets: np.ndarray, curve: np.ndarray) -> float:
    below = budgets[curve <= 100 / case.answers.num_classes]
    return float(below[0]) if below.size else math.nan


def _left(broken: np.ndarray) -> bool:
    most = max(1.0, UNBOUNDED_PERCENT / 100 * len(broken))
    return bool((~broken).sum() > most)


def _words(values, last: float, boxed: bool, rising: bool, left: bool) -> str:
    words = (
        f"Accuracy falls from {values['test_accuracy']:.1f} % without attack "
        f"to {values['robust_accuracy_last']:.1f} % at epsilon {last:.3g}"
        f"{', the whole box' if boxed else ''}."
    )
    if rising:
        words += (
            f" It rises by {values['largest_rise']:.1f} points from one "
            "budget to the next, though the larger ball holds the smaller."
        )
    if left:
        words += (
            " With no limit on the change an attack that works leaves nothing."
        )
    return words
