"""Claims on augmentation: its effect, the class templates, and robust training."""

from qup.reproduction.presets import NetworkPreset
from qup.reproduction.report import claims, document
from qup.reproduction.report.claims import NOT_RUN_RESULT, ClaimResult, Evidence, Outcome
from qup.reproduction.report.data import AccuracyKind, ReportData, find_accuracy_rows
from qup.reproduction.report.statistics import compute_change

# Points of TA that a robust network may lack and still count as accurate.
_ACCURACY_MARGIN = 1.0


@claims.register(
    order=80,
    quote="it is possible for us to increase both its TA and RA, as is illustrated by the ConvNet",
    where="supplement, section 3 on Table 1",
    threshold="for every network and number of epochs run, the 95 % intervals of ACL's TA and RA "
    "(PGD-4, clipped) minus CL's are both above 0; contradicted if one is below; mixed if networks "
    "differ. N and the step of opposite FGSM were chosen on held-out images to come near the "
    "paper's TA and RA." + claims.POST_HOC,
)
def augmentation_raises_robustness(data: ReportData) -> ClaimResult:
    """Judges the pair against the classifier."""
    evidence = Evidence(claims.combine_unanimously)
    evidence.alternatives = claims.create_attack_alternatives(data)
    for network, epochs in data.list_checkpoints():
        gains = {
            kind: compute_change(
                *(
                    find_accuracy_rows(data, network, classifier, epochs, kind)
                    for classifier in ("CL", "ACL")
                )
            )
            for kind in AccuracyKind
        }
        clean, robust = gains[AccuracyKind.CLEAN], gains[AccuracyKind.PGD4_CLIPPED]
        if clean is None or robust is None:
            continue
        evidence.add(
            claims.judge_signs(clean, robust),
            f"{document.format_short_network(network)} {epochs}: TA "
            f"{document.format_estimate(clean)}, RA {document.format_estimate(robust)}",
            clean,
            robust,
        )
        for kind in claims.ALTERNATIVE_ATTACKS:
            if gains[kind] is not None:
                outcome = claims.judge_signs(clean, gains[kind])
                evidence.alternatives[kind.format_title(data)].append(outcome)
    return evidence.conclude(
        prefix="ACL minus CL, in points: ",
        num_total=len(data.list_checkpoints()),
        noun="networks at their epochs",
    )


@claims.register(
    order=90,
    quote="Delta_N can be seen as a conjugate of the raw image X_0",
    where="supplement, section 2, read as: Delta_N gives the translator more than the class",
    threshold="supported if the pair trained on Delta_N has a higher TA than one trained on a "
    "single fixed pattern per class, beyond the 95 % interval; contradicted if the fixed pattern "
    "has the higher TA: then the gain is the translator's knowledge of the class. Whether Delta_N "
    "is a conjugate in any other sense is not tested.",
)
def more_than_a_class_template(data: ReportData) -> ClaimResult:
    """Judges the pair against one trained on a pattern of the class alone."""
    network, epochs = data.main_network, data.main_epochs[0]
    template, delta_n = (
        find_accuracy_rows(data, network, "ACL", epochs, AccuracyKind.CLEAN, control=control)
        for control in ("class_template", None)
    )
    gain = compute_change(template, delta_n)
    if gain is None:
        return NOT_RUN_RESULT
    text = (
        f"TA of Delta_N minus TA of class templates, {network.title}, "
        f"{document.format_count(epochs, 'epoch')}: {document.format_estimate(gain)} points."
    )
    shares = [
        share
        for name, kind in (("TA", AccuracyKind.CLEAN), ("RA", AccuracyKind.PGD4_CLIPPED))
        if (share := _format_template_share(data, network, epochs, name, kind))
    ]
    if shares:
        text += f" Of the gains of the pair, templates give {', '.join(shares)}."
    scope = f"only {document.format_network(network)}"
    return ClaimResult(claims.judge_sign(gain.sign), text, gain.rows, scope=scope)


def _format_template_share(
    data: ReportData, network: NetworkPreset, epochs: int, name: str, kind: AccuracyKind
) -> str | None:
    """Returns "1.9 of 2.2 points of TA"; None if it was not run."""
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
    threshold="contradicted if a network of the same architecture, trained on adversarial images, "
    "has a higher RA under the strongest attack run than the standard network with the most "
    "epochs, beyond the 95 % interval, and the interval of its TA minus the other's is above "
    f"-{_ACCURACY_MARGIN:g} point; supported if for every such network it is below"
    + claims.POST_HOC,
)
def accurate_and_robust_exclude(data: ReportData) -> ClaimResult:
    """Judges by counter-example: PGD-AT and TRADES."""
    network, kinds = data.main_network, (AccuracyKind.CLEAN, AccuracyKind.WORST_CASE)
    measured_epochs = [
        n
        for n in data.main_epochs
        if find_accuracy_rows(data, network, "CL", n, AccuracyKind.WORST_CASE)
    ]
    if not measured_epochs:
        return NOT_RUN_RESULT
    # The network with the most epochs is the most accurate: the strictest comparison.
    most_epochs, losses = measured_epochs[-1], []
    evidence = Evidence(_combine_counter_examples)
    for method, title in document.METHOD_TITLES.items():
        for epochs in data.scale.robust_epochs:
            clean, robust = (
                compute_change(
                    find_accuracy_rows(data, network, "CL", most_epochs, kind),
                    find_accuracy_rows(data, network, "CL", epochs, kind, method=method),
                )
                for kind in kinds
            )
            if clean is None or robust is None:
                continue
            outcome = Outcome.UNDECIDED
            if robust.sign == 1 and clean.low > -_ACCURACY_MARGIN:
                outcome = Outcome.CONTRADICTED
                losses.append(-clean.low)
            elif clean.high < -_ACCURACY_MARGIN:
                outcome = Outcome.SUPPORTED
            evidence.add(
                outcome,
                f"{title}, {document.format_count(epochs, 'epoch')}, minus the standard network of "
                f"{most_epochs}: TA {document.format_estimate(clean)}, "
                f"RA {document.format_estimate(robust)}",
                clean,
                robust,
            )
    if losses and min(losses) > 0:
        evidence.alternatives[f"a loss of at most {min(losses):.2f} points"] = [Outcome.UNDECIDED]
    return evidence.conclude(scope=f"only {document.format_network(network)}")


def _combine_counter_examples(outcomes: list[Outcome]) -> Outcome:
    # One counter-example is enough.
    if Outcome.CONTRADICTED in outcomes:
        return Outcome.CONTRADICTED
    return claims.combine_by_majority(outcomes)
