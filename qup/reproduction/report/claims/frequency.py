"""Claims on frequencies, iterates X_n, gradient steps and ImageNet."""

from qup.reproduction.presets import NetworkPreset
from qup.reproduction.report import claims, document, queries
from qup.reproduction.report.claims import ClaimResult, Evidence, Outcome
from qup.reproduction.report.data import (
    TABLE_FILTERS,
    AccuracyKind,
    ReportData,
    build_network_filters,
    find_accuracy_rows,
    select_trajectory,
)
from qup.reproduction.report.statistics import IntervalEstimate, compute_change

# Points of TA.
_ACCURACY_LOSS = 20.0


@claims.register(
    order=110,
    quote="Delta_1 contains more high frequency components with the "
    "increasing of the test accuracies",
    where="supplement, section 4 and Fig. 5, read within one network over its epochs",
    threshold="from the fewest to the most epochs the 95 % intervals of the changes of TA and of "
    "the ratio of Delta_1 (the paper's window) are both above 0; contradicted if TA rises and the "
    'ratio falls. That the ratio is "roughly proportional" to TA, as Fig. 5 says, is not tested.'
    + claims.POST_HOC,
)
def ratio_follows_accuracy(data: ReportData) -> ClaimResult:
    """Judges the ratio over the epochs of every network."""
    evidence = Evidence()
    for network, epochs in data.list_networks():
        measured_epochs = [n for n in epochs if _find_ratio_rows(data, network, n)]
        if len(measured_epochs) < 2:
            continue
        first_and_last = (measured_epochs[0], measured_epochs[-1])
        ratio = compute_change(*(_find_ratio_rows(data, network, n) for n in first_and_last))
        clean = compute_change(
            *(
                find_accuracy_rows(data, network, "CL", n, AccuracyKind.CLEAN)
                for n in first_and_last
            )
        )
        if ratio is not None and clean is not None:
            evidence.add(
                claims.judge_sign(ratio.sign if clean.sign == 1 else 0),
                f"{document.format_short_network(network)}, epochs {first_and_last[0]} to "
                f"{first_and_last[1]}: TA {document.format_estimate(clean)}, ratio "
                f"{document.format_estimate(ratio, 4)}, of {ratio.rows[0].value:.4f}",
                ratio,
            )
    return evidence.conclude(num_total=len(data.list_networks()))


def _find_ratio_rows(data: ReportData, network: NetworkPreset, epochs: int):
    return data.find(
        measure="high_frequency_ratio",
        field="delta",
        window="literal",
        augmentation_num_steps=None,
        **build_network_filters(network, epochs),
        **{**TABLE_FILTERS, "step": 1},
    )


@claims.register(
    order=120,
    quote="such an attempt to train a Pix2Pix fails at producing images "
    "containing more high frequency components",
    where="supplement, abstract and section 4",
    threshold="supported if the relative error of the translator on test images is larger at high "
    "frequencies than at low ones (the paper's window), beyond the 95 % interval; contradicted if "
    "it is smaller",
)
def translators_miss_high_frequencies(data: ReportData) -> ClaimResult:
    """Judges the translator's error by frequency."""
    evidence = Evidence()
    for network, _ in data.list_networks():
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
        if difference is not None:
            evidence.add(
                claims.judge_sign(difference.sign),
                f"{document.format_short_network(network)}: relative error at high minus low "
                f"frequencies {document.format_estimate(difference, 3)}",
                difference,
            )
    return evidence.conclude(num_total=len(data.list_networks()))


@claims.register(
    order=140,
    quote="with the increase of the iteration steps, both TA and RA show tendency of increase",
    where="supplement, section 1 on Fig. 2 (training images X_n)",
    threshold="from X_0 to the last X_n the 95 % intervals of the changes of TA and RA are both "
    "above 0; contradicted if one is below" + claims.POST_HOC_ONE_NETWORK,
)
def walks_raise_both(data: ReportData) -> ClaimResult:
    """Judges the iterates of opposite FGSM."""
    evidence = Evidence()
    for network, epochs in data.list_checkpoints():
        clean, robust = (
            _compute_step_change(data, network, epochs, measure)
            for measure in ("test_accuracy", "robust_accuracy")
        )
        if clean is not None and robust is not None:
            evidence.add(
                claims.judge_signs(clean, robust),
                f"{document.format_short_network(network)} {epochs}: TA "
                f"{document.format_estimate(clean)}, RA {document.format_estimate(robust)}",
                clean,
                robust,
            )
    return evidence.conclude(
        num_total=len(data.list_checkpoints()), noun="networks at their epochs"
    )


def _compute_step_change(
    data: ReportData, network: NetworkPreset, epochs: int, measure: str
) -> IntervalEstimate | None:
    """Returns the change of an accuracy from X_0 to the last X_n."""
    frame = select_trajectory(data, network, epochs)
    if frame.empty:
        return None
    rows_by_step = frame[frame["measure"] == measure].groupby("step")["row"].agg(list)
    return (
        compute_change(rows_by_step.iloc[0], rows_by_step.iloc[-1])
        if len(rows_by_step) > 1
        else None
    )


@claims.register(
    order=130,
    quote="even without the 'Sign' of the FGSM, a successful attack can also be achieved",
    where="section 3.3, Eq. 21, after its reference 40",
    threshold="supported if a single step along the gradient, with the L2 norm of the sign's step "
    f"at the paper's epsilon, reduces TA of the same images by more than {_ACCURACY_LOSS:g} "
    "points, beyond the 95 % interval (cross-entropy); contradicted if it reduces TA by less"
    + claims.POST_HOC,
)
def gradient_instead_of_sign(data: ReportData) -> ClaimResult:
    """Judges the step without the sign."""
    setting = "a step with the L-inf norm of the sign's"
    evidence = Evidence(alternatives={setting: []})
    for table in data.scale.tables.values():
        network, epochs = table.networks[0], table.epochs[0]
        loss = _estimate_accuracy_loss(data, network, epochs, "raw_l2")
        if loss is None:
            continue
        row = loss.rows[0]
        text = (
            f"{document.format_short_network(network)}, epsilon {row.epsilon:.3g}: "
            f"{document.format_estimate(loss)} points, to RA {row.value:.1f}"
        )
        alternative = _estimate_accuracy_loss(data, network, epochs, "raw_linf")
        if alternative is not None:
            evidence.alternatives[setting].append(_judge_accuracy_loss(alternative))
            text += f" (same L-inf norm: {document.format_estimate(alternative)} points)"
        evidence.add(_judge_accuracy_loss(loss), text, loss)
    return evidence.conclude(prefix="Reduction of TA by a step along the gradient: ")


def _judge_accuracy_loss(loss: IntervalEstimate) -> Outcome:
    if loss.low > _ACCURACY_LOSS:
        return Outcome.SUPPORTED
    return Outcome.CONTRADICTED if loss.high < _ACCURACY_LOSS else Outcome.UNDECIDED


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
    frame = data.select(
        measure="robust_accuracy", loss="cross_entropy", num_steps=1, direction=direction, **filters
    )
    if frame.empty:
        return None
    # The paper's epsilon is the third of the four.
    epsilon = sorted(frame["epsilon"].unique())[:3][-1]
    attacked_rows = list(frame[frame["epsilon"] == epsilon]["row"])
    return compute_change(attacked_rows, data.find(measure="test_accuracy", **filters))


@claims.register(
    order=75,
    quote="In general, an increase in TA evidently corresponds to a decrease in RA",
    where="section 4.2 on Fig. 3, read within families of networks",
    threshold="for each of the three distortions, supported if the 95 % interval of the slope of "
    "the distortion over ln(error), with one slope for all families and an intercept for each, is "
    "above 0; contradicted if it is below",
)
def distortion_falls_with_accuracy(data: ReportData) -> ClaimResult:
    """Judges Fig. 3 by the slope within families."""
    setting = "over all models of all families"
    evidence = Evidence(alternatives={setting: []})
    for slopes in queries.fit_panel_slopes(data):
        if slopes.within is None:
            continue
        if slopes.overall is not None:
            evidence.alternatives[setting].append(claims.judge_sign(slopes.overall.sign))
        evidence.add(
            claims.judge_sign(slopes.within.sign),
            f"{slopes.panel.measure}: {slopes.within.value:.2g} ± "
            f"{slopes.within.half_width:.2g}, {slopes.within.n} models",
            slopes.within,
        )
    return evidence.conclude(prefix="Slopes within families: ")
