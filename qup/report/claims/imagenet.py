"""The claim of section 4.2, on 18 ImageNet models."""

from qup.report import claims, slopes
from qup.report.claims import NOT_RUN_RESULT, ClaimResult, Outcome
from qup.report.material import ReportData


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
    for panel in slopes.fit_panel_slopes(data):
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
