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
from qup.attacks.base import budgets, checks, integers, precisions, sources
from qup.attacks.base.campaign import run_sweep
from qup.attacks.base.parts import ClassifierPair
from qup.attacks.base.preparation import build_attack_runner
from qup.attacks.base.result import AttackResult
from qup.types import Bounds, LogitsFn

# Batches a shard: what a kill can cost, and what sits in memory. Rows that
# leave early are replaced within a shard alone.
_BATCHES_PER_SHARD = 4


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
    on_progress: Callable[[int], None] = lambda count: None,
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
      on_progress: Called with the number of examples that a part has finished.
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
        raise errors.InputError(f"output must be a folder's path or None; got {output!r}.")
    labels = sources.validate_labels(labels)
    epsilon_values = [budgets.validate_epsilon(epsilon, len(labels))]
    if epsilons is not None:
        epsilon_values = budgets.validate_epsilons(epsilons)
    bounds = checks.validate_bounds(bounds)
    surrogate = precisions.get_precision_copy(logits_fn, precision)
    runners = [
        build_attack_runner(
            attack,
            ClassifierPair(surrogate, logits_fn),
            epsilon_value,
            targets,
            _choose_batch_size(batch_size, len(labels)),
            {"bounds": bounds, "seed": seed, **options},
        )
        for epsilon_value in epsilon_values
    ]
    in_shards = output is not None or not hasattr(images, "shape")
    shards = sources.iterate_shards(
        images,
        labels,
        ids=ids,
        bounds=bounds,
        shard_size=batch_size * _BATCHES_PER_SHARD if in_shards else None,
    )
    target_labels = sources.validate_targets(targets, labels)
    sweep_results = run_sweep(runners, shards, target_labels, output, on_progress)
    return sweep_results if epsilons is not None else sweep_results[0]


def _choose_batch_size(batch_size: int, count: int) -> int:
    """Returns the rows of the compiled batch: few images need no more.

    A power of two, so that not every number of images is compiled anew.
    """
    return min(int(batch_size), 1 << max(0, count - 1).bit_length())
