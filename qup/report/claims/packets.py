"""The claim that Fig. 2 draws: packets of two classes in X and in P."""

from qup.binary_toy import SPANS
from qup.report import claims, numbers
from qup.report.claims import NOT_RUN, Outcome, Verdict
from qup.report.estimates import Estimate
from qup.report.material import Material
from qup.report.sections import binary_toy

_PACKET, _DOMAIN = "loss", "box"
_NAMES = {
    "sigma_x": "sigma_x", "sigma_p": "sigma_p",
    "overlap_x": "overlap in X", "overlap_p": "overlap in P",
}  # fmt: skip
_DECIDE = ("sigma_x", "sigma_p", "overlap_x")


@claims.register(
    order=72,
    quote="A higher test accuracy is expected if the standard deviations "
    "sigma_X,Car and sigma_X,Deer are small, so that the two neural packets "
    "can be more easily separated apart",
    where="section 3.3 on Fig. 2, on two classes in the unit square",
    threshold="from the fewest to the most epochs, packet of the loss on the "
    "box: sigma_x and the overlap in X fall and sigma_p rises, each beyond "
    "its 95 % interval, as Fig. 2 draws them; contradicted where any goes "
    "the other way beyond it. The overlap in P, which should grow, decides "
    "nothing: it is near 1 whatever the network." + claims.CHANGED,
)
def packets_overlap(material: Material) -> Verdict:
    """Judges Fig. 2 by real packets, whose integrals quadrature gives."""
    found = binary_toy.changes(material, _PACKET, _DOMAIN)
    if None in found.values():
        return NOT_RUN
    outcome = _outcome(found)
    others = {
        domain: _outcome(seen)
        for domain in SPANS
        if domain != _DOMAIN
        and None not in (
            seen := binary_toy.changes(material, _PACKET, domain)
        ).values()
    }  # fmt: skip
    switch = "; ".join(
        f"domain {domain}: {other.value}"
        for domain, other in others.items()
        if other is not outcome
    )
    told = "; ".join(
        f"{_NAMES[name]} {numbers.text(estimate, 4)} (drawn: "
        f"{binary_toy.DRAWN[name]})"
        for name, estimate in found.items()
    )
    used = sum((estimate.rows for estimate in found.values()), ())
    words = f"Most less fewest epochs: {told}."
    return Verdict(outcome, words, used, switch)


def _outcome(found: dict[str, Estimate]) -> Outcome:
    agree = {
        found[name].sign * (1 if binary_toy.DRAWN[name] == "larger" else -1)
        for name in _DECIDE
    }
    if -1 in agree:
        return Outcome.CONTRADICTED
    return Outcome.SUPPORTED if agree == {1} else Outcome.UNDECIDED
