"""Claims of the supplement's Figs. 2 and 5 and of its section 4."""

from qup.core.measurements import Row
from qup.reproduction.presets import NetworkPreset
from qup.reproduction.report import claims, document, queries
from qup.reproduction.report.claims import NOT_RUN_RESULT, ClaimResult, Outcome
from qup.reproduction.report.data import (
    TABLE_FILTERS,
    AccuracyKind,
    ReportData,
    find_accuracy_rows,
    find_trajectory_rows,
)
from qup.reproduction.report.statistics import IntervalEstimate, compute_change


@claims.register(
    order=110,
    quote="Delta_1 contains more high frequency components with the "
    "increasing of the test accuracies",
    where="supplement, section 4 and Fig. 5, read within one network over its epochs",
    threshold="from the fewest to the most epochs the 95 % intervals of the "
    "changes of TA and of the ratio of Delta_1 (the paper's window) both lie "
    "above 0; contradicted where TA rises and the ratio falls. That the ratio "
    'be "roughly proportional" to TA, as Fig. 5 says, is not asked.' + claims.POST_HOC,
)
def ratio_follows_accuracy(data: ReportData) -> ClaimResult:
    """Judges the ratio over the epochs of every network."""
    outcomes, texts, used_rows, num_total = [], [], (), 0
    for table in data.scale.tables.values():
        for network in table.networks:
            num_total += 1
            measured_epochs = [n for n in table.epochs if _find_ratio_rows(data, network, n)]
            if len(measured_epochs) < 2:
                continue
            ratio = compute_change(
                _find_ratio_rows(data, network, measured_epochs[0]),
                _find_ratio_rows(data, network, measured_epochs[-1]),
            )
            clean = compute_change(
                find_accuracy_rows(data, network, "CL", measured_epochs[0], AccuracyKind.CLEAN),
                find_accuracy_rows(data, network, "CL", measured_epochs[-1], AccuracyKind.CLEAN),
            )
            if ratio is None or clean is None:
                continue
            used_rows += ratio.rows
            texts.append(
                f"{network.dataset} {network.title}, epochs {measured_epochs[0]} to "
                f"{measured_epochs[-1]}: TA {document.format_estimate(clean)}, ratio "
                f"{document.format_estimate(ratio, 4)}, of {ratio.rows[0].value:.4f}"
            )
            sign = ratio.sign if clean.sign == 1 else 0
            outcomes.append(claims.judge_sign(sign))
    if not outcomes:
        return NOT_RUN_RESULT
    scope = claims.format_tally(outcomes, num_total, "networks")
    text = f"{'; '.join(texts)}."
    return ClaimResult(claims.combine_by_majority(outcomes), text, used_rows, scope=scope)


def _find_ratio_rows(data: ReportData, network: NetworkPreset, epochs: int) -> list[Row]:
    options = {f"model_{key}": x for key, x in network.options.items()}
    return data.find(
        dataset=network.dataset,
        model=network.model,
        epochs=epochs,
        measure="high_frequency_ratio",
        field="delta",
        window="literal",
        augmentation_num_steps=None,
        **{**options, **TABLE_FILTERS, "step": 1},
    )


@claims.register(
    order=120,
    quote="such an attempt to train a Pix2Pix fails at producing images "
    "containing more high frequency components",
    where="supplement, abstract and section 4",
    threshold="supported where the relative error of the translator on unseen "
    "images is larger at high frequencies than at low ones (the paper's "
    "window), beyond the 95 % interval; contradicted where it is smaller",
)
def translators_miss_high_frequencies(data: ReportData) -> ClaimResult:
    """Judges the translator's error by frequency."""
    outcomes, texts, used_rows, num_total = [], [], (), 0
    for table in data.scale.tables.values():
        for network in table.networks:
            num_total += 1
            low, high = (
                data.find(
                    dataset=network.dataset,
                    model=network.model,
                    measure="relative_spectral_error",
                    window="literal",
                    band=band,
                )
                for band in ("low", "high")
            )
            difference = compute_change(low, high)
            if difference is None:
                continue
            used_rows += difference.rows
            texts.append(
                f"{network.dataset} {network.title}: relative error at high "
                f"less at low frequencies {document.format_estimate(difference, 3)}"
            )
            outcomes.append(claims.judge_sign(difference.sign))
    if not outcomes:
        return NOT_RUN_RESULT
    scope = claims.format_tally(outcomes, num_total, "networks")
    text = f"{'; '.join(texts)}."
    return ClaimResult(claims.combine_by_majority(outcomes), text, used_rows, scope=scope)


@claims.register(
    order=140,
    quote="with the increase of the iteration steps, both TA and RA show tendency of increase",
    where="supplement, section 1 on Fig. 2 (walked training images)",
    threshold="from X_0 to the last X_n the 95 % intervals of the changes of "
    "TA and RA both lie above 0; contradicted where one lies below" + claims.POST_HOC_ONE_NETWORK,
)
def walks_raise_both(data: ReportData) -> ClaimResult:
    """Judges the walk."""
    outcomes, texts, used_rows = [], [], ()
    for table in data.scale.tables.values():
        for network in table.networks:
            for epochs in table.epochs:
                changes = [
                    _compute_step_change(data, network, epochs, measure)
                    for measure in ("test_accuracy", "robust_accuracy")
                ]
                if None in changes:
                    continue
                used_rows += changes[0].rows + changes[1].rows
                texts.append(
                    f"{network.dataset} {network.title} {epochs}: TA "
                    f"{document.format_estimate(changes[0])}, "
                    f"RA {document.format_estimate(changes[1])}"
                )
                signs = {estimate.sign for estimate in changes}
                outcome = Outcome.UNDECIDED
                if signs == {1}:
                    outcome = Outcome.SUPPORTED
                elif -1 in signs:
                    outcome = Outcome.CONTRADICTED
                outcomes.append(outcome)
    if not outcomes:
        return NOT_RUN_RESULT
    num_total = claims.count_table_rows(data)
    scope = claims.format_tally(outcomes, num_total, "networks at their epochs")
    text = f"{'; '.join(texts)}."
    return ClaimResult(claims.combine_by_majority(outcomes), text, used_rows, scope=scope)


def _compute_step_change(data: ReportData, network: NetworkPreset, epochs: int, measure: str):
    measure_rows = [
        row for row in find_trajectory_rows(data, network, epochs) if row.measure == measure
    ]
    steps = sorted({row.parameters["step"] for row in measure_rows})
    if len(steps) < 2:
        return None
    first_and_last = [
        [row for row in measure_rows if row.parameters["step"] == step]
        for step in (steps[0], steps[-1])
    ]
    return compute_change(*first_and_last)


# The claim of Eq. 21: a gradient in the place of its sign.


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
            f"{attacked_row.epsilon:.3g}: {document.format_estimate(lost)} points, to RA "
            f"{attacked_row.value:.1f}"
        )
        alternative = _estimate_accuracy_loss(data, network, epochs, _ALTERNATIVE_DIRECTION)
        if alternative is not None:
            alternatives.append(_judge_accuracy_loss(alternative))
            text += f" (as large in L-inf: {document.format_estimate(alternative)} points)"
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


# The claim of section 4.2, on 18 ImageNet models.


@claims.register(
    order=75,
    quote="In general, an increase in TA evidently corresponds to a decrease in RA",
    where="section 4.2 on Fig. 3, read within families of networks",
    threshold="for each of the three distortions, supported where the 95 % "
    "interval of the slope of the distortion over ln(error), one slope for "
    "all families and an intercept for each, lies above 0; contradicted where "
    "it lies below",
)
def distortion_falls_with_accuracy(data: ReportData) -> ClaimResult:
    """Judges Fig. 3 by what families have in common."""
    outcomes, texts, used_rows, overall_outcomes = [], [], (), []
    for panel in queries.fit_panel_slopes(data):
        if panel.within is None:
            continue
        outcomes.append(claims.judge_sign(panel.within.sign))
        if panel.overall is not None:
            overall_outcomes.append(claims.judge_sign(panel.overall.sign))
        used_rows += panel.within.rows
        texts.append(
            f"{panel.measure}: {panel.within.value:.2g} ± "
            f"{panel.within.half_width:.2g}, {panel.within.n} models"
        )
    if not outcomes:
        return NOT_RUN_RESULT
    outcome = claims.combine_by_majority(outcomes)
    overall = claims.combine_by_majority(overall_outcomes)
    sensitivity = ""
    if overall is not outcome and overall is not Outcome.NOT_RUN:
        sensitivity = f"over all models, whatever their family: {overall.value}"
    text = f"Slopes within families: {'; '.join(texts)}."
    return ClaimResult(outcome, text, used_rows, sensitivity)
