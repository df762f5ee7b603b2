"""The claim that Fig. 2 draws: packets of two classes in X and in P."""

from qup.binary_toy import SPANS
from qup.report import claims, numbers
from qup.report.claims import NOT_RUN_RESULT, ClaimResult, Outcome
from qup.report.estimates import IntervalEstimate
from qup.report.material import ReportData
from qup.report.sections import binary_toy

_PACKET_TYPE, _PACKET_DOMAIN = "loss", "box"
_PACKET_MEASURE_TITLES = {
    "sigma_x": "sigma_x",
    "sigma_p": "sigma_p",
    "overlap_x": "overlap in X",
    "overlap_p": "overlap in P",
}
_DECISIVE_MEASURES = ("sigma_x", "sigma_p", "overlap_x")


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
    "nothing: it is near 1 whatever the network." + claims.POST_HOC,
)
def packets_overlap(data: ReportData) -> ClaimResult:
    """Judges Fig. 2 by real packets, whose integrals quadrature gives."""
    changes = binary_toy.compute_packet_changes(data, _PACKET_TYPE, _PACKET_DOMAIN)
    if None in changes.values():
        return NOT_RUN_RESULT
    outcome = _judge_packet_changes(changes)
    alternatives = {
        domain: _judge_packet_changes(domain_changes)
        for domain in SPANS
        if domain != _PACKET_DOMAIN
        and None
        not in (
            domain_changes := binary_toy.compute_packet_changes(data, _PACKET_TYPE, domain)
        ).values()
    }
    sensitivity = "; ".join(
        f"domain {domain}: {alternative.value}"
        for domain, alternative in alternatives.items()
        if alternative is not outcome
    )
    numbers_text = "; ".join(
        f"{_PACKET_MEASURE_TITLES[name]} {numbers.format_estimate(estimate, 4)} (drawn: "
        f"{binary_toy.PAPER_TRENDS[name]})"
        for name, estimate in changes.items()
    )
    used_rows = sum((estimate.rows for estimate in changes.values()), ())
    text = f"Most less fewest epochs: {numbers_text}."
    return ClaimResult(outcome, text, used_rows, sensitivity)


def _judge_packet_changes(changes: dict[str, IntervalEstimate]) -> Outcome:
    agreements = {
        changes[name].sign * (1 if binary_toy.PAPER_TRENDS[name] == "larger" else -1)
        for name in _DECISIVE_MEASURES
    }
    if -1 in agreements:
        return Outcome.CONTRADICTED
    return Outcome.SUPPORTED if agreements == {1} else Outcome.UNDECIDED
