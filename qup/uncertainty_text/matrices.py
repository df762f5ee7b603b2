"""What holds of all combinations of directions at once."""

import math
from collections.abc import Iterator, Sequence

from qup import uncertainty_measured as measuring
from qup import uncertainty_networks as networks
from qup.uncertainty_measured import Average, Measured
from qup.uncertainty_text.numbers import UNKNOWN, number


def sentences(exact: Sequence[Measured]) -> Iterator[str]:
    """Yields sentences on the matrix form, where there are directions.

    Args:
      exact: Records of one network, a record a label.
    """
    told = [of for of in exact if of["matrix"]]
    if not told:
        return
    known = [of for of in told if math.isfinite(of["matrix"]["least"][0])]
    if not known:
        yield f"The matrix form {UNKNOWN.upper()}."
        return
    of = min(known, key=lambda each: each["matrix"]["least"][0])
    whose = f" ({networks.labels([of])})" * (len(exact) > 1)
    yield (
        f"Of the {of['matrix']['count']} directions together the smallest "
        "eigenvalue of Sigma - C P_c^-1 C^T, the distance of their best "
        f"combination from its bound, is {number(_value(of, 'least'))}{whose}: "
        "on no sample is it negative beyond its error, no finding."
    )
    if not of["vanishes"]:
        yield _without_b(known)


def _without_b(known: Sequence[Measured]) -> str:
    """Says whether Eq. 14 for all combinations, Sigma >= P^-1/4, is broken."""
    of = min(known, key=lambda each: each["matrix"]["least_vanishing"][0])
    least = _value(of, "least_vanishing")
    far = measuring.apart(least, Average(0.0, 0.0, 1, 1))
    broken = least.value < 0 and far > measuring.BEYOND
    told = "is broken" if broken else "is not seen to be broken"
    return (
        "Without the boundary term, of Sigma - P^-1/4, it is "
        f"{number(least)}: the paper's bound {told} here."
    )


def _value(of: Measured, name: str) -> Average:
    return Average(*of["matrix"][name], 1, 1)
