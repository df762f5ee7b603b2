"""A number of one label, or the least and the greatest of several."""

from collections.abc import Sequence

import numpy as np

from qup import uncertainty_networks as networks
from qup.uncertainty_measured import Measured
from qup.uncertainty_text.numbers import STAYS, UNKNOWN, change, number


def known(found: Sequence[Measured], measure: str) -> list[Measured]:
    """Returns those of which a measure could be estimated."""
    return [of for of in found if np.isfinite(of.average(measure).value)]


def ends(found: Sequence[Measured], measure: str, labelled: bool = True) -> str:
    """Returns a number; of several labels the least and the greatest."""
    there = known(found, measure)
    if not there:
        return f"a number that {UNKNOWN.upper()}"

    def value(of: Measured) -> float:
        return of.average(measure).value

    least, most = (choose(there, key=value) for choose in (min, max))
    told = [least, most]
    if change(least.average(measure), most.average(measure)) == STAYS:
        told = [there[0]]
    shown = labelled and len(found) > 1
    name = networks.labels if len(told) > 1 else _alike
    return " to ".join(
        number(of.average(measure)) + f" ({name([of])})" * shown for of in told
    )


def _alike(found: Sequence[Measured]) -> str:
    return f"{networks.labels(found)}, the others alike"
