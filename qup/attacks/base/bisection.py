"""The least budget at which an attack succeeds, example by example.

```python
result = attacks.minimal_epsilon(
    "pgd", classifier, images, labels, high=0.3, num_steps=40
)
result.epsilon  # float32 [n], NaN where even `high` was not enough
```
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from qup import attacks, errors
from qup.attacks.base import campaign, integers, sources
from qup.attacks.base.result import AttackResult
from qup.attacks.base.running import run
from qup.types import LogitsFn


def minimal_epsilon(
    attack: str | Callable,
    logits_fn: LogitsFn,
    images,
    labels,
    *,
    high: float,
    halvings: int = 10,
    ids=None,
    **options: Any,
) -> AttackResult:
    """Bisects the budget of every example on its own.

    Args:
      attack: One that takes an epsilon, see `run`.
      logits_fn: The classifier.
      images: float [n, ...], an array.
      labels: int [n].
      high: The largest budget.
      halvings: The least budget is known to high / 2**halvings; that of an
        image that is misclassified already is 0.
      ids: int [n], or None for 0, 1, 2, ...
      **options: Those of `run` (but epsilon, targets as an array and
        output), and of the attack.

    Returns:
      The result of the least budgets that succeeded, which are its
      `epsilon`; NaN where none did. Calls are those of all budgets.

    Raises:
      InputError: Something that cannot be used.
    """
    errors.check_number("high", high, above=0)
    integers.check_integer("halvings", halvings, least=1)
    for name in ("epsilon", "epsilons", "output"):
        if name in options:
            raise errors.InputError(f"minimal_epsilon takes no {name}: it chooses the budgets.")
    _check_can_bisect(attack, images)
    images, labels = np.asarray(images), sources.validate_labels(labels)
    ids = integers.validate_ids(ids, len(labels))
    failing = np.zeros(len(labels), np.float32)
    succeeding = np.full(len(labels), high, np.float32)

    def run_at(budget: np.ndarray) -> AttackResult:
        return run(attack, logits_fn, images, labels, ids=ids, epsilon=budget, **options)

    best_result, clean_result = run_at(succeeding), run_at(failing)
    best_result = _merge_better(best_result, clean_result, clean_result.success)
    succeeding = np.where(clean_result.success, 0, succeeding)
    # Some budget between the two is the least.
    can_bisect = best_result.success & ~clean_result.success
    for _ in range(halvings):
        midpoint = (failing + succeeding) / 2
        result = run_at(np.where(can_bisect, midpoint, succeeding))
        better = result.success & can_bisect
        succeeding = np.where(better, midpoint, succeeding)
        failing = np.where(can_bisect & ~better, midpoint, failing)
        best_result = _merge_better(best_result, result, better)
    return dataclasses.replace(
        best_result, epsilon=np.where(best_result.success, succeeding, np.nan).astype(np.float32)
    )


def _check_can_bisect(attack: str | Callable, images) -> None:
    """Raises an InputError where there is nothing to bisect."""
    traits = isinstance(attack, str) and attacks.traits(attack)
    if traits and traits["kind"] == "minimum_norm":
        raise errors.InputError(
            f"{attack} looks for the nearest adversarial image itself, "
            "without a budget to bisect. Take the distances of "
            f"attacks.run({attack!r}, ...)."
        )
    if not hasattr(images, "shape"):
        raise errors.InputError(
            "minimal_epsilon goes over the images many times, and needs an "
            f"array [n, ...]; got a {type(images).__name__}."
        )


def _merge_better(
    best_result: AttackResult, result: AttackResult, better: np.ndarray
) -> AttackResult:
    """Takes what was found where it is better, and adds up the calls."""
    calls = {
        name: getattr(best_result, name) + getattr(result, name)
        for name in ("forward_calls", "gradient_calls")
    }
    best_result = campaign.select_results(result, best_result, better)
    return dataclasses.replace(best_result, **calls)
