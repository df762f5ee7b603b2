"""Networks two by two, and in what they differ."""

from collections.abc import Sequence

from qup import uncertainty_networks as networks
from qup.uncertainty_measured import FLOOR, Measured
from qup.uncertainty_text import numbers
from qup.uncertainty_text.numbers import FALLS, RISES, STAYS, listed

Pair = tuple[Measured, Measured]


def measures(found: Sequence[Measured]) -> dict[str, str]:
    """Returns what is compared: the excess tells more than the product."""
    first = {"uncertainty_product": "the product"}
    if found[0].sharp:
        first = {"excess": "the excess"}
    return {**first, "sigma_x": "sigma_x", "sigma_p": "sigma_p"}


def matched(one: Sequence[Measured], other: Sequence[Measured]) -> list[Pair]:
    """Returns records of one label, by one estimator where there are such."""
    found = []
    for label in dict.fromkeys(of["label"] for of in one):
        mine = [of for of in one if of["label"] == label]
        theirs = [of for of in other if of["label"] == label]
        both = {of["estimator"] for of in mine}
        both &= {of["estimator"] for of in theirs}
        mine = [of for of in mine if of["estimator"] in both] or mine
        theirs = [of for of in theirs if of["estimator"] in both] or theirs
        if theirs:
            found.append((networks.exact(mine)[0], networks.exact(theirs)[0]))
    return found


def moves(pairs: Sequence[Pair], measure: str) -> list[str | None]:
    """Returns how a measure changes in each pair; None where unknown."""
    return [
        numbers.change(a.average(measure), b.average(measure)) for a, b in pairs
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
    if len(pairs) > 1:
        words += f" ({networks.labels([pairs[0][0]])}; all labels alike)"
    return words


def _plain(value: float) -> str:
    """Returns a number; what float32 does not resolve is said to be small."""
    return f"{value:.3g}" if abs(value) >= FLOOR else f"less than {FLOOR:.0e}"
