"""The claim of section 4.2, on 18 ImageNet models."""

from qup.report import claims, slopes
from qup.report.claims import NOT_RUN, Outcome, Verdict
from qup.report.material import Material


@claims.register(
    order=75,
    quote="In general, an increase in TA evidently corresponds to a decrease "
    "in RA",
    where="section 4.2 on Fig. 3, read within families of networks",
    threshold="for each of the three distortions, supported where the 95 % "
    "interval of the slope of the distortion over ln(error), one slope for "
    "all families and an intercept for each, lies above 0; contradicted where "
    "it lies below",
)
def distortion_falls_with_accuracy(material: Material) -> Verdict:
    """Judges Fig. 3 by what families have in common."""
    outcomes, told, used, others = [], [], (), []
    for found in slopes.of_panels(material):
        if found.within is None:
            continue
        outcomes.append(claims.of_sign(found.within.sign))
        if found.overall is not None:
            others.append(claims.of_sign(found.overall.sign))
        used += found.within.rows
        told.append(
            f"{found.measure}: {found.within.value:.2g} ± "
            f"{found.within.half:.2g}, {found.within.n} models"
        )
    if not outcomes:
        return NOT_RUN
    outcome = claims.combined(outcomes)
    over_all = claims.combined(others)
    switch = ""
    if over_all is not outcome and over_all is not Outcome.NOT_RUN:
        switch = f"over all models, whatever their family: {over_all.value}"
    words = f"Slopes within families: {'; '.join(told)}."
    return Verdict(outcome, words, used, switch)
