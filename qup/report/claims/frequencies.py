"""Claims of the supplement's Figs. 2 and 5 and of its section 4."""

from qup.measurements import Row
from qup.report import claims, numbers
from qup.report.claims import NOT_RUN, Outcome, Verdict
from qup.report.estimates import change
from qup.report.material import Material
from qup.report.selection import PLAIN, Look, rows, walked
from qup.scales import Network


@claims.register(
    order=110,
    quote="Delta_1 contains more high frequency components with the "
    "increasing of the test accuracies",
    where="supplement, section 4 and Fig. 5, read within one network over its "
    "epochs",
    threshold="from the fewest to the most epochs the 95 % intervals of the "
    "changes of TA and of the ratio of Delta_1 (the paper's window) both lie "
    "above 0; contradicted where TA rises and the ratio falls. That the ratio "
    'be "roughly proportional" to TA, as Fig. 5 says, is not asked.'
    + claims.CHANGED,
)
def ratio_follows_accuracy(material: Material) -> Verdict:
    """Judges the ratio over the epochs of every network."""
    outcomes, told, used, asked = [], [], (), 0
    for table in material.scale.tables.values():
        for network in table.networks:
            asked += 1
            run = [n for n in table.epochs if _ratios(material, network, n)]
            if len(run) < 2:
                continue
            ratio = change(
                _ratios(material, network, run[0]),
                _ratios(material, network, run[-1]),
            )
            clean = change(
                rows(material, network, "CL", run[0], Look.CLEAN),
                rows(material, network, "CL", run[-1], Look.CLEAN),
            )
            if ratio is None or clean is None:
                continue
            used += ratio.rows
            told.append(
                f"{network.dataset} {network.title}, epochs {run[0]} to "
                f"{run[-1]}: TA {numbers.text(clean)}, ratio "
                f"{numbers.text(ratio, 4)}, of {ratio.rows[0].value:.4f}"
            )
            sign = ratio.sign if clean.sign == 1 else 0
            outcomes.append(claims.of_sign(sign))
    if not outcomes:
        return NOT_RUN
    scope = claims.tally(outcomes, asked, "networks")
    words = f"{'; '.join(told)}."
    return Verdict(claims.combined(outcomes), words, used, scope=scope)


def _ratios(material: Material, network: Network, epochs: int) -> list[Row]:
    options = {f"model_{key}": x for key, x in network.options.items()}
    return material.find(
        dataset=network.dataset, model=network.model, epochs=epochs,
        measure="high_frequency_ratio", field="delta", window="literal",
        augmentation_num_steps=None, **{**options, **PLAIN, "step": 1},
    )  # fmt: skip


@claims.register(
    order=120,
    quote="such an attempt to train a Pix2Pix fails at producing images "
    "containing more high frequency components",
    where="supplement, abstract and section 4",
    threshold="supported where the relative error of the translator on unseen "
    "images is larger at high frequencies than at low ones (the paper's "
    "window), beyond the 95 % interval; contradicted where it is smaller",
)
def translators_miss_high_frequencies(material: Material) -> Verdict:
    """Judges the translator's error by frequency."""
    outcomes, told, used, asked = [], [], (), 0
    for table in material.scale.tables.values():
        for network in table.networks:
            asked += 1
            low, high = (
                material.find(
                    dataset=network.dataset, model=network.model,
                    measure="relative_spectral_error", window="literal",
                    band=band,
                )
                for band in ("low", "high")
            )  # fmt: skip
            found = change(low, high)
            if found is None:
                continue
            used += found.rows
            told.append(
                f"{network.dataset} {network.title}: relative error at high "
                f"less at low frequencies {numbers.text(found, 3)}"
            )
            outcomes.append(claims.of_sign(found.sign))
    if not outcomes:
        return NOT_RUN
    scope = claims.tally(outcomes, asked, "networks")
    words = f"{'; '.join(told)}."
    return Verdict(claims.combined(outcomes), words, used, scope=scope)


@claims.register(
    order=140,
    quote="with the increase of the iteration steps, both TA and RA show "
    "tendency of increase",
    where="supplement, section 1 on Fig. 2 (walked training images)",
    threshold="from X_0 to the last X_n the 95 % intervals of the changes of "
    "TA and RA both lie above 0; contradicted where one lies below"
    + claims.SEEN,
)
def walks_raise_both(material: Material) -> Verdict:
    """Judges the walk."""
    outcomes, told, used = [], [], ()
    for table in material.scale.tables.values():
        for network in table.networks:
            for epochs in table.epochs:
                pair = [
                    _walked(material, network, epochs, measure)
                    for measure in ("test_accuracy", "robust_accuracy")
                ]
                if None in pair:
                    continue
                used += pair[0].rows + pair[1].rows
                told.append(
                    f"{network.dataset} {network.title} {epochs}: TA "
                    f"{numbers.text(pair[0])}, RA {numbers.text(pair[1])}"
                )
                signs = {found.sign for found in pair}
                outcome = Outcome.UNDECIDED
                if signs == {1}:
                    outcome = Outcome.SUPPORTED
                elif -1 in signs:
                    outcome = Outcome.CONTRADICTED
                outcomes.append(outcome)
    if not outcomes:
        return NOT_RUN
    asked = claims.lines(material)
    scope = claims.tally(outcomes, asked, "networks at their epochs")
    words = f"{'; '.join(told)}."
    return Verdict(claims.combined(outcomes), words, used, scope=scope)


def _walked(material: Material, network: Network, epochs: int, measure: str):
    held = [
        row
        for row in walked(material, network, epochs)
        if row.measure == measure
    ]
    steps = sorted({row.parameters["step"] for row in held})
    if len(steps) < 2:
        return None
    ends = [
        [row for row in held if row.parameters["step"] == step]
        for step in (steps[0], steps[-1])
    ]
    return change(*ends)
