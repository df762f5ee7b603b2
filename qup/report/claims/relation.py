"""Claims of section 3: the uncertainty relation itself."""

from qup.report import claims, numbers
from qup.report.claims import NOT_RUN, Outcome, Verdict, switches
from qup.report.estimates import Estimate, change
from qup.report.material import Material
from qup.report.sections import generators, uncertainty
from qup.report.selection import Look, accuracy, rows
from qup.scales import Network

_PRINTED = 0.5
# How far an interval may reach below it, and still be said to keep it.
_SHORT = 1e-3
_DEVIATIONS = ("sigma_x", "sigma_p")
# Signs of the changes that the exchange of both asks for.
_WANTED = {"TA": 1, "sigma_x": -1, "sigma_p": 1, "RA": -1}


@claims.register(
    order=50,
    quote="sigma_p sigma_x >= 1/2",
    where="Theorem 1, Eqs. 14 and 19, on the images' own box [0, 1]^M",
    threshold="contradicted where, at every number of epochs, the 95 % "
    "interval of the mean product over pixels lies below 1/2; supported where "
    "it lies above .499" + claims.CHANGED,
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
    "of the mean product lies above .499; contradicted where it lies below "
    "1/2. There the inequality is a theorem that every network keeps: it "
    "says nothing of TA and RA." + claims.CHANGED,
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
    "interval of the mean product lies above .499 in the Gaussian window and "
    "on the box, contradicted where it lies below 1/2 on both, mixed where "
    "they differ",
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
    if found.low >= _PRINTED - _SHORT:
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
    "goes the other way" + claims.SEEN,
)
def smaller_x_larger_p(material: Material) -> Verdict:
    """Judges the exchange of the deviations."""
    found = _exchange(material, Look.CLIP)
    if found is None:
        return NOT_RUN
    network, ends, changes = found
    outcome = _exchanged(changes)
    others = {}
    for look in switches.OTHERS:
        seen = _exchange(material, look)
        others[look] = [_exchanged(seen[2])] if seen else []
    told = ", ".join(
        f"{name} {numbers.text(moved, 4 if name in _DEVIATIONS else 2)}"
        for name, moved in changes.items()
    )
    used = sum((moved.rows for moved in changes.values()), ())
    words = (
        f"{network.title}, epochs {ends[0]} to {ends[1]}: {told}. (sigma_x of "
        "a uniform density is .2887, and hardly less here.)"
    )
    switch = switches.told(material, outcome, others)
    return Verdict(outcome, words, used, switch)


def _exchange(
    material: Material, look: Look
) -> tuple[Network, tuple[int, int], dict[str, Estimate]] | None:
    """Returns what changes from the fewest to the most epochs."""
    table = material.scale.tables["table2"]
    network = table.networks[0]
    run = [
        n for n in table.epochs
        if accuracy(material, network, "CL", n, look)
        and uncertainty.found(material, network, n, "sigma_p", "box")
    ]  # fmt: skip
    if len(run) < 2:
        return None
    ends = (run[0], run[-1])
    changes = {}
    for name in _WANTED:
        if name in _DEVIATIONS:
            pair = [
                uncertainty.found(material, network, n, name, "box").rows
                for n in ends
            ]
        else:
            seen = look if name == "RA" else Look.CLEAN
            pair = [rows(material, network, "CL", n, seen) for n in ends]
        changes[name] = change(*pair)
    return None if None in changes.values() else (network, ends, changes)


def _exchanged(changes: dict[str, Estimate]) -> Outcome:
    signs = {name: found.sign for name, found in changes.items()}
    if signs == _WANTED:
        return Outcome.SUPPORTED
    opposite = any(signs[name] == -_WANTED[name] for name in _WANTED)
    if signs["TA"] == 1 and opposite:
        return Outcome.CONTRADICTED
    return Outcome.UNDECIDED
