"""What the bound is, and what keeping to it is worth."""

from collections.abc import Iterator, Sequence

import numpy as np

from qup import uncertainty_measured as measuring
from qup import uncertainty_networks as networks
from qup.measures.uncertainty import checks
from qup.uncertainty_measured import Average, Measured
from qup.uncertainty_text import averages
from qup.uncertainty_text.numbers import RISES, STAYS, UNKNOWN, change

_PRODUCT, _BOUND = "uncertainty_product", "uncertainty_bound"
# Groups of the jackknife less one, where a record does not tell.
_FREEDOM = 39


def sentences(exact: Sequence[Measured]) -> Iterator[str]:
    """Yields sentences on the bound of one network, a record a label."""
    return _half(exact) if exact[0]["vanishes"] else _box(exact)


def _half(exact: Sequence[Measured]) -> Iterator[str]:
    """Yields sentences where the bound is 1/2."""
    yield "The packet vanishes at the boundary, so the bound is exactly 1/2."
    yield _window(exact)
    below = sum(_below(of) for of in exact)
    if averages.known(exact, _PRODUCT) and not below:
        yield (
            "That it is kept is the Cramér-Rao inequality, true of every "
            "network: no finding."
        )
    if below:
        unit = networks.plural(below, exact[0].unit.removesuffix("s"))
        yield (
            f"AT {below} {unit.upper()} THE PRODUCT IS BELOW 1/2 by more than "
            "chance allows: the estimate is at fault."
        )
    yield _excess(exact)


def _window(exact: Sequence[Measured]) -> str:
    """Says whether the widths are those of a Gaussian window alone."""
    width = exact[0].width
    if not np.isfinite(width):
        return ""
    alone = {"sigma_x": width * 0.5**0.5, "sigma_p": 0.5**0.5 / width}
    moves = {
        change(Average(value, 0.0, 1, 1), of.average(measure))
        for measure, value in alone.items()
        for of in exact
    }
    if moves != {STAYS}:
        return ""
    return (
        "No difference of the mean sigma_x and sigma_p from those of the "
        "window without any network is resolved."
    )


def _excess(exact: Sequence[Measured]) -> str:
    found = {of: of.average("excess") for of in exact}
    if not any(np.isfinite(each.value) for each in found.values()):
        return f"The excess over 1/2 {UNKNOWN}."
    seen = [of for of in exact if _positive(found[of])]
    if not seen:
        return "No excess over 1/2 is seen beyond three standard errors."
    how = ", freed of most noise by Cov(x, s) = -1/2," * exact[0].sharp
    return f"The excess over 1/2{how} is {averages.ends(seen, 'excess')}."


def _positive(of: Average) -> bool:
    nothing = Average(0.0, 0.0, 1, 1)
    return of.value > 0 and measuring.apart(of, nothing) > measuring.BEYOND


def _below(of: Measured) -> int:
    """Returns at how many axes the product is below 1/2 beyond chance."""
    value, error = of.shown(_PRODUCT)
    most = checks.limit(len(value), of.told.get("freedom", _FREEDOM))
    return int(np.sum(0.5 - value > most * np.maximum(error, 1e-6)))


def _box(exact: Sequence[Measured]) -> Iterator[str]:
    """Yields sentences where the bound has a boundary term."""
    yield (
        "The packet does not vanish at the faces, so the bound is not 1/2 but "
        f"1/2 |1 - B|, on average {averages.ends(exact, _BOUND)}. That it is "
        "kept follows from the arithmetic of any sample: no finding."
    )
    share = min(map(_resolved, averages.known(exact, _BOUND)), default=1.0)
    if share < 0.5:
        yield (
            f"At only {100 * share:.0f} % of the {exact[0].unit} is the bound "
            "told from 0: it is mostly noise, an upper limit."
        )
    half = Average(0.5, 0.0, 1, 1)
    if all(change(of.average(_PRODUCT), half) == RISES for of in exact):
        yield (
            "The product is below the 1/2 of the paper's Eq. 14, which does "
            "not hold here."
        )


def _resolved(of: Measured) -> float:
    """Returns the share of axes whose bound is told from 0, or is 0."""
    value, error = of.shown("covariance")
    exact = np.abs(value) + error < 1e-9
    return float(np.mean((np.abs(value) > 2 * error) | exact))
