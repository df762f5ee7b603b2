"""Claims of the supplement: what augmentation does, and whose work it is."""

from qup.report import claims, numbers
from qup.report.claims import NOT_RUN, Outcome, Verdict
from qup.report.estimates import change
from qup.report.material import Material
from qup.report.selection import Look, rows

_SWITCHES = (Look.FREE, Look.CLIMB, Look.WORST)


@claims.register(
    order=80,
    quote="it is possible for us to increase both its TA and RA, as is "
    "illustrated by the ConvNet",
    where="supplement, section 3 on Table 1",
    threshold="for every network and number of epochs run, the 95 % interval "
    "of ACL's RA less CL's RA (PGD-4, clipped) lies above 0; contradicted "
    "where it lies below; mixed where networks differ",
)
def augmentation_raises_robustness(material: Material) -> Verdict:
    """Judges the pair against the classifier."""
    outcomes, told, used = [], [], ()
    others: dict[Look, list[Outcome]] = {look: [] for look in _SWITCHES}
    for table in material.scale.tables.values():
        for network in table.networks:
            for epochs in table.epochs:
                gains = {
                    look: change(
                        rows(material, network, "CL", epochs, look),
                        rows(material, network, "ACL", epochs, look),
                    )
                    for look in (Look.CLIP, *_SWITCHES)
                }
                found = gains.pop(Look.CLIP)
                if found is None:
                    continue
                outcomes.append(_outcome(found.sign))
                used += found.rows
                told.append(
                    f"{network.dataset} {network.title} {epochs}: "
                    f"{numbers.text(found)}"
                )
                for look, gain in gains.items():
                    if gain is not None:
                        others[look].append(_outcome(gain.sign))
    if not outcomes:
        return NOT_RUN
    outcome = claims.combined(outcomes)
    switch = "; ".join(
        f"{look.title(material)}: {other.value}"
        for look, seen in others.items()
        if seen and (other := claims.combined(seen)) is not outcome
    )
    words = f"ACL less CL, in points of RA: {'; '.join(told)}."
    return Verdict(outcome, words, used, switch)


@claims.register(
    order=90,
    quote="Delta_N can be seen as a conjugate of the raw image X_0",
    where="supplement, section 2, against the control that a label leaks",
    threshold="supported where the pair taught Delta_N has a higher TA than "
    "one taught a single fixed pattern for each class, beyond the 95 % "
    "interval; contradicted where the fixed pattern has the higher TA: then "
    "the gain is the translator's knowledge of the class",
)
def more_than_a_class_template(material: Material) -> Verdict:
    """Judges the pair against a pattern that holds nothing but the class."""
    table = material.scale.tables["table2"]
    network, epochs = table.networks[0], table.epochs[0]
    template, walk = (
        rows(material, network, "ACL", epochs, Look.CLEAN, control=control)
        for control in ("class_template", None)
    )
    found = change(template, walk)
    if found is None:
        return NOT_RUN
    words = (
        f"TA of Delta_N less TA of class templates, {network.title}, "
        f"{numbers.count(epochs, 'epoch')}: {numbers.text(found)} points."
    )
    return Verdict(_outcome(found.sign), words, found.rows)


@claims.register(
    order=100,
    quote="neural networks obey the complementarity principle and cannot be "
    "both extremely accurate and robust",
    where="section 1.3",
    threshold="contradicted where a network of the same architecture, trained "
    "on attacked images, has a higher RA under the strongest attack run than "
    "the longest trained standard one, beyond the 95 % interval, and a TA "
    "whose interval does not lie below its; "
    "supported where every such network has a lower TA",
)
def accurate_and_robust_exclude(material: Material) -> Verdict:
    """Judges by counter-example: PGD-AT and TRADES."""
    table = material.scale.tables["table2"]
    network = table.networks[0]
    run = [
        n for n in table.epochs
        if rows(material, network, "CL", n, Look.WORST)
    ]  # fmt: skip
    if not run:
        return NOT_RUN
    # The most trained is the most accurate: the hardest to be compared with.
    start = run[-1]
    outcomes, told, used = [], [], ()
    for method in ("pgd_at", "trades"):
        for epochs in material.scale.robust_epochs:
            changes = [
                change(
                    rows(material, network, "CL", start, look),
                    rows(material, network, "CL", epochs, look, method=method),
                )
                for look in (Look.CLEAN, Look.WORST)
            ]
            if None in changes:
                continue
            clean, robust = changes
            used += clean.rows + robust.rows
            told.append(
                f"{method}, {numbers.count(epochs, 'epoch')}, less the "
                f"standard network of {start}: TA {numbers.text(clean)}, "
                f"RA {numbers.text(robust)}"
            )
            if robust.sign == 1 and clean.sign >= 0:
                outcomes.append(Outcome.CONTRADICTED)
            elif clean.sign == -1:
                outcomes.append(Outcome.SUPPORTED)
            else:
                outcomes.append(Outcome.UNDECIDED)
    if not outcomes:
        return NOT_RUN
    outcome = claims.combined(outcomes)
    # One counter-example is enough.
    if Outcome.CONTRADICTED in outcomes:
        outcome = Outcome.CONTRADICTED
    return Verdict(outcome, f"{'; '.join(told)}.", used)


def _outcome(sign: int) -> Outcome:
    return {
        1: Outcome.SUPPORTED, -1: Outcome.CONTRADICTED, 0: Outcome.UNDECIDED
    }[sign]  # fmt: skip
