"""Claims of section 3: the uncertainty relation itself."""

from qup.reproduction.binary_toy import SPANS
from qup.reproduction.presets import NetworkPreset
from qup.reproduction.report import claims, document, queries
from qup.reproduction.report.claims import NOT_RUN_RESULT, ClaimResult, Outcome
from qup.reproduction.report.data import (
    AccuracyKind,
    ReportData,
    estimate_accuracy,
    find_accuracy_rows,
)
from qup.reproduction.report.sections import binary_toy, uncertainty
from qup.reproduction.report.statistics import IntervalEstimate, compute_change

_PRINTED_BOUND = 0.5
# How far an interval may reach below it, and still be said to keep it.
_BOUND_TOLERANCE = 1e-3
_DEVIATIONS = ("sigma_x", "sigma_p")
# Signs of the changes that the exchange of both asks for.
_EXPECTED_SIGNS = {"TA": 1, "sigma_x": -1, "sigma_p": 1, "RA": -1}


@claims.register(
    order=50,
    quote="sigma_p sigma_x >= 1/2",
    where="Theorem 1, Eqs. 14 and 19, on the images' own box [0, 1]^M",
    threshold="contradicted where, at every number of epochs, the 95 % "
    "interval of the mean product over pixels lies below 1/2; supported where "
    "it lies above .499" + claims.POST_HOC,
)
def product_on_the_box(data: ReportData) -> ClaimResult:
    """Judges the printed bound where images live."""
    return _judge_product(
        data,
        "box",
        "in a Gaussian window, at whose edge the packet vanishes, the bound of 1/2 is exact",
    )


@claims.register(
    order=60,
    quote="sigma_p sigma_x >= 1/2",
    where="Theorem 1, Eqs. 14 and 19, in a Gaussian window",
    threshold="supported where, at every number of epochs, the 95 % interval "
    "of the mean product lies above .499; contradicted where it lies below "
    "1/2. There the inequality is a theorem that every network keeps: it "
    "says nothing of TA and RA." + claims.POST_HOC,
)
def product_in_a_window(data: ReportData) -> ClaimResult:
    """Judges the bound where it is a theorem."""
    windows = [d for d in queries.list_domains(data) if d != "box"]
    if not windows:
        return NOT_RUN_RESULT
    return _judge_product(data, windows[0], "")


@claims.register(
    order=105,
    quote="the uncertainty principle should be a common result for general neural networks",
    where="supplement, section 3, on the translator's own L1 loss",
    threshold="the bound of 1/2 as for a classifier: supported where the 95 % "
    "interval of the mean product lies above .499 in the Gaussian window and "
    "on the box, contradicted where it lies below 1/2 on both, mixed where "
    "they differ",
)
def product_of_a_generator(data: ReportData) -> ClaimResult:
    """Judges the printed bound for a network that is no classifier."""
    outcomes, texts, used_rows = [], [], ()
    domains = uncertainty.list_generator_domains(data)
    for domain in domains:
        estimate = uncertainty.estimate_generator(data, "uncertainty_product", domain)
        if estimate is None:
            continue
        used_rows += estimate.rows
        texts.append(f"{domain}: {document.format_estimate(estimate, 5)}")
        outcomes.append(_judge_bound(estimate))
    if not outcomes:
        return NOT_RUN_RESULT
    text = f"Product of the translator's packet: {'; '.join(texts)}."
    outcome = claims.combine_by_majority(outcomes)
    if len(outcomes) < 2 or Outcome.UNDECIDED in outcomes:
        outcome = Outcome.UNDECIDED
    return ClaimResult(outcome, text, used_rows)


def _judge_bound(estimate: IntervalEstimate) -> Outcome:
    """Says whether a product reaches the printed bound."""
    if estimate.high < _PRINTED_BOUND:
        return Outcome.CONTRADICTED
    if estimate.low >= _PRINTED_BOUND - _BOUND_TOLERANCE:
        return Outcome.SUPPORTED
    return Outcome.UNDECIDED


def _judge_product(data: ReportData, domain: str, sensitivity: str) -> ClaimResult:
    table = data.scale.tables["table2"]
    network, outcomes, texts, used_rows = table.networks[0], [], [], ()
    for epochs in table.epochs:
        estimate = queries.estimate_uncertainty(
            data, network, epochs, "uncertainty_product", domain
        )
        if estimate is None:
            continue
        used_rows += estimate.rows
        texts.append(
            f"{document.format_count(epochs, 'epoch')}: {document.format_estimate(estimate, 5)}"
        )
        outcomes.append(_judge_bound(estimate))
    if not outcomes:
        return NOT_RUN_RESULT
    outcome = claims.combine_by_majority(outcomes)
    text = f"Product on {domain}, {network.title}: {'; '.join(texts)}."
    stated_sensitivity = sensitivity if outcome is Outcome.CONTRADICTED else ""
    return ClaimResult(outcome, text, used_rows, stated_sensitivity)


@claims.register(
    order=70,
    quote="Accurate classifier has smaller sigma_X, thus larger sigma_P, "
    "making the classifier less robust",
    where="Fig. 2 and section 3.3",
    threshold="from the fewest to the most epochs, on the box: TA rises, "
    "sigma_x falls, sigma_p rises and RA (PGD-4, clipped) falls, each beyond "
    "its 95 % interval; contradicted where TA rises and any of the others "
    "goes the other way" + claims.POST_HOC_ONE_NETWORK,
)
def smaller_x_larger_p(data: ReportData) -> ClaimResult:
    """Judges the exchange of the deviations."""
    exchange = _compute_exchange(data, AccuracyKind.PGD4_CLIPPED)
    if exchange is None:
        return NOT_RUN_RESULT
    network, first_and_last, changes = exchange
    outcome = _judge_exchange(changes)
    alternatives = {}
    for kind in claims.ALTERNATIVE_ATTACKS:
        alternative = _compute_exchange(data, kind)
        alternatives[kind] = [_judge_exchange(alternative[2])] if alternative else []
    changes_text = ", ".join(
        f"{name} {document.format_estimate(difference, 4 if name in _DEVIATIONS else 2)}"
        for name, difference in changes.items()
    )
    used_rows = sum((difference.rows for difference in changes.values()), ())
    text = (
        f"{network.title}, epochs {first_and_last[0]} to {first_and_last[1]}: {changes_text}. "
        "(sigma_x of a uniform density is .2887, and hardly less here.)"
    )
    sensitivity = claims.format_sensitivity(data, outcome, alternatives)
    return ClaimResult(outcome, text, used_rows, sensitivity)


def _compute_exchange(
    data: ReportData, kind: AccuracyKind
) -> tuple[NetworkPreset, tuple[int, int], dict[str, IntervalEstimate]] | None:
    """Returns what changes from the fewest to the most epochs."""
    table = data.scale.tables["table2"]
    network = table.networks[0]
    measured_epochs = [
        n
        for n in table.epochs
        if estimate_accuracy(data, network, "CL", n, kind)
        and queries.estimate_uncertainty(data, network, n, "sigma_p", "box")
    ]
    if len(measured_epochs) < 2:
        return None
    first_and_last = (measured_epochs[0], measured_epochs[-1])
    changes = {}
    for name in _EXPECTED_SIGNS:
        if name in _DEVIATIONS:
            pair = [
                queries.estimate_uncertainty(data, network, n, name, "box").rows
                for n in first_and_last
            ]
        else:
            measure_kind = kind if name == "RA" else AccuracyKind.CLEAN
            pair = [
                find_accuracy_rows(data, network, "CL", n, measure_kind) for n in first_and_last
            ]
        changes[name] = compute_change(*pair)
    return None if None in changes.values() else (network, first_and_last, changes)


def _judge_exchange(changes: dict[str, IntervalEstimate]) -> Outcome:
    signs = {name: difference.sign for name, difference in changes.items()}
    if signs == _EXPECTED_SIGNS:
        return Outcome.SUPPORTED
    opposite = any(signs[name] == -_EXPECTED_SIGNS[name] for name in _EXPECTED_SIGNS)
    if signs["TA"] == 1 and opposite:
        return Outcome.CONTRADICTED
    return Outcome.UNDECIDED


# The claim that Fig. 2 draws: packets of two classes in X and in P.


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
        f"{_PACKET_MEASURE_TITLES[name]} {document.format_estimate(estimate, 4)} (drawn: "
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
