"""An attack at one budget or several, shard by shard."""

import dataclasses
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from qup.attacks.base import budgets, sources
from qup.attacks.base.attacker import AttackRunner, ProgressCallback
from qup.attacks.base.engine import ExampleBatch
from qup.attacks.base.result import AttackResult, concatenate_results
from qup.attacks.base.store import ShardStore, compute_classifier_digest
from qup.attacks.base.verdict import AttackEvaluation


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
        epsilon=sources.broadcast_to_examples(budget, np.float32, len(examples.labels), "epsilon")
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
        folder_names = budgets.build_epsilon_folders([runner.epsilon for runner in runners])
    first_batch = examples.images[: runners[0].batch_size]
    classifier_digest = compute_classifier_digest(runners[0].classifiers.surrogate, first_batch)
    return [
        ShardStore(folder / name, {"classifier": classifier_digest, **runner.describe()})
        for runner, name in zip(runners, folder_names, strict=True)
    ]
