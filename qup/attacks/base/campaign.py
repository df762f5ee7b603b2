"""An attack at one budget or several, shard by shard."""

import dataclasses
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from qup.attacks.base import budgets, sources
from qup.attacks.base.attacker import Attacker, Tick
from qup.attacks.base.engine import Given
from qup.attacks.base.result import AttackResult, joined
from qup.attacks.base.store import Store, identity
from qup.attacks.base.verdict import Verdict


def campaign(
    attackers: list[Attacker],
    pieces: Iterable[Given],
    goals: np.ndarray | None,
    output: Any,
    tick: Tick,
) -> list[AttackResult]:
    """Runs one attacker for each budget over the examples.

    Args:
      attackers: Alike but for their budgets.
      pieces: The examples.
      goals: int32 [n], targets given one by one, or None.
      output: Folder for shards, or None.
      tick: Called with the number of examples finished.

    Returns:
      One result for each attacker.
    """
    stores: list[Store] = []
    found: list[list[AttackResult]] = [[] for _ in attackers]
    start = 0
    for number, given in enumerate(pieces):
        end = start + len(given.labels)
        own = None if goals is None else goals[start:end]
        budgeted = [_budgeted(a, given, start) for a in attackers]
        if output is not None and not stores:
            stores = _stores(attackers, given, output)
        results = _rounds(attackers, budgeted, own, stores, number, tick)
        for column, result in zip(found, results, strict=True):
            # Images that are on disk need not stay in memory.
            kept = dataclasses.replace(result, images=()) if stores else result
            column.append(kept)
        start = end
    if stores:
        return [s.result(c) for s, c in zip(stores, found, strict=True)]
    return [
        joined(column, np.concatenate([part.images for part in column]))
        for column in found
    ]


def _budgeted(attacker: Attacker, given: Given, start: int) -> Given:
    if attacker.epsilon is None:
        return given
    budget = np.asarray(attacker.epsilon, np.float32)
    if budget.ndim:
        budget = budget[start : start + len(given.labels)]
    return given._replace(
        epsilon=sources.column(budget, np.float32, len(given.labels), "epsilon")
    )


def _rounds(
    attackers: list[Attacker],
    budgeted: list[Given],
    goals: np.ndarray | None,
    stores: list[Store],
    number: int,
    tick: Tick,
) -> list[AttackResult]:
    """Attacks one shard at every budget, the smallest first."""
    results: dict[int, AttackResult] = {}
    before = None
    several = len(attackers) > 1
    order = range(len(attackers))
    if several:
        order = sorted(order, key=lambda i: attackers[i].epsilon)
    for i in order:
        kept = stores[i].read(number, budgeted[i]) if stores else None
        known = kept is not None
        if known:
            tick(len(kept))
        elif several and attackers[i].minimum_norm:
            # One search serves every budget.
            if before is None:
                free = budgeted[i]._replace(epsilon=unlimited(budgeted[i]))
                before = attackers[i].solve(free, goals, None, tick)
            kept = cut(before, budgeted[i], attackers[i].measured)
        else:
            kept = _after(attackers[i], budgeted[i], goals, before, tick)
        if stores and not known:
            stores[i].write(number, budgeted[i], kept)
        if not (several and attackers[i].minimum_norm):
            before = kept
        results[i] = kept
    return [results[i] for i in range(len(attackers))]


def unlimited(given: Given) -> np.ndarray:
    """Returns budgets that bind nobody."""
    return np.full(len(given.labels), np.nan, np.float32)


def cut(result: AttackResult, given: Given, norm: str) -> AttackResult:
    """Counts as failures what lies beyond the budgets of `given`."""
    judged = Verdict(result.success, result.distances)
    won = judged.within(norm, given.epsilon)
    shape = [-1] + [1] * (given.images.ndim - 1)
    return dataclasses.replace(
        result,
        images=np.where(won.reshape(shape), result.images, given.images),
        success=won,
        distances={k: np.where(won, d, 0.0) for k, d in
                   result.distances.items()},
        stage=np.where(won, result.stage, -1).astype(np.int32),
        epsilon=given.epsilon,
    )  # fmt: skip


def _after(attacker, given, goals, before, tick) -> AttackResult:
    """Attacks at one budget, where a smaller one has not done it."""
    if before is None or not attacker.stops_early:
        return attacker.solve(given, goals, None, tick)
    new = attacker.solve(given, goals, before.success, tick)
    return dataclasses.replace(
        overlaid(before, new, before.success), epsilon=given.epsilon
    )


def overlaid(
    first: AttackResult, second: AttackResult, mask: np.ndarray
) -> AttackResult:
    """Takes the rows of `first` where `mask`, else those of `second`."""

    def rows(ours, theirs):
        shape = [-1] + [1] * (np.ndim(ours) - 1)
        return np.where(mask.reshape(shape), ours, theirs)

    columns = {
        field: rows(getattr(first, field), getattr(second, field))
        for field in ("images", "success", "stage", "forward_calls",
                      "gradient_calls", "epsilon")
    }  # fmt: skip
    far = {
        norm: rows(first.distances[norm], second.distances[norm])
        for norm in first.distances
    }
    return dataclasses.replace(second, distances=far, **columns)


def _stores(
    attackers: list[Attacker], given: Given, output: Any
) -> list[Store]:
    folder = pathlib.Path(output)
    names = [""]
    if len(attackers) > 1:
        names = budgets.folders([a.epsilon for a in attackers])
    first = given.images[: attackers[0].batch_size]
    told = identity(attackers[0].classifiers.attacked, first)
    return [
        Store(folder / name, {"classifier": told, **a.description()})
        for a, name in zip(attackers, names, strict=True)
    ]
