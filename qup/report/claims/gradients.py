"""The claim of Eq. 21: a gradient in the place of its sign."""

from qup.measurements import Row
from qup.report import claims, numbers
from qup.report.claims import NOT_RUN_RESULT, ClaimResult, Outcome
from qup.report.estimates import IntervalEstimate, compute_change
from qup.report.material import ReportData
from qup.scales import NetworkPreset

_ACCURACY_LOSS = 20.0
# The direction that decides, and one that is as large in another norm.
_DECISIVE_DIRECTION, _ALTERNATIVE_DIRECTION = "raw_l2", "raw_linf"


@claims.register(
    order=130,
    quote="even without the 'Sign' of the FGSM, a successful attack can also be achieved",
    where="section 3.3, Eq. 21, after its reference 40",
    threshold="supported where a single step along the gradient, as long in "
    "L2 as the sign's at the paper's epsilon, takes away more than "
    f"{_ACCURACY_LOSS:g} points of the TA of the same images, beyond the 95 % "
    "interval (cross-entropy); contradicted where it takes away fewer" + claims.POST_HOC,
)
def gradient_instead_of_sign(data: ReportData) -> ClaimResult:
    """Judges the step without the sign."""
    outcomes, texts, used_rows, alternatives = [], [], (), []
    for table in data.scale.tables.values():
        network, epochs = table.networks[0], table.epochs[0]
        lost = _estimate_accuracy_loss(data, network, epochs, _DECISIVE_DIRECTION)
        if lost is None:
            continue
        used_rows += lost.rows
        outcomes.append(_judge_accuracy_loss(lost))
        attacked_row = lost.rows[0]
        text = (
            f"{network.dataset} {network.title}, epsilon "
            f"{attacked_row.epsilon:.3g}: {numbers.format_estimate(lost)} points, to RA "
            f"{attacked_row.value:.1f}"
        )
        alternative = _estimate_accuracy_loss(data, network, epochs, _ALTERNATIVE_DIRECTION)
        if alternative is not None:
            alternatives.append(_judge_accuracy_loss(alternative))
            text += f" (as large in L-inf: {numbers.format_estimate(alternative)} points)"
        texts.append(text)
    if not outcomes:
        return NOT_RUN_RESULT
    outcome = claims.combine_by_majority(outcomes)
    sensitivity = ""
    if alternatives and claims.combine_by_majority(alternatives) is not outcome:
        alternative_outcome = claims.combine_by_majority(alternatives).value
        sensitivity = f"a step as large in L-inf as the sign's: {alternative_outcome}"
    text = f"A step along the gradient takes away: {'; '.join(texts)}."
    return ClaimResult(outcome, text, used_rows, sensitivity)


def _judge_accuracy_loss(lost: IntervalEstimate) -> Outcome:
    if lost.low > _ACCURACY_LOSS:
        return Outcome.SUPPORTED
    return Outcome.CONTRADICTED if lost.high < _ACCURACY_LOSS else Outcome.UNDECIDED


def _estimate_accuracy_loss(
    data: ReportData, network: NetworkPreset, epochs: int, direction: str
) -> IntervalEstimate | None:
    """Returns the points of TA that a step at the paper's epsilon costs."""
    filters = {
        "dataset": network.dataset,
        "model": network.model,
        "epochs": epochs,
        "evaluation": "gradient_steps",
    }
    attacked_rows: list[Row] = data.find(
        measure="robust_accuracy", loss="cross_entropy", num_steps=1, direction=direction, **filters
    )
    if not attacked_rows:
        return None
    epsilons = sorted({row.epsilon for row in attacked_rows})
    # The paper's epsilon is the third of the four.
    epsilon = epsilons[min(2, len(epsilons) - 1)]
    epsilon_rows = [row for row in attacked_rows if row.epsilon == epsilon]
    clean = data.find(measure="test_accuracy", **filters)
    return compute_change(epsilon_rows, clean)
