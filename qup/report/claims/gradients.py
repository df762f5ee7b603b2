"""The claim of Eq. 21: a gradient in the place of its sign."""

from qup.measurements import Row
from qup.report import claims, numbers
from qup.report.claims import NOT_RUN, Outcome, Verdict
from qup.report.estimates import Estimate, change
from qup.report.material import Material
from qup.scales import Network

_WEAK = 20.0
# The direction that decides, and one that is as large in another norm.
_DIRECTION, _OTHER = "raw_l2", "raw_linf"


@claims.register(
    order=130,
    quote="even without the 'Sign' of the FGSM, a successful attack can also "
    "be achieved",
    where="section 3.3, Eq. 21, after its reference 40",
    threshold="supported where a single step along the gradient, as long in "
    "L2 as the sign's at the paper's epsilon, takes away more than "
    f"{_WEAK:g} points of the TA of the same images, beyond the 95 % "
    "interval (cross-entropy); contradicted where it takes away fewer"
    + claims.CHANGED,
)
def gradient_instead_of_sign(material: Material) -> Verdict:
    """Judges the step without the sign."""
    outcomes, told, used, others = [], [], (), []
    for table in material.scale.tables.values():
        network, epochs = table.networks[0], table.epochs[0]
        found = _lost(material, network, epochs, _DIRECTION)
        if found is None:
            continue
        used += found.rows
        outcomes.append(_outcome(found))
        attacked = found.rows[0]
        words = (
            f"{network.dataset} {network.title}, epsilon "
            f"{attacked.epsilon:.3g}: {numbers.text(found)} points, to RA "
            f"{attacked.value:.1f}"
        )
        other = _lost(material, network, epochs, _OTHER)
        if other is not None:
            others.append(_outcome(other))
            words += f" (as large in L-inf: {numbers.text(other)} points)"
        told.append(words)
    if not outcomes:
        return NOT_RUN
    outcome = claims.combined(outcomes)
    switch = ""
    if others and claims.combined(others) is not outcome:
        same = claims.combined(others).value
        switch = f"a step as large in L-inf as the sign's: {same}"
    words = f"A step along the gradient takes away: {'; '.join(told)}."
    return Verdict(outcome, words, used, switch)


def _outcome(lost: Estimate) -> Outcome:
    if lost.low > _WEAK:
        return Outcome.SUPPORTED
    return Outcome.CONTRADICTED if lost.high < _WEAK else Outcome.UNDECIDED


def _lost(
    material: Material, network: Network, epochs: int, direction: str
) -> Estimate | None:
    """Returns the points of TA that a step at the paper's epsilon costs."""
    common = {
        "dataset": network.dataset, "model": network.model, "epochs": epochs,
        "evaluation": "gradient_steps",
    }  # fmt: skip
    attacked: list[Row] = material.find(
        measure="robust_accuracy", loss="cross_entropy", num_steps=1,
        direction=direction, **common,
    )  # fmt: skip
    if not attacked:
        return None
    sizes = sorted({row.epsilon for row in attacked})
    # The paper's epsilon is the third of the four.
    size = sizes[min(2, len(sizes) - 1)]
    at_size = [row for row in attacked if row.epsilon == size]
    clean = material.find(measure="test_accuracy", **common)
    return change(at_size, clean)
