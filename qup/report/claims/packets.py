"""The claim that Fig. 2 draws: packets of two classes in X and in P."""

from qup.report import claims, numbers
from qup.report.claims import NOT_RUN, Outcome, Verdict
from qup.report.material import Material
from qup.report.sections import binary_toy

_PACKET, _DOMAIN = "loss", "box"
_NAMES = {
    "sigma_x": "sigma_x", "sigma_p": "sigma_p",
    "overlap_x": "overlap in X", "overlap_p": "overlap in P",
}  # fmt: skip


@claims.register(
    order=72,
    quote="the two neural packets tend to overlap in P under small "
    "sigma_X,Car and sigma_X,Deer",
    where="Fig. 2 and section 3.3, on two classes in the unit square",
    threshold="from the fewest to the most epochs, packet of the loss: "
    "sigma_x and the overlap in X fall, sigma_p and the overlap in P rise, "
    "each beyond its 95 % interval, as Fig. 2 draws them; contradicted where "
    "any goes the other way beyond it. (Written after such packets had been "
    "looked at; it asks for what the figure draws.)",
)
def packets_overlap(material: Material) -> Verdict:
    """Judges Fig. 2 by real packets, whose integrals quadrature gives."""
    found = binary_toy.changes(material, _PACKET, _DOMAIN)
    if any(estimate is None for estimate in found.values()):
        return NOT_RUN
    agree = {
        name: estimate.sign * (1 if binary_toy.DRAWN[name] == "larger" else -1)
        for name, estimate in found.items()
    }
    outcome = Outcome.UNDECIDED
    if -1 in agree.values():
        outcome = Outcome.CONTRADICTED
    elif set(agree.values()) == {1}:
        outcome = Outcome.SUPPORTED
    told = "; ".join(
        f"{_NAMES[name]} {numbers.text(estimate, 4)} (drawn: "
        f"{binary_toy.DRAWN[name]})"
        for name, estimate in found.items()
    )
    used = sum((estimate.rows for estimate in found.values()), ())
    words = f"Most less fewest epochs: {told}."
    return Verdict(outcome, words, used)
