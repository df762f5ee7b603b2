"""Claims of section 4.1: what happens to TA and RA over the epochs."""

from collections.abc import Sequence

from qup.report import claims, numbers
from qup.report.claims import NOT_RUN_RESULT, ClaimResult, Outcome, switches
from qup.report.estimates import IntervalEstimate, compute_change
from qup.report.material import ReportData
from qup.report.selection import AccuracyKind, find_accuracy_rows
from qup.scales import NetworkPreset


@claims.register(
    order=10,
    quote="an increase in TA corresponds to a decrease in RA",
    where="section 4.1 on Table 3, and on YGCNN in Table 2",
    threshold="from the fewest to the most epochs run, the 95 % interval of "
    "the change of TA lies above 0 and that of RA below 0; contradicted "
    "where both lie above 0" + claims.POST_HOC_ONE_NETWORK,
)
def more_accurate_less_robust(data: ReportData) -> ClaimResult:
    """Judges the trade-off over epochs."""
    networks = [
        *data.scale.tables["table3"].networks,
        *(n for n in data.scale.tables["table2"].networks if n.model == "ygcnn"),
    ]
    return _judge_trade_off(data, networks, expected=-1)


@claims.register(
    order=20,
    quote="we are able to increase TA and RA simultaneously if the lower bound is not reached",
    where="section 4.1 on ConvNet and ResNet in Table 2",
    threshold="from the fewest to the most epochs run, the 95 % intervals "
    "of the changes of TA and RA both lie above 0; contradicted where that "
    "of RA lies below 0" + claims.POST_HOC_ONE_NETWORK,
)
def both_can_rise(data: ReportData) -> ClaimResult:
    """Judges the rise of both."""
    networks = [n for n in data.scale.tables["table2"].networks if n.model in ("convnet", "resnet")]
    return _judge_trade_off(data, networks, expected=1)


def _judge_trade_off(
    data: ReportData, networks: Sequence[NetworkPreset], expected: int
) -> ClaimResult:
    texts, outcomes, used_rows = [], [], ()
    alternatives: dict[AccuracyKind, list[Outcome]] = {
        kind: [] for kind in switches.ALTERNATIVE_ATTACKS
    }
    for network in networks:
        epoch_changes = compute_epoch_changes(data, network, AccuracyKind.PGD4_CLIPPED)
        if epoch_changes is None:
            continue
        clean, robust, epochs = epoch_changes
        outcomes.append(_judge_changes(clean, robust, expected))
        used_rows += clean.rows + robust.rows
        texts.append(
            f"{network.dataset} {network.title}, epochs {epochs[0]} to "
            f"{epochs[1]}: TA {format_signed(clean)}, RA {format_signed(robust)}"
        )
        for kind in switches.ALTERNATIVE_ATTACKS:
            if (alternative := compute_epoch_changes(data, network, kind)) is not None:
                alternatives[kind].append(_judge_changes(alternative[0], alternative[1], expected))
    if not outcomes:
        return NOT_RUN_RESULT
    outcome = claims.combine_by_majority(outcomes)
    text = "; ".join(texts) + ". Changes in points under PGD-4, clipped."
    sensitivity = switches.format_sensitivity(data, outcome, alternatives)
    scope = claims.format_tally(outcomes, len(networks), "networks")
    return ClaimResult(outcome, text, used_rows, sensitivity, scope)


def compute_epoch_changes(
    data: ReportData, network: NetworkPreset, kind: AccuracyKind
) -> tuple[IntervalEstimate, IntervalEstimate, tuple[int, int]] | None:
    """Returns how TA and RA change over the epochs of a classifier alone.

    Args:
      data: Everything.
      network: The network.
      kind: Under which attack RA is read.

    Returns:
      Change of TA, change of RA, and from and to which epochs: the fewest and
      the most that were run; None where there are not two.
    """
    for table in data.scale.tables.values():
        if network in table.networks:
            epochs = table.epochs
    measured_epochs = [n for n in epochs if find_accuracy_rows(data, network, "CL", n, kind)]
    if len(measured_epochs) < 2:
        return None
    first, last = measured_epochs[0], measured_epochs[-1]
    clean, robust = (
        compute_change(
            find_accuracy_rows(data, network, "CL", first, accuracy_kind),
            find_accuracy_rows(data, network, "CL", last, accuracy_kind),
        )
        for accuracy_kind in (AccuracyKind.CLEAN, kind)
    )
    if clean is None or robust is None:
        return None
    return clean, robust, (first, last)


def _judge_changes(clean: IntervalEstimate, robust: IntervalEstimate, expected: int) -> Outcome:
    if clean.sign == 1 and robust.sign == expected:
        return Outcome.SUPPORTED
    if clean.sign == 1 and robust.sign == -expected:
        return Outcome.CONTRADICTED
    return Outcome.UNDECIDED


def format_signed(estimate: IntervalEstimate) -> str:
    """Returns "+1.9 ± 0.3 (5)"."""
    text = numbers.format_estimate(estimate)
    return text if text.startswith("-") else f"+{text}"
