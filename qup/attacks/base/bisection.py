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
            raise errors.InputError(
                f"minimal_epsilon takes no {name}: it chooses the budgets."
            )
    _check(attack, images)
    images, labels = np.asarray(images), sources.checked_labels(labels)
    ids = integers.checked_ids(ids, len(labels))
    fails = np.zeros(len(labels), np.float32)
    works = np.full(len(labels), high, np.float32)

    def at(budget: np.ndarray) -> AttackResult:
        return run(
            attack, logits_fn, images, labels, ids=ids, epsilon=budget,
            **options,
        )  # fmt: skip

    best, clean = at(works), at(fails)
    best = _kept(best, clean, clean.success)
    works = np.where(clean.success, 0, works)
    # Some budget between the two is the least.
    within = best.success & ~clean.success
    for _ in range(halvings):
        middle = (fails + works) / 2
        found = at(np.where(within, middle, works))
        better = found.success & within
        works = np.where(better, middle, works)
        fails = np.where(within & ~better, middle, fails)
        best = _kept(best, found, better)
    return dataclasses.replace(
        best, epsilon=np.where(best.success, works, np.nan).astype(np.float32)
    )


def _check(attack: str | Callable, images) -> None:
    """Raises an InputError where there is nothing to bisect."""
    known = isinstance(attack, str) and attacks.traits(attack)
    if known and known["kind"] == "minimum_norm":
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


def _kept(
    best: AttackResult, found: AttackResult, better: np.ndarray
) -> AttackResult:
    """Takes what was found where it is better, and adds up the calls."""
    calls = {
        name: getattr(best, name) + getattr(found, name)
        for name in ("forward_calls", "gradient_calls")
    }
    best = campaign.overlaid(found, best, better)
    return dataclasses.replace(best, **calls)
