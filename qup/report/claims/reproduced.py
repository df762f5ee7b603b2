"""The numbers of Tables 2 and 3 themselves: are ours the same?

Tolerances were fixed before the runs. TA: 2 points (4 on CIFAR-10 after one
epoch), because recipe and initialisation are not given. RA: 5 points; the
paper does not say whether pixels are clipped, so the better of both is
taken, and told.
"""

from collections.abc import Callable

from qup import paper
from qup.report import claims
from qup.report.claims import NOT_RUN, Outcome, Verdict
from qup.report.estimates import Estimate
from qup.report.material import Material
from qup.report.selection import Look, accuracy
from qup.scales import Network

_ROBUST = 5.0


def _clean(network: Network, epochs: int) -> float:
    return 4.0 if network.dataset == "cifar10" and epochs == 1 else 2.0


@claims.register(
    order=30,
    quote="Test accuracies for different classifiers",
    where="Tables 2 and 3, TA",
    threshold="each of our means within 2 points of the paper's number (4 on "
    "CIFAR-10 after one epoch): supported where at least three quarters are, "
    "contradicted where at most a quarter is",
)
def same_test_accuracies(material: Material) -> Verdict:
    """Judges TA."""
    return _judge(material, (Look.CLEAN,), 0, _clean)


@claims.register(
    order=40,
    quote="Robust accuracies for different classifiers",
    where="Tables 2 and 3, RA under 4 steps of PGD",
    threshold="each of our means, clipped or not, whichever is nearer, within "
    "5 points of the paper's number; otherwise as for TA",
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
    within, told, used = [], [], ()
    for table in material.scale.tables.values():
        for network in table.networks:
            for epochs in table.epochs:
                found = _nearest(material, network, epochs, looks, place)
                if found is None:
                    continue
                ours, theirs = found
                off = ours.value - theirs
                within.append(abs(off) <= tolerance(network, epochs))
                used += ours.rows
                told.append(
                    f"{network.dataset} {network.title} {epochs}: {off:+.1f}"
                )
    if not within:
        return NOT_RUN
    share = sum(within) / len(within)
    outcome = Outcome.MIXED
    if share >= 0.75:
        outcome = Outcome.SUPPORTED
    elif share <= 0.25:
        outcome = Outcome.CONTRADICTED
    words = (
        f"{sum(within)} of {len(within)} within the tolerance. Ours minus "
        f"the paper's, in points: {'; '.join(told)}."
    )
    return Verdict(outcome, words, used)


def _nearest(
    material: Material,
    network: Network,
    epochs: int,
    looks: tuple[Look, ...],
    place: int,
) -> tuple[Estimate, float] | None:
    known = paper.published(network.dataset, network.model, "CL", epochs)
    found = [
        estimate
        for look in looks
        if (estimate := accuracy(material, network, "CL", epochs, look))
    ]
    if known is None or network.compact or not found:
        return None
    return min(found, key=lambda e: abs(e.value - known[place])), known[place]
