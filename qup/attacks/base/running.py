"""`attacks.run`: an attack on any number of examples.

```python
result = attacks.run(
    "pgd", classifier, images, labels, epsilon=0.1, num_steps=40,
    keep="first_adversarial",
)
result.robust_accuracy, result.distances["l2"], result.gradient_calls
```
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

from qup import errors
from qup.attacks.base import (
    budgets,
    checks,
    integers,
    precisions,
    sources,
)
from qup.attacks.base.campaign import campaign
from qup.attacks.base.parts import Classifiers
from qup.attacks.base.preparation import prepared
from qup.attacks.base.result import AttackResult
from qup.types import Bounds, LogitsFn

# Batches a shard: what a kill can cost, and what sits in memory. Rows that
# leave early are replaced within a shard alone.
_BATCHES = 4


def run(
    attack: str | Callable,
    logits_fn: LogitsFn,
    images,
    labels,
    *,
    batch_size: int = 128,
    bounds: Bounds = (0.0, 1.0),
    seed: int = 0,
    ids=None,
    epsilon=None,
    epsilons: Sequence[float] | None = None,
    targets=None,
    output=None,
    precision: str = "float32",
    tick: Callable[[int], None] = lambda count: None,
    **options: Any,
) -> AttackResult | list[AttackResult]:
    """Attacks examples, and tells success, distance and cost of each.

    Examples that are done leave the batch and others take their places, so
    the shape that was compiled serves to the end.

    Args:
      attack: A registered name, or a function attack(logits_fn, images,
        labels, **options) -> images. It is given `bounds`, `seed`, `ids`
        (int64 [batch]) and `epsilon` (one a call) where it takes them.
      logits_fn: The classifier, a Keras model or a function.
      images: float [n, ...] inside `bounds`, or an iterable of such batches.
      labels: int [n], the true classes.
      batch_size: Rows that are attacked together, at most; no more than the
        power of two that holds all images. Across batch sizes the last bits
        of a gradient differ, and with them a few pixels.
      bounds: (lowest, highest) pixel, or None.
      seed: Drives every random number, with the examples' ids.
      ids: int [n], the examples' own numbers; None for 0, 1, 2, ...
      epsilon: The budget in the units of `bounds`, one or float [n]. For
        an attack of minimum norm, what counts as success.
      epsilons: Several budgets, in place of `epsilon`.
      targets: int [n], or "least_likely", "random", "second_likely", or
        "all" (each other class in turn, the nearest kept); None for any
        class but the true one.
      output: Folder to keep shards of results in. A second call with the
        same arguments goes on where the first was stopped.
      precision: "float32", or "bfloat16" to attack a copy of a Keras model
        that computes in it, with batch normalisations folded into the
        convolutions. Success always is by the model in float32.
      tick: Called with the number of examples that a part has finished.
      **options: The attack's own.

    Returns:
      An `AttackResult`; with `epsilons` a list of them, in their order.

    Raises:
      InputError: Something that cannot be used.
    """
    if epsilon is not None and epsilons is not None:
        raise errors.InputError("Give epsilon or epsilons, not both.")
    integers.check_integer("batch_size", batch_size, least=1)
    integers.check_integer("seed", seed)
    if not isinstance(output, str | os.PathLike | None):
        raise errors.InputError(
            f"output must be a folder's path or None; got {output!r}."
        )
    labels = sources.checked_labels(labels)
    several = [budgets.checked(epsilon, len(labels))]
    if epsilons is not None:
        several = budgets.several(epsilons)
    bounds = checks.checked_bounds(bounds)
    attacked = precisions.copied(logits_fn, precision)
    attackers = [
        prepared(
            attack, Classifiers(attacked, logits_fn), budget, targets,
            _rows(batch_size, len(labels)),
            {"bounds": bounds, "seed": seed, **options},
        )
        for budget in several
    ]  # fmt: skip
    streamed = output is not None or not hasattr(images, "shape")
    pieces = sources.shards(
        images, labels, ids=ids, bounds=bounds,
        size=batch_size * _BATCHES if streamed else None,
    )  # fmt: skip
    goals = sources.checked_targets(targets, labels)
    found = campaign(attackers, pieces, goals, output, tick)
    return found if epsilons is not None else found[0]


def _rows(batch_size: int, count: int) -> int:
    """Returns the rows of the compiled batch: few images need no more.

    A power of two, so that not every number of images is compiled anew.
    """
    return min(int(batch_size), 1 << max(0, count - 1).bit_length())
