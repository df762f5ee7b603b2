"""The numbers of Tables 2 and 3 themselves: are ours the same?

The paper has a single network for each number. So a number is the same where
it is within a tolerance of our mean, or within the 95 % interval in which one
network more of ours would lie. TA: 2 points (4 on CIFAR-10 after one epoch),
because recipe and initialisation are not given. RA: 5 points; the paper does
not say whether pixels are clipped, so the convention that fits more of its
numbers is taken, one for all, and told.
"""

import math
from collections.abc import Callable

from scipy import stats

from qup import paper
from qup.report import claims
from qup.report.claims import NOT_RUN, Outcome, Verdict
from qup.report.estimates import LEVEL, Estimate
from qup.report.material import Material
from qup.report.selection import Look, accuracy
from qup.scales import Network

_ROBUST = 5.0
_SHARES = (
    "supported where at least three quarters are, contradicted where at most "
    "a quarter is"
)
_ONE_MORE = (
    "or within the 95 % interval of one network more, mean ± t s sqrt(1 + "
    "1/n) over our seeds"
)


def _clean(network: Network, epochs: int) -> float:
    return 4.0 if network.dataset == "cifar10" and epochs == 1 else 2.0


@claims.register(
    order=30,
    quote="Test accuracies for different classifiers",
    where="Tables 2 and 3, TA",
    threshold="each number of the paper within 2 points of our mean (4 on "
    f"CIFAR-10 after one epoch), {_ONE_MORE}: {_SHARES}" + claims.CHANGED,
)
def same_test_accuracies(material: Material) -> Verdict:
    """Judges TA."""
    return _judge(material, (Look.CLEAN,), 0, _clean)


@claims.register(
    order=40,
    quote="Robust accuracies for different classifiers",
    where="Tables 2 and 3, RA under 4 steps of PGD",
    threshold="each number of the paper within 5 points of our mean, "
    f"{_ONE_MORE}, with the clip or without it, whichever fits more of them: "
    f"{_SHARES}" + claims.CHANGED,
)
def same_robust_accuracies(material: Material) -> Verdict:
    """Judges RA."""
    looks = (Look.CLIP, Look.FREE)
    return _judge(material, looks, 1, lambda network, epochs: _ROBUST)


def _judge(
    material: Material,
    looks: tuple[Look, ...],
    place: int,
    tolerance: Callable[[Network, int], float],
) -> Verdict:
    tried = [_compared(material, look, place, tolerance) for look in looks]
    within, told, used = max(tried, key=lambda found: sum(found[0]))
    if not within:
        return NOT_RUN
    look = looks[tried.index((within, told, used))]
    share = sum(within) / len(within)
    outcome = Outcome.MIXED
    if share >= 0.75:
        outcome = Outcome.SUPPORTED
    elif share <= 0.25:
        outcome = Outcome.CONTRADICTED
    words = (
        f"{sum(within)} of {len(within)} ({look.value}; * those that are "
        f"not). Ours minus the paper's, in points: {'; '.join(told)}."
    )
    scope = f"{len(within)} of {claims.lines(material)} numbers compared"
    return Verdict(outcome, words, used, scope=scope)


def _compared(
    material: Material,
    look: Look,
    place: int,
    tolerance: Callable[[Network, int], float],
) -> tuple[list[bool], list[str], tuple]:
    """Returns which numbers are the same, each difference, and the rows."""
    within, told, used = [], [], ()
    for table in material.scale.tables.values():
        for network in table.networks:
            for epochs in table.epochs:
                found = _pair(material, network, epochs, look, place)
                if found is None:
                    continue
                ours, theirs = found
                off = ours.value - theirs
                limit = max(tolerance(network, epochs), _one_more(ours))
                within.append(abs(off) <= limit)
                used += ours.rows
                mark = "" if within[-1] else "*"
                told.append(
                    f"{network.dataset} {network.title} {epochs}: {off:+.1f} "
                    f"of {limit:.1f} allowed{mark}"
                )
    return within, told, used


def _one_more(ours: Estimate) -> float:
    """Returns half the interval in which one network more would lie."""
    if ours.seeds < 2:
        return 0.0
    far = stats.t.ppf((1 + LEVEL) / 2, ours.seeds - 1)
    return float(far * ours.spread * math.sqrt(1 + 1 / ours.seeds))


def _pair(
    material: Material,
    network: Network,
    epochs: int,
    look: Look,
    place: int,
) -> tuple[Estimate, float] | None:
    known = paper.published(network.dataset, network.model, "CL", epochs)
    ours = accuracy(material, network, "CL", epochs, look)
    if known is None or network.compact or ours is None:
        return None
    return ours, known[place]
