"""Claims of the supplement: what augmentation does, and whose work it is."""

from qup.report import claims, numbers
from qup.report.claims import NOT_RUN, Outcome, Verdict, switches
from qup.report.estimates import Estimate, change
from qup.report.material import Material
from qup.report.selection import Look, rows
from qup.scales import Network

# Points of TA that a robust network may lack and still count as accurate.
_LACK = 1.0
_TRAININGS = {"pgd_at": "PGD-AT", "trades": "TRADES"}


@claims.register(
    order=80,
    quote="it is possible for us to increase both its TA and RA, as is "
    "illustrated by the ConvNet",
    where="supplement, section 3 on Table 1",
    threshold="for every network and number of epochs run, the 95 % intervals "
    "of ACL's TA and RA (PGD-4, clipped) less CL's both lie above 0; "
    "contradicted where one lies below; mixed where networks differ. The "
    "walk's N and step were chosen on held-out images to come near the "
    "paper's TA and RA." + claims.CHANGED,
)
def augmentation_raises_robustness(material: Material) -> Verdict:
    """Judges the pair against the classifier."""
    outcomes, told, used = [], [], ()
    others: dict[Look, list[Outcome]] = {look: [] for look in switches.OTHERS}
    for table in material.scale.tables.values():
        for network in table.networks:
            for epochs in table.epochs:
                gains = {
                    look: change(
                        rows(material, network, "CL", epochs, look),
                        rows(material, network, "ACL", epochs, look),
                    )
                    for look in (Look.CLEAN, Look.CLIP, *switches.OTHERS)
                }
                clean, found = gains.pop(Look.CLEAN), gains.pop(Look.CLIP)
                if clean is None or found is None:
                    continue
                outcomes.append(_both(clean, found))
                used += clean.rows + found.rows
                told.append(
                    f"{network.dataset} {network.title} {epochs}: TA "
                    f"{numbers.text(clean)}, RA {numbers.text(found)}"
                )
                for look, gain in gains.items():
                    if gain is not None:
                        others[look].append(_both(clean, gain))
    if not outcomes:
        return NOT_RUN
    outcome = claims.every(outcomes)
    switch = switches.told(material, outcome, others, claims.every)
    words = f"ACL less CL, in points: {'; '.join(told)}."
    asked = claims.lines(material)
    scope = claims.tally(outcomes, asked, "networks at their epochs")
    return Verdict(outcome, words, used, switch, scope)


@claims.register(
    order=90,
    quote="Delta_N can be seen as a conjugate of the raw image X_0",
    where="supplement, section 2, read as: Delta_N tells the translator more "
    "than the class",
    threshold="supported where the pair taught Delta_N has a higher TA than "
    "one taught a single fixed pattern for each class, beyond the 95 % "
    "interval; contradicted where the fixed pattern has the higher TA: then "
    "the gain is the translator's knowledge of the class. Whether Delta_N is "
    "a conjugate in any other sense is not tested.",
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
    shares = [
        gained
        for name, look in (("TA", Look.CLEAN), ("RA", Look.CLIP))
        if (gained := _gained(material, network, epochs, name, look))
    ]
    if shares:
        words += f" Of what the pair gains, templates give {', '.join(shares)}."
    scope = _alone(network)
    outcome = claims.of_sign(found.sign)
    return Verdict(outcome, words, found.rows, scope=scope)


def _alone(network: Network) -> str:
    return f"{network.title} on {network.dataset} alone"


def _gained(
    material: Material, network: Network, epochs: int, name: str, look: Look
) -> str | None:
    """Returns "1.9 of 2.2 points of TA"; None of what was not run."""
    alone = rows(material, network, "CL", epochs, look)
    gains = [
        change(
            alone,
            rows(material, network, "ACL", epochs, look, control=control),
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
    f"interval of its TA less the other's lies above -{_LACK:g} point; "
    "supported where for every such network it lies below" + claims.CHANGED,
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
    outcomes, told, used, least = [], [], (), []
    for method in _TRAININGS:
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
                f"{_TRAININGS[method]}, {numbers.count(epochs, 'epoch')}, less "
                f"the standard network of {start}: TA {numbers.text(clean)}, "
                f"RA {numbers.text(robust)}"
            )
            if robust.sign == 1 and clean.low > -_LACK:
                outcomes.append(Outcome.CONTRADICTED)
                least.append(-clean.low)
            elif clean.high < -_LACK:
                outcomes.append(Outcome.SUPPORTED)
            else:
                outcomes.append(Outcome.UNDECIDED)
    if not outcomes:
        return NOT_RUN
    outcome = claims.combined(outcomes)
    # One counter-example is enough.
    if Outcome.CONTRADICTED in outcomes:
        outcome = Outcome.CONTRADICTED
    switch = ""
    if least and min(least) > 0:
        switch = f"a loss of at most {min(least):.2f} points: undecided"
    words = f"{'; '.join(told)}."
    return Verdict(outcome, words, used, switch, _alone(network))


def _both(clean: Estimate, robust: Estimate) -> Outcome:
    signs = {clean.sign, robust.sign}
    if -1 in signs:
        return Outcome.CONTRADICTED
    return Outcome.SUPPORTED if signs == {1} else Outcome.UNDECIDED
