"""Claims of the supplement's Figs. 2 and 5 and of its section 4."""

from qup.measurements import Row
from qup.report import claims, numbers
from qup.report.claims import NOT_RUN_RESULT, ClaimResult, Outcome
from qup.report.estimates import compute_change
from qup.report.material import ReportData
from qup.report.selection import (
    TABLE_FILTERS,
    AccuracyKind,
    find_accuracy_rows,
    find_trajectory_rows,
)
from qup.scales import NetworkPreset


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
                f"{measured_epochs[-1]}: TA {numbers.format_estimate(clean)}, ratio "
                f"{numbers.format_estimate(ratio, 4)}, of {ratio.rows[0].value:.4f}"
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
                f"less at low frequencies {numbers.format_estimate(difference, 3)}"
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
                    f"{numbers.format_estimate(changes[0])}, RA {numbers.format_estimate(changes[1])}"
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
