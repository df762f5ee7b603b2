"""`attacks.run`: an attack on any number of examples.

```python
result = attacks.run(
    "pgd", classifier, images, labels, epsilon=0.1, num_steps=40,
    keep="first_adversarial",
)
result.robust_accuracy, result.distances["l2"], result.gradient_calls
```
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from qup import attacks, errors
from qup.attacks import targets as choices
from qup.attacks.base import checks, precisions, sources
from qup.attacks.base.attacker import Attacker
from qup.attacks.base.campaign import campaign
from qup.attacks.base.parts import Classifiers
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
        labels, **options) -> images.
      logits_fn: The classifier, a Keras model or a function.
      images: float [n, ...] inside `bounds`, or an iterable of such batches.
      labels: int [n], the true classes.
      batch_size: Rows that are attacked together. Across batch sizes the
        last bits of a gradient differ, and with them a few pixels.
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
    errors.check_number("batch_size", batch_size, least=1)
    bounds = checks.checked_bounds(bounds)
    attacked = precisions.copied(logits_fn, precision)
    attackers = [
        _attacker(
            attack, Classifiers(attacked, logits_fn), budget, targets,
            int(batch_size), {"bounds": bounds, "seed": seed, **options},
        )
        for budget in ([epsilon] if epsilons is None else map(float, epsilons))
    ]  # fmt: skip
    streamed = output is not None or not hasattr(images, "shape")
    pieces = sources.shards(
        images, labels, ids=ids, bounds=bounds,
        size=batch_size * _BATCHES if streamed else None,
    )  # fmt: skip
    found = campaign(attackers, pieces, _goals(targets, labels), output, tick)
    return found if epsilons is not None else found[0]


def _attacker(
    attack: str | Callable,
    classifiers: Classifiers,
    epsilon,
    targets,
    batch_size: int,
    options: dict[str, Any],
) -> Attacker:
    """Prepares the attack for one budget."""
    method = function = None
    name = attack
    if callable(attack):
        function, name = attack, getattr(attack, "__name__", "function")
    else:
        method = attacks.traits(attack)["method"]
        function = None if method else attacks.get(attack)
    if function is not None:
        options = _taken(function, options)
    if epsilon is not None and (function or _has(method, "epsilon")):
        options = {**options, "epsilon": float(np.max(epsilon))}
    if targets is not None:
        if method is not None and not _has(method, "targeted"):
            raise errors.InputError(
                f"{name} takes no targets: it has no targeted form."
            )
        if isinstance(targets, str) and targets != "all":
            choices.check(targets)
        options = {**options, "targeted": True}
    return Attacker(
        name=name,
        method=method and attacks.method(name, **options),
        function=function,
        options={} if method else options,
        classifiers=classifiers,
        batch_size=batch_size,
        targets=targets,
        epsilon=epsilon,
        seed=options.get("seed", 0),
    )


def _has(method: type | None, option: str) -> bool:
    return method is not None and option in method.__dataclass_fields__


def _taken(function: Callable, options: dict[str, Any]) -> dict[str, Any]:
    """Leaves out bounds and seed where a function does not take them."""
    known = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        return options
    own = {k: v for k, v in options.items() if k not in ("bounds", "seed")}
    for option in own:
        if option not in known:
            raise errors.unknown("option of the attack", option, known)
    return own | {k: v for k, v in options.items() if k in known}


def _goals(targets, labels) -> np.ndarray | None:
    """Returns targets given one by one, or None."""
    if targets is None or isinstance(targets, str):
        return None
    goals = np.asarray(targets)
    if goals.shape != np.shape(labels) or goals.dtype.kind not in "iu":
        raise errors.InputError(
            f"targets must be integers {np.shape(labels)}, one an image; got "
            f"{goals.dtype.name} {goals.shape}."
        )
    return goals.astype(np.int32)
