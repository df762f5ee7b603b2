"""Networks two by two, and in what they differ."""

import math
from collections.abc import Sequence

from qup import uncertainty_differences as differences
from qup import uncertainty_networks as networks
from qup.uncertainty_measured import FLOOR, Measured
from qup.uncertainty_text import numbers
from qup.uncertainty_text.numbers import (
    FALLS,
    RISES,
    STAYS,
    listed,
    number,
)

Pair = tuple[Measured, Measured]


def measures(found: Sequence[Measured]) -> dict[str, str]:
    """Returns what is compared: the excess tells more than the product."""
    first = {"uncertainty_product": "the product"}
    if found[0].sharp:
        first = {"excess": "the excess"}
    return {**first, "sigma_x": "sigma_x", "sigma_p": "sigma_p"}


def matched(one: Sequence[Measured], other: Sequence[Measured]) -> list[Pair]:
    """Returns records of one label, by one estimator where there are such.

    Of several such pairs the one that tells most of the first measure.
    """
    found = []
    for label in dict.fromkeys(of["label"] for of in one):
        mine = [of for of in one if of["label"] == label]
        theirs = [of for of in other if of["label"] == label]
        both = {of["estimator"] for of in mine}
        both &= {of["estimator"] for of in theirs}
        pairs = [
            (a, b) for a in mine for b in theirs
            if not both or a["estimator"] == b["estimator"]
        ]  # fmt: skip
        if pairs:
            found.append(min(pairs, key=_error))
    return found


def _error(pair: Pair) -> float:
    measure = next(iter(measures(pair)))
    error = differences.difference(*pair, measure).stderr
    return error if math.isfinite(error) else math.inf


def moves(pairs: Sequence[Pair], measure: str) -> list[str | None]:
    """Returns how a measure changes in each pair; None where unknown."""
    return [
        numbers.direction(differences.difference(a, b, measure))
        for a, b in pairs
    ]


def apart(pairs: Sequence[Pair]) -> list[str]:
    """Returns the names of what changes for any label."""
    return [
        name
        for measure, name in measures([a for a, _ in pairs]).items()
        if {RISES, FALLS} & set(moves(pairs, measure))
    ]


def changes(pairs: Sequence[Pair]) -> str:
    """Returns "the product rises from a to b, while sigma_x stays ..."."""
    parts, still, unknown = [], [], []
    for measure, name in measures([a for a, _ in pairs]).items():
        told = moves(pairs, measure)
        if set(told) == {None}:
            unknown.append(name)
        elif set(told) <= {STAYS, None}:
            still.append(name)
        else:
            parts.append(f"{name} {_change(pairs, measure, told)}")
    words = listed(parts)
    if still:
        words += f"{', while ' * bool(parts)}no change of {listed(still)} is "
        words += "resolved"
    if unknown:
        words += f"{'; ' * bool(words)}{listed(unknown)} COULD NOT BE COMPARED"
    return words


def _change(pairs: Sequence[Pair], measure: str, told: list) -> str:
    if len(set(told)) > 1:
        return listed(
            f"{word} for {told.count(word)} of {len(told)} labels"
            for word in (RISES, FALLS)
            if word in told
        )
    before, after = (_plain(of.average(measure).value) for of in pairs[0])
    words = f"{told[0]} from {before} to {after}"
    if differences.paired(*pairs[0]):
        moved = number(differences.difference(*pairs[0], measure))
        words += f" (by {moved} on the same samples)"
    if len(pairs) > 1:
        words += f" ({networks.labels([pairs[0][0]])}; all labels alike)"
    return words


def _plain(value: float) -> str:
    """Returns a number; what float32 does not resolve is said to be small."""
    return f"{value:.3g}" if abs(value) >= FLOOR else f"less than {FLOOR:.0e}"
