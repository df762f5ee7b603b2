"""`attacks.run`: an attack on any number of examples.

```python
result = attacks.run(
    "pgd", classifier, images, labels, epsilon=0.1, num_steps=40,
    keep="first_adversarial",
)
result.robust_accuracy, result.distances["l2"], result.gradient_calls
```
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from qup import attacks
from qup.attacks import inputs
from qup.attacks import precision as attacks_precision
from qup.attacks.attacker import AttackRunner, ProgressCallback, build_attack_runner
from qup.attacks.inputs import ExampleBatch
from qup.attacks.results import AttackEvaluation, AttackResult, concatenate_results
from qup.attacks.stages import ClassifierPair
from qup.attacks.store import ShardStore, compute_classifier_digest
from qup.core import errors
from qup.core.types import Bounds, LogitsFn

# An attack at one budget or several, shard by shard.


def run_sweep(
    runners: list[AttackRunner],
    shards: Iterable[ExampleBatch],
    target_labels: np.ndarray | None,
    output: Any,
    on_progress: ProgressCallback,
) -> list[AttackResult]:
    """Runs one attacker for each budget over the examples.

    Args:
      runners: Alike but for their budgets.
      shards: The examples.
      target_labels: int32 [n], targets given one by one, or None.
      output: Folder for shards, or None.
      on_progress: Called with the number of examples finished.

    Returns:
      One result for each attacker.
    """
    stores: list[ShardStore] = []
    results_by_runner: list[list[AttackResult]] = [[] for _ in runners]
    start = 0
    for shard_number, examples in enumerate(shards):
        end = start + len(examples.labels)
        shard_targets = None if target_labels is None else target_labels[start:end]
        shard_by_runner = [_set_budgets(runner, examples, start) for runner in runners]
        if output is not None and not stores:
            stores = _open_stores(runners, examples, output)
        shard_results = _run_shard(
            runners, shard_by_runner, shard_targets, stores, shard_number, on_progress
        )
        for collected, result in zip(results_by_runner, shard_results, strict=True):
            # Images that are on disk need not stay in memory.
            stored_result = dataclasses.replace(result, images=()) if stores else result
            collected.append(stored_result)
        start = end
    if stores:
        return [
            shard_store.combine(results_of_runner)
            for shard_store, results_of_runner in zip(stores, results_by_runner, strict=True)
        ]
    return [
        concatenate_results(
            results_of_runner,
            np.concatenate([result_of_shard.images for result_of_shard in results_of_runner]),
        )
        for results_of_runner in results_by_runner
    ]


def _set_budgets(runner: AttackRunner, examples: ExampleBatch, start: int) -> ExampleBatch:
    if runner.epsilon is None:
        return examples
    budget = np.asarray(runner.epsilon, np.float32)
    if budget.ndim:
        budget = budget[start : start + len(examples.labels)]
    return examples._replace(
        epsilon=inputs.broadcast_to_examples(budget, np.float32, len(examples.labels), "epsilon")
    )


def _run_shard(
    runners: list[AttackRunner],
    examples_by_runner: list[ExampleBatch],
    target_labels: np.ndarray | None,
    stores: list[ShardStore],
    shard_number: int,
    on_progress: ProgressCallback,
) -> list[AttackResult]:
    """Attacks one shard at every budget, the smallest first."""
    results: dict[int, AttackResult] = {}
    smaller_result = None
    has_several = len(runners) > 1
    order = range(len(runners))
    if has_several:
        order = sorted(order, key=lambda i: runners[i].epsilon)
    for i in order:
        result = stores[i].read(shard_number, examples_by_runner[i]) if stores else None
        is_stored = result is not None
        if is_stored:
            on_progress(len(result))
        elif has_several and runners[i].is_minimum_norm:
            # One search serves every budget.
            if smaller_result is None:
                unlimited_examples = examples_by_runner[i]._replace(
                    epsilon=make_unlimited_budgets(examples_by_runner[i])
                )
                smaller_result = runners[i].run(
                    unlimited_examples, target_labels, None, on_progress
                )
            result = restrict_to_budgets(
                smaller_result, examples_by_runner[i], runners[i].distance_norm
            )
        else:
            result = _run_after_smaller(
                runners[i], examples_by_runner[i], target_labels, smaller_result, on_progress
            )
        if stores and not is_stored:
            stores[i].write(shard_number, examples_by_runner[i], result)
        if not (has_several and runners[i].is_minimum_norm):
            smaller_result = result
        results[i] = result
    return [results[i] for i in range(len(runners))]


def make_unlimited_budgets(examples: ExampleBatch) -> np.ndarray:
    """Returns budgets that bind nobody."""
    return np.full(len(examples.labels), np.nan, np.float32)


def restrict_to_budgets(result: AttackResult, examples: ExampleBatch, norm: str) -> AttackResult:
    """Counts as failures what lies beyond the budgets of `examples`."""
    evaluation = AttackEvaluation(result.success, result.distances)
    success = evaluation.succeeds_within(norm, examples.epsilon)
    shape = [-1] + [1] * (examples.images.ndim - 1)
    return dataclasses.replace(
        result,
        images=np.where(success.reshape(shape), result.images, examples.images),
        success=success,
        distances={k: np.where(success, d, 0.0) for k, d in result.distances.items()},
        stage=np.where(success, result.stage, -1).astype(np.int32),
        epsilon=examples.epsilon,
    )


def _run_after_smaller(
    runner, examples, target_labels, smaller_result, on_progress
) -> AttackResult:
    """Attacks at one budget, where a smaller one has not done it."""
    if smaller_result is None or not runner.stops_early:
        return runner.run(examples, target_labels, None, on_progress)
    new_result = runner.run(examples, target_labels, smaller_result.success, on_progress)
    return dataclasses.replace(
        select_results(smaller_result, new_result, smaller_result.success), epsilon=examples.epsilon
    )


def select_results(first: AttackResult, second: AttackResult, mask: np.ndarray) -> AttackResult:
    """Takes the rows of `first` where `mask`, else those of `second`."""

    def select_column(first_values, second_values):
        shape = [-1] + [1] * (np.ndim(first_values) - 1)
        return np.where(mask.reshape(shape), first_values, second_values)

    columns = {
        field: select_column(getattr(first, field), getattr(second, field))
        for field in ("images", "success", "stage", "forward_calls", "gradient_calls", "epsilon")
    }
    distances = {
        norm: select_column(first.distances[norm], second.distances[norm])
        for norm in first.distances
    }
    return dataclasses.replace(second, distances=distances, **columns)


def _open_stores(
    runners: list[AttackRunner], examples: ExampleBatch, output: Any
) -> list[ShardStore]:
    folder = pathlib.Path(output)
    folder_names = [""]
    if len(runners) > 1:
        folder_names = inputs.build_epsilon_folders([runner.epsilon for runner in runners])
    first_batch = examples.images[: runners[0].batch_size]
    classifier_digest = compute_classifier_digest(runners[0].classifiers.surrogate, first_batch)
    return [
        ShardStore(folder / name, {"classifier": classifier_digest, **runner.describe()})
        for runner, name in zip(runners, folder_names, strict=True)
    ]


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
    inputs.check_integer("batch_size", batch_size, least=1)
    inputs.check_integer("seed", seed)
    if not isinstance(output, str | os.PathLike | None):
        raise errors.InputError(f"output must be a folder's path or None; got {output!r}.")
    labels = inputs.validate_labels(labels)
    epsilon_values = [inputs.validate_epsilon(epsilon, len(labels))]
    if epsilons is not None:
        epsilon_values = inputs.validate_epsilons(epsilons)
    bounds = inputs.validate_bounds(bounds)
    surrogate = attacks_precision.get_precision_copy(logits_fn, precision)
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
    shards = inputs.iterate_shards(
        images,
        labels,
        ids=ids,
        bounds=bounds,
        shard_size=batch_size * _BATCHES_PER_SHARD if in_shards else None,
    )
    target_labels = inputs.validate_targets(targets, labels)
    sweep_results = run_sweep(runners, shards, target_labels, output, on_progress)
    return sweep_results if epsilons is not None else sweep_results[0]


def _choose_batch_size(batch_size: int, count: int) -> int:
    """Returns the rows of the compiled batch: few images need no more.

    A power of two, so that not every number of images is compiled anew.
    """
    return min(int(batch_size), 1 << max(0, count - 1).bit_length())


# The least budget at which an attack succeeds, example by example.
#
# ```python
# result = attacks.minimal_epsilon(
#     "pgd", classifier, images, labels, high=0.3, num_steps=40
# )
# result.epsilon  # float32 [n], NaN where even `high` was not enough
# ```


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
    inputs.check_integer("halvings", halvings, least=1)
    for name in ("epsilon", "epsilons", "output"):
        if name in options:
            raise errors.InputError(f"minimal_epsilon takes no {name}: it chooses the budgets.")
    _check_can_bisect(attack, images)
    images, labels = np.asarray(images), inputs.validate_labels(labels)
    ids = inputs.validate_ids(ids, len(labels))
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
    best_result = select_results(result, best_result, better)
    return dataclasses.replace(best_result, **calls)
