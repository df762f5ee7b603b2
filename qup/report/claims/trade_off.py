"""Claims of section 4.1: what happens to TA and RA over the epochs."""

from collections.abc import Sequence

from qup.report import claims, numbers
from qup.report.claims import NOT_RUN, Outcome, Verdict, switches
from qup.report.estimates import Estimate, change
from qup.report.material import Material
from qup.report.selection import Look, rows
from qup.scales import Network


@claims.register(
    order=10,
    quote="an increase in TA corresponds to a decrease in RA",
    where="section 4.1 on Table 3, and on YGCNN in Table 2",
    threshold="from the fewest to the most epochs run, the 95 % interval of "
    "the change of TA lies above 0 and that of RA below 0; contradicted "
    "where both lie above 0" + claims.SEEN,
)
def more_accurate_less_robust(material: Material) -> Verdict:
    """Judges the trade-off over epochs."""
    networks = [
        *material.scale.tables["table3"].networks,
        *(n for n in material.scale.tables["table2"].networks
          if n.model == "ygcnn"),
    ]  # fmt: skip
    return _judge(material, networks, expected=-1)


@claims.register(
    order=20,
    quote="we are able to increase TA and RA simultaneously if the lower "
    "bound is not reached",
    where="section 4.1 on ConvNet and ResNet in Table 2",
    threshold="from the fewest to the most epochs run, the 95 % intervals "
    "of the changes of TA and RA both lie above 0; contradicted where that "
    "of RA lies below 0" + claims.SEEN,
)
def both_can_rise(material: Material) -> Verdict:
    """Judges the rise of both."""
    networks = [
        n for n in material.scale.tables["table2"].networks
        if n.model in ("convnet", "resnet")
    ]  # fmt: skip
    return _judge(material, networks, expected=1)


def _judge(
    material: Material, networks: Sequence[Network], expected: int
) -> Verdict:
    told, outcomes, used = [], [], ()
    others: dict[Look, list[Outcome]] = {look: [] for look in switches.OTHERS}
    for network in networks:
        found = changes(material, network, Look.CLIP)
        if found is None:
            continue
        clean, robust, epochs = found
        outcomes.append(_outcome(clean, robust, expected))
        used += clean.rows + robust.rows
        told.append(
            f"{network.dataset} {network.title}, epochs {epochs[0]} to "
            f"{epochs[1]}: TA {signed(clean)}, RA {signed(robust)}"
        )
        for look in switches.OTHERS:
            if (seen := changes(material, network, look)) is not None:
                others[look].append(_outcome(seen[0], seen[1], expected))
    if not outcomes:
        return NOT_RUN
    outcome = claims.combined(outcomes)
    words = "; ".join(told) + ". Changes in points under PGD-4, clipped."
    switch = switches.told(material, outcome, others)
    scope = claims.tally(outcomes, len(networks), "networks")
    return Verdict(outcome, words, used, switch, scope)


def changes(
    material: Material, network: Network, look: Look
) -> tuple[Estimate, Estimate, tuple[int, int]] | None:
    """Returns how TA and RA change over the epochs of a classifier alone.

    Args:
      material: Everything.
      network: The network.
      look: Under which attack RA is read.

    Returns:
      Change of TA, change of RA, and from and to which epochs: the fewest and
      the most that were run; None where there are not two.
    """
    for table in material.scale.tables.values():
        if network in table.networks:
            epochs = table.epochs
    run = [n for n in epochs if rows(material, network, "CL", n, look)]
    if len(run) < 2:
        return None
    first, last = run[0], run[-1]
    clean, robust = (
        change(
            rows(material, network, "CL", first, each),
            rows(material, network, "CL", last, each),
        )
        for each in (Look.CLEAN, look)
    )
    if clean is None or robust is None:
        return None
    return clean, robust, (first, last)


def _outcome(clean: Estimate, robust: Estimate, expected: int) -> Outcome:
    if clean.sign == 1 and robust.sign == expected:
        return Outcome.SUPPORTED
    if clean.sign == 1 and robust.sign == -expected:
        return Outcome.CONTRADICTED
    return Outcome.UNDECIDED


def signed(estimate: Estimate) -> str:
    """Returns "+1.9 ± 0.3 (5)"."""
    text = numbers.text(estimate)
    return text if text.startswith("-") else f"+{text}"
