"""Claims of section 3: the uncertainty relation itself, and the packets of Fig. 2."""

from qup.reproduction.binary_toy import SPANS
from qup.reproduction.report import claims, document, queries
from qup.reproduction.report.claims import NOT_RUN_RESULT, ClaimResult, Evidence, Outcome
from qup.reproduction.report.data import (
    AccuracyKind,
    ReportData,
    estimate_accuracy,
    find_accuracy_rows,
)
from qup.reproduction.report.queries import PACKET_TRENDS
from qup.reproduction.report.statistics import IntervalEstimate, compute_change

_PRINTED_BOUND = 0.5
# An interval may reach this far below the bound and still count as keeping it.
_BOUND_TOLERANCE = 1e-3
_DEVIATIONS = ("sigma_x", "sigma_p")
# The signs of the changes in the claim that an accurate classifier is less robust.
_EXPECTED_SIGNS = {"TA": 1, "sigma_x": -1, "sigma_p": 1, "RA": -1}
_PACKET_MEASURE_TITLES = {"overlap_x": "overlap in X", "overlap_p": "overlap in P"}
_DECISIVE_MEASURES = ("sigma_x", "sigma_p", "overlap_x")


@claims.register(
    order=50,
    quote="sigma_p sigma_x >= 1/2",
    where="Theorem 1, Eqs. 14 and 19, on the images' own box [0, 1]^M",
    threshold="contradicted if, at every number of epochs, the 95 % interval of the mean product "
    "over pixels is below 1/2; supported if it is above 0.499" + claims.POST_HOC,
)
def product_on_the_box(data: ReportData) -> ClaimResult:
    """Judges the printed bound on the domain of images."""
    result = _judge_product(data, "box").conclude(
        prefix=f"Product on box, {data.main_network.title}: "
    )
    if result.outcome is not Outcome.CONTRADICTED:
        return result
    return ClaimResult(
        result.outcome,
        result.text,
        result.rows,
        "in a Gaussian window, at whose edge the packet vanishes, the bound of 1/2 is exact",
    )


@claims.register(
    order=60,
    quote="sigma_p sigma_x >= 1/2",
    where="Theorem 1, Eqs. 14 and 19, in a Gaussian window",
    threshold="supported if, at every number of epochs, the 95 % interval of the mean product is "
    "above 0.499; contradicted if it is below 1/2. There the inequality is a theorem for every "
    "network, independent of TA and RA." + claims.POST_HOC,
)
def product_in_a_window(data: ReportData) -> ClaimResult:
    """Judges the bound where it is a theorem."""
    windows = [domain for domain in queries.list_domains(data) if domain != "box"]
    if not windows:
        return NOT_RUN_RESULT
    return _judge_product(data, windows[0]).conclude(
        prefix=f"Product on {windows[0]}, {data.main_network.title}: "
    )


def _judge_product(data: ReportData, domain: str) -> Evidence:
    evidence = Evidence()
    for epochs in data.main_epochs:
        estimate = queries.estimate_uncertainty(
            data, data.main_network, epochs, "uncertainty_product", domain
        )
        if estimate is not None:
            text = (
                f"{document.format_count(epochs, 'epoch')}: {document.format_estimate(estimate, 5)}"
            )
            evidence.add(_judge_bound(estimate), text, estimate)
    return evidence


def _judge_bound(estimate: IntervalEstimate) -> Outcome:
    """Returns whether a product reaches the printed bound."""
    if estimate.high < _PRINTED_BOUND:
        return Outcome.CONTRADICTED
    if estimate.low >= _PRINTED_BOUND - _BOUND_TOLERANCE:
        return Outcome.SUPPORTED
    return Outcome.UNDECIDED


@claims.register(
    order=105,
    quote="the uncertainty principle should be a common result for general neural networks",
    where="supplement, section 3, on the translator's own L1 loss",
    threshold="the bound of 1/2 as for a classifier: supported if the 95 % interval of the mean "
    "product is above 0.499 in the Gaussian window and on the box, contradicted if it is below 1/2 "
    "on both, mixed if they differ",
)
def product_of_a_generator(data: ReportData) -> ClaimResult:
    """Judges the printed bound for a network that is not a classifier."""
    evidence = Evidence(_combine_domains)
    for domain, estimate in queries.estimate_generator(data, "uncertainty_product").items():
        text = f"{domain}: {document.format_estimate(estimate, 5)}"
        evidence.add(_judge_bound(estimate), text, estimate)
    return evidence.conclude(prefix="Product of the translator's packet: ")


def _combine_domains(outcomes: list[Outcome]) -> Outcome:
    if len(outcomes) < 2 or Outcome.UNDECIDED in outcomes:
        return Outcome.UNDECIDED
    return claims.combine_by_majority(outcomes)


@claims.register(
    order=70,
    quote="Accurate classifier has smaller sigma_X, thus larger sigma_P, "
    "making the classifier less robust",
    where="Fig. 2 and section 3.3",
    threshold="from the fewest to the most epochs, on the box: TA rises, sigma_x falls, sigma_p "
    "rises and RA (PGD-4, clipped) falls, each beyond its 95 % interval; contradicted if TA rises "
    "and any of the others has the opposite change" + claims.POST_HOC_ONE_NETWORK,
)
def smaller_x_larger_p(data: ReportData) -> ClaimResult:
    """Judges the exchange of the deviations."""
    exchange = _compute_exchange(data, AccuracyKind.PGD4_CLIPPED)
    if exchange is None:
        return NOT_RUN_RESULT
    (first, last), changes = exchange
    changes_text = ", ".join(
        f"{name} {document.format_estimate(change, 4 if name in _DEVIATIONS else 2)}"
        for name, change in changes.items()
    )
    evidence = Evidence()
    evidence.add(
        _judge_exchange(changes),
        f"{data.main_network.title}, epochs {first} to {last}: {changes_text}",
        *changes.values(),
    )
    for kind in claims.ALTERNATIVE_ATTACKS:
        alternative = _compute_exchange(data, kind)
        if alternative is not None:
            evidence.alternatives[kind.format_title(data)] = [_judge_exchange(alternative[1])]
    return evidence.conclude(
        suffix=" (sigma_x of a uniform density is 0.2887; here it is nearly as large.)"
    )


def _compute_exchange(
    data: ReportData, kind: AccuracyKind
) -> tuple[tuple[int, int], dict[str, IntervalEstimate]] | None:
    """Returns the fewest and the most epochs, and the changes between them."""
    network = data.main_network
    measured_epochs = [
        n
        for n in data.main_epochs
        if estimate_accuracy(data, network, "CL", n, kind)
        and queries.estimate_uncertainty(data, network, n, "sigma_p", "box")
    ]
    if len(measured_epochs) < 2:
        return None
    first_and_last = (measured_epochs[0], measured_epochs[-1])
    accuracy_kinds = {"TA": AccuracyKind.CLEAN, "RA": kind}
    changes = {}
    for name in _EXPECTED_SIGNS:
        if name in _DEVIATIONS:
            pair = (
                queries.estimate_uncertainty(data, network, n, name, "box").rows
                for n in first_and_last
            )
        else:
            pair = (
                find_accuracy_rows(data, network, "CL", n, accuracy_kinds[name])
                for n in first_and_last
            )
        changes[name] = compute_change(*pair)
    return None if None in changes.values() else (first_and_last, changes)


def _judge_exchange(changes: dict[str, IntervalEstimate]) -> Outcome:
    signs = {name: change.sign for name, change in changes.items()}
    if signs == _EXPECTED_SIGNS:
        return Outcome.SUPPORTED
    is_opposite = any(signs[name] == -sign for name, sign in _EXPECTED_SIGNS.items())
    return Outcome.CONTRADICTED if signs["TA"] == 1 and is_opposite else Outcome.UNDECIDED


@claims.register(
    order=72,
    quote="A higher test accuracy is expected if the standard deviations "
    "sigma_X,Car and sigma_X,Deer are small, so that the two neural packets "
    "can be more easily separated apart",
    where="section 3.3 on Fig. 2, on two classes in the unit square",
    threshold="from the fewest to the most epochs, packet of the loss on the box: sigma_x and the "
    "overlap in X fall and sigma_p rises, each beyond its 95 % interval, as Fig. 2 draws them; "
    "contradicted if any has the opposite change beyond it. The overlap in P, which should grow, "
    "is not decisive: it is near 1 for every network." + claims.POST_HOC,
)
def packets_overlap(data: ReportData) -> ClaimResult:
    """Judges Fig. 2 by real packets, with integrals by quadrature."""
    changes = {domain: queries.compute_packet_changes(data, "loss", domain) for domain in SPANS}
    box_changes = changes.pop("box")
    if None in box_changes.values():
        return NOT_RUN_RESULT
    text = "; ".join(
        f"{_PACKET_MEASURE_TITLES.get(name, name)} {document.format_estimate(change, 4)} (drawn: "
        f"{PACKET_TRENDS[name]})"
        for name, change in box_changes.items()
    )
    evidence = Evidence()
    evidence.add(_judge_packet_changes(box_changes), text, *box_changes.values())
    for domain, domain_changes in changes.items():
        if None not in domain_changes.values():
            evidence.alternatives[f"domain {domain}"] = [_judge_packet_changes(domain_changes)]
    return evidence.conclude(prefix="Most minus fewest epochs: ")


def _judge_packet_changes(changes: dict[str, IntervalEstimate]) -> Outcome:
    agreements = {
        changes[name].sign * (1 if PACKET_TRENDS[name] == "larger" else -1)
        for name in _DECISIVE_MEASURES
    }
    if -1 in agreements:
        return Outcome.CONTRADICTED
    return Outcome.SUPPORTED if agreements == {1} else Outcome.UNDECIDED
