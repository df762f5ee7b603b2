"""Claims of the supplement: what augmentation does, and whose work it is."""

from qup.reproduction.presets import NetworkPreset
from qup.reproduction.report import claims, document
from qup.reproduction.report.claims import NOT_RUN_RESULT, ClaimResult, Outcome
from qup.reproduction.report.data import AccuracyKind, ReportData, find_accuracy_rows
from qup.reproduction.report.statistics import IntervalEstimate, compute_change

# Points of TA that a robust network may lack and still count as accurate.
_ACCURACY_MARGIN = 1.0
_METHOD_TITLES = {"pgd_at": "PGD-AT", "trades": "TRADES"}


@claims.register(
    order=80,
    quote="it is possible for us to increase both its TA and RA, as is illustrated by the ConvNet",
    where="supplement, section 3 on Table 1",
    threshold="for every network and number of epochs run, the 95 % intervals "
    "of ACL's TA and RA (PGD-4, clipped) less CL's both lie above 0; "
    "contradicted where one lies below; mixed where networks differ. The "
    "walk's N and step were chosen on held-out images to come near the "
    "paper's TA and RA." + claims.POST_HOC,
)
def augmentation_raises_robustness(data: ReportData) -> ClaimResult:
    """Judges the pair against the classifier."""
    outcomes, texts, used_rows = [], [], ()
    alternatives: dict[AccuracyKind, list[Outcome]] = {
        kind: [] for kind in claims.ALTERNATIVE_ATTACKS
    }
    for table in data.scale.tables.values():
        for network in table.networks:
            for epochs in table.epochs:
                gains = {
                    kind: compute_change(
                        find_accuracy_rows(data, network, "CL", epochs, kind),
                        find_accuracy_rows(data, network, "ACL", epochs, kind),
                    )
                    for kind in (
                        AccuracyKind.CLEAN,
                        AccuracyKind.PGD4_CLIPPED,
                        *claims.ALTERNATIVE_ATTACKS,
                    )
                }
                clean, robust = gains.pop(AccuracyKind.CLEAN), gains.pop(AccuracyKind.PGD4_CLIPPED)
                if clean is None or robust is None:
                    continue
                outcomes.append(_judge_both_gains(clean, robust))
                used_rows += clean.rows + robust.rows
                texts.append(
                    f"{network.dataset} {network.title} {epochs}: TA "
                    f"{document.format_estimate(clean)}, RA {document.format_estimate(robust)}"
                )
                for kind, gain in gains.items():
                    if gain is not None:
                        alternatives[kind].append(_judge_both_gains(clean, gain))
    if not outcomes:
        return NOT_RUN_RESULT
    outcome = claims.combine_unanimously(outcomes)
    sensitivity = claims.format_sensitivity(data, outcome, alternatives, claims.combine_unanimously)
    text = f"ACL less CL, in points: {'; '.join(texts)}."
    num_total = claims.count_table_rows(data)
    scope = claims.format_tally(outcomes, num_total, "networks at their epochs")
    return ClaimResult(outcome, text, used_rows, sensitivity, scope)


@claims.register(
    order=90,
    quote="Delta_N can be seen as a conjugate of the raw image X_0",
    where="supplement, section 2, read as: Delta_N tells the translator more than the class",
    threshold="supported where the pair taught Delta_N has a higher TA than "
    "one taught a single fixed pattern for each class, beyond the 95 % "
    "interval; contradicted where the fixed pattern has the higher TA: then "
    "the gain is the translator's knowledge of the class. Whether Delta_N is "
    "a conjugate in any other sense is not tested.",
)
def more_than_a_class_template(data: ReportData) -> ClaimResult:
    """Judges the pair against a pattern that holds nothing but the class."""
    table = data.scale.tables["table2"]
    network, epochs = table.networks[0], table.epochs[0]
    template, delta_n = (
        find_accuracy_rows(data, network, "ACL", epochs, AccuracyKind.CLEAN, control=control)
        for control in ("class_template", None)
    )
    gain = compute_change(template, delta_n)
    if gain is None:
        return NOT_RUN_RESULT
    text = (
        f"TA of Delta_N less TA of class templates, {network.title}, "
        f"{document.format_count(epochs, 'epoch')}: {document.format_estimate(gain)} points."
    )
    shares = [
        share
        for name, kind in (("TA", AccuracyKind.CLEAN), ("RA", AccuracyKind.PGD4_CLIPPED))
        if (share := _format_template_share(data, network, epochs, name, kind))
    ]
    if shares:
        text += f" Of what the pair gains, templates give {', '.join(shares)}."
    scope = _format_scope(network)
    outcome = claims.judge_sign(gain.sign)
    return ClaimResult(outcome, text, gain.rows, scope=scope)


def _format_scope(network: NetworkPreset) -> str:
    return f"{network.title} on {network.dataset} alone"


def _format_template_share(
    data: ReportData, network: NetworkPreset, epochs: int, name: str, kind: AccuracyKind
) -> str | None:
    """Returns "1.9 of 2.2 points of TA"; None of what was not run."""
    classifier_rows = find_accuracy_rows(data, network, "CL", epochs, kind)
    gains = [
        compute_change(
            classifier_rows, find_accuracy_rows(data, network, "ACL", epochs, kind, control=control)
        )
        for control in ("class_template", None)
    ]
    if None in gains:
        return None
    template, whole = gains
    return f"{template.value:.1f} of {whole.value:.1f} points of {name}"


@claims.register(
    order=100,
    quote="neural networks obey the complementarity principle and cannot be "
    "both extremely accurate and robust",
    where="section 1.3",
    threshold="contradicted where a network of the same architecture, trained "
    "on attacked images, has a higher RA under the strongest attack run than "
    "the longest trained standard one, beyond the 95 % interval, and the "
    f"interval of its TA less the other's lies above -{_ACCURACY_MARGIN:g} point; "
    "supported where for every such network it lies below" + claims.POST_HOC,
)
def accurate_and_robust_exclude(data: ReportData) -> ClaimResult:
    """Judges by counter-example: PGD-AT and TRADES."""
    table = data.scale.tables["table2"]
    network = table.networks[0]
    measured_epochs = [
        n
        for n in table.epochs
        if find_accuracy_rows(data, network, "CL", n, AccuracyKind.WORST_CASE)
    ]
    if not measured_epochs:
        return NOT_RUN_RESULT
    # The most trained is the most accurate: the hardest to be compared with.
    most_epochs = measured_epochs[-1]
    outcomes, texts, used_rows, accuracy_losses = [], [], (), []
    for method in _METHOD_TITLES:
        for epochs in data.scale.robust_epochs:
            changes = [
                compute_change(
                    find_accuracy_rows(data, network, "CL", most_epochs, kind),
                    find_accuracy_rows(data, network, "CL", epochs, kind, method=method),
                )
                for kind in (AccuracyKind.CLEAN, AccuracyKind.WORST_CASE)
            ]
            if None in changes:
                continue
            clean, robust = changes
            used_rows += clean.rows + robust.rows
            texts.append(
                f"{_METHOD_TITLES[method]}, {document.format_count(epochs, 'epoch')}, less "
                f"the standard network of {most_epochs}: TA {document.format_estimate(clean)}, "
                f"RA {document.format_estimate(robust)}"
            )
            if robust.sign == 1 and clean.low > -_ACCURACY_MARGIN:
                outcomes.append(Outcome.CONTRADICTED)
                accuracy_losses.append(-clean.low)
            elif clean.high < -_ACCURACY_MARGIN:
                outcomes.append(Outcome.SUPPORTED)
            else:
                outcomes.append(Outcome.UNDECIDED)
    if not outcomes:
        return NOT_RUN_RESULT
    outcome = claims.combine_by_majority(outcomes)
    # One counter-example is enough.
    if Outcome.CONTRADICTED in outcomes:
        outcome = Outcome.CONTRADICTED
    sensitivity = ""
    if accuracy_losses and min(accuracy_losses) > 0:
        sensitivity = f"a loss of at most {min(accuracy_losses):.2f} points: undecided"
    text = f"{'; '.join(texts)}."
    return ClaimResult(outcome, text, used_rows, sensitivity, _format_scope(network))


def _judge_both_gains(clean: IntervalEstimate, robust: IntervalEstimate) -> Outcome:
    signs = {clean.sign, robust.sign}
    if -1 in signs:
        return Outcome.CONTRADICTED
    return Outcome.SUPPORTED if signs == {1} else Outcome.UNDECIDED
