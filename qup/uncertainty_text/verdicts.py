"""Which checks passed, and which did not."""

from collections.abc import Iterator, Sequence

from qup import uncertainty_networks as networks
from qup.uncertainty_measured import Measured
from qup.uncertainty_text.numbers import listed

_NAMES = {
    "covariance": "Cov(x, s) = -1/2",
    "momentum": "mean momentum 0",
    "forms": "sigma_p in two forms",
    "faces": "B by covariance and by the faces",
    "chains": "R-hat",
    "estimators": "importance sampling and MCMC",
}


def sentences(found: Sequence[Measured]) -> Iterator[str]:
    """Yields sentences on all checks, and on what was refused.

    Args:
      found: Records of one packet in one kind of domain.
    """
    told = [(of, check) for of in found for check in of["checks"]]
    bad = [(of, check) for of, check in told if not check["agrees"]]
    if not told:
        yield "NO CHECK WAS MADE of these numbers."
    elif bad:
        yield f"**{len(bad)} OF {len(told)} CHECKS FAILED.**"
        for name in dict.fromkeys(check["name"] for _, check in bad):
            yield _worst([each for each in bad if each[1]["name"] == name])
        yield "Do not rely on those numbers."
    else:
        names = dict.fromkeys(check["name"] for _, check in told)
        words = listed(_NAMES.get(name, name) for name in names)
        count = f"All {len(told)} checks" if len(told) > 1 else "The one check"
        has = "have" if len(told) > 1 else "has"
        yield f"{count} that can fail {has} passed: {words}."
    yield from _refused(found)


def _worst(bad: Sequence[tuple[Measured, dict]]) -> str:
    """Returns the words of the worst of one kind, and how many there are."""

    def far(pair: tuple[Measured, dict]) -> float:
        # What could not be estimated is the worst.
        furthest = pair[1]["furthest"]
        return furthest if furthest == furthest else float("inf")

    of, check = max(bad, key=far)
    whose = f"{_whose(of)}, {networks.estimator(of['estimator'])}"
    more = f" and {len(bad) - 1} more" * (len(bad) > 1)
    return f"{whose[:1].upper()}{whose[1:]}{more}: {check['words']}"


def _whose(of: Measured) -> str:
    words = [networks.labels([of]), networks.network(of)]
    words += [f"s = {of.width:g}"] if of.width == of.width else []
    return ", ".join(part for part in words if part)


def _refused(found: Sequence[Measured]) -> Iterator[str]:
    """Yields what an estimator could not estimate, a sentence each."""
    lost: dict[str, set[str]] = {}
    for of in found:
        for kind in of["refused"]:
            lost.setdefault(kind, set()).add(_whose(of))
    for kind, names in sorted(lost.items()):
        yield (
            f"By {networks.estimator(kind)} {len(names)} "
            f"{networks.plural(len(names), 'relation')} COULD NOT BE "
            f"ESTIMATED ({'; '.join(sorted(names))})."
        )
