"""Which images an attack breaks, found once for all checks.

```python
accuracy(white_box(case)), accuracy(pgd(case, 100, loss="margin"))
```
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from qup import attacks
from qup.masking.case import DiagnosisCase

# Of the attack under test where none is named.
DEFAULT_STEPS = 40
# Steps that together are 2.5 times the radius reach any point of the ball
# from any start (Madry et al. 2018, arXiv 1706.06083).
_RELATIVE_PATH_LENGTH = 2.5


def compute_robust_accuracy(success: np.ndarray) -> float:
    """Returns the share of images that withstood, in percent."""
    return 100.0 * float(np.mean(~success))


def compute_step_size(epsilon: float, steps: int) -> float:
    """Returns the length of a PGD step."""
    return _RELATIVE_PATH_LENGTH * epsilon / steps


def run_attack(
    case: DiagnosisCase, attack: str | Callable, *, epsilon: float, **options: Any
) -> np.ndarray:
    """Attacks all images; the clean image counts as a point of its ball.

    Args:
      case: What is examined.
      attack: See `attacks.run`.
      epsilon: The budget.
      **options: The attack's own.

    Returns:
      bool [n].

    Raises:
      InputError: Something that cannot be used.
    """
    key = (attack, epsilon, repr(sorted(options.items())))
    if key not in case.cache:
        attack_fn = attacks.get(attack) if isinstance(attack, str) else attack
        if "norm" in inspect.signature(attack_fn).parameters:
            options = {"norm": case.norm, **options}
        result = attacks.run(
            attack,
            case.logits_fn,
            case.images,
            case.labels,
            epsilon=epsilon,
            bounds=case.bounds,
            seed=case.seed,
            batch_size=case.batch_size,
            **options,
        )
        case.cache[key] = result.success | ~case.clean_correct
    return case.cache[key]


def run_pgd(
    case: DiagnosisCase, steps: int, *, loss: str = "cross_entropy", epsilon: float | None = None
) -> np.ndarray:
    """Attacks by PGD from a random start; every point on the way counts.

    Args:
      case: What is examined; L-inf or L2.
      steps: Number of steps, together 2.5 times epsilon long.
      loss: See `attacks.losses`.
      epsilon: Another budget than the case's.

    Returns:
      bool [n], which images it breaks.

    Raises:
      InputError: Another norm, or an unknown loss.
    """
    budget = case.epsilon if epsilon is None else epsilon
    return run_attack(
        case,
        "pgd",
        epsilon=budget,
        num_steps=steps,
        random_start=True,
        step_size=compute_step_size(budget, steps),
        loss=loss,
        keep="first_adversarial",
    )


def run_white_box(case: DiagnosisCase, epsilon: float | None = None) -> np.ndarray:
    """Runs the attack under test: bool [n], which images it breaks.

    That is PGD-40 by cross-entropy where none is named, and Auto-PGD in L1,
    where PGD has no good step.
    """
    budget = case.epsilon if epsilon is None else epsilon
    if case.attack is not None:
        options = dict(case.attack_options or {})
        return run_attack(case, case.attack, epsilon=budget, **options)
    if case.norm == "l1":
        return run_attack(case, "apgd_ce", epsilon=budget)
    return run_pgd(case, DEFAULT_STEPS, epsilon=budget)
