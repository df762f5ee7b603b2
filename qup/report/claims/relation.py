"""Claims of section 3: the uncertainty relation itself."""

from qup.report import claims, numbers
from qup.report.claims import NOT_RUN, Outcome, Verdict
from qup.report.estimates import Estimate, change
from qup.report.material import Material
from qup.report.sections import generators, uncertainty
from qup.report.selection import Look, accuracy, rows

_PRINTED = 0.5


@claims.register(
    order=50,
    quote="sigma_p sigma_x >= 1/2",
    where="Theorem 1, Eqs. 14 and 19, on the images' own box [0, 1]^M",
    threshold="contradicted where, at every number of epochs, the 95 % "
    "interval of the mean product over pixels lies below 1/2; supported where "
    "it reaches it",
)
def product_on_the_box(material: Material) -> Verdict:
    """Judges the printed bound where images live."""
    return _product(material, "box", "in a Gaussian window, at whose edge the "
                    "packet vanishes, the bound of 1/2 is exact")  # fmt: skip


@claims.register(
    order=60,
    quote="sigma_p sigma_x >= 1/2",
    where="Theorem 1, Eqs. 14 and 19, in a Gaussian window",
    threshold="supported where, at every number of epochs, the 95 % interval "
    "of the mean product reaches or exceeds 1/2; contradicted where it lies "
    "below",
)
def product_in_a_window(material: Material) -> Verdict:
    """Judges the bound where it is a theorem."""
    windows = [d for d in uncertainty.domains(material) if d != "box"]
    if not windows:
        return NOT_RUN
    return _product(material, windows[0], "")


@claims.register(
    order=105,
    quote="the uncertainty principle should be a common result for general "
    "neural networks",
    where="supplement, section 3, on the translator's own L1 loss",
    threshold="the bound of 1/2 as for a classifier: supported where the 95 % "
    "interval of the mean product reaches it in the Gaussian window and on "
    "the box, contradicted where it lies below on both, mixed where they "
    "differ",
)
def product_of_a_generator(material: Material) -> Verdict:
    """Judges the printed bound for a network that is no classifier."""
    outcomes, told, used = [], [], ()
    domains = generators.domains(material)
    for domain in domains:
        found = generators.found(material, "uncertainty_product", domain)
        if found is None:
            continue
        used += found.rows
        told.append(f"{domain}: {numbers.text(found, 5)}")
        outcomes.append(_reached(found))
    if not outcomes:
        return NOT_RUN
    words = f"Product of the translator's packet: {'; '.join(told)}."
    outcome = claims.combined(outcomes)
    if len(outcomes) < 2 or Outcome.UNDECIDED in outcomes:
        outcome = Outcome.UNDECIDED
    return Verdict(outcome, words, used)


def _reached(found: Estimate) -> Outcome:
    """Says whether a product reaches the printed bound."""
    if found.high < _PRINTED:
        return Outcome.CONTRADICTED
    if found.high >= _PRINTED:
        return Outcome.SUPPORTED
    return Outcome.UNDECIDED


def _product(material: Material, domain: str, switch: str) -> Verdict:
    table = material.scale.tables["table2"]
    network, outcomes, told, used = table.networks[0], [], [], ()
    for epochs in table.epochs:
        found = uncertainty.found(
            material, network, epochs, "uncertainty_product", domain
        )
        if found is None:
            continue
        used += found.rows
        told.append(
            f"{numbers.count(epochs, 'epoch')}: {numbers.text(found, 5)}"
        )
        outcomes.append(_reached(found))
    if not outcomes:
        return NOT_RUN
    outcome = claims.combined(outcomes)
    words = f"Product on {domain}, {network.title}: {'; '.join(told)}."
    other = switch if outcome is Outcome.CONTRADICTED else ""
    return Verdict(outcome, words, used, other)


@claims.register(
    order=70,
    quote="Accurate classifier has smaller sigma_X, thus larger sigma_P, "
    "making the classifier less robust",
    where="Fig. 2 and section 3.3",
    threshold="from the fewest to the most epochs, on the box: TA rises, "
    "sigma_x falls, sigma_p rises and RA (PGD-4, clipped) falls, each beyond "
    "its 95 % interval; contradicted where TA rises and any of the others "
    "goes the other way",
)
def smaller_x_larger_p(material: Material) -> Verdict:
    """Judges the exchange of the deviations."""
    table = material.scale.tables["table2"]
    network = table.networks[0]
    run = [
        n for n in table.epochs
        if accuracy(material, network, "CL", n, Look.CLIP)
        and uncertainty.found(material, network, n, "sigma_p", "box")
    ]  # fmt: skip
    if len(run) < 2:
        return NOT_RUN
    ends = (run[0], run[-1])
    measured = {
        "TA": [rows(material, network, "CL", n, Look.CLEAN) for n in ends],
        "RA": [rows(material, network, "CL", n, Look.CLIP) for n in ends],
    }
    for name in ("sigma_x", "sigma_p"):
        measured[name] = [
            list(uncertainty.found(material, network, n, name, "box").rows)
            for n in ends
        ]
    wanted = {"TA": 1, "sigma_x": -1, "sigma_p": 1, "RA": -1}
    changes = {name: change(*pair) for name, pair in measured.items()}
    if any(found is None for found in changes.values()):
        return NOT_RUN
    signs = {name: found.sign for name, found in changes.items()}
    outcome = Outcome.UNDECIDED
    if signs == wanted:
        outcome = Outcome.SUPPORTED
    elif signs["TA"] == 1 and any(signs[n] == -wanted[n] for n in wanted):
        outcome = Outcome.CONTRADICTED
    told = ", ".join(
        f"{name} {numbers.text(found, 4)}" for name, found in changes.items()
    )
    used = sum((found.rows for found in changes.values()), ())
    words = f"{network.title}, epochs {ends[0]} to {ends[1]}: {told}."
    return Verdict(outcome, words, used)
