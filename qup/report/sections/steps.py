"""Eqs. 21 and 22: RA by sign steps and by gradient steps."""

from qup.evidence_figures import steps
from qup.evidence_figures.steps import Curve
from qup.measurements import Row
from qup.report import numbers, sections
from qup.report.blocks import Block, Cell, Picture, Section, Table, Words
from qup.report.estimates import over_seeds
from qup.report.material import Material
from qup.scales import Network

ATTACK = "gradient_steps"
LOSSES = ("cross_entropy", "squared", "margin")
_WORDS = (
    "Eq. 21 replaces the sign of the gradient by the gradient itself. Here "
    "steps along both have the same length, in L2 or in L-inf, image by "
    "image; the cosine between a gradient and its sign would be 0.798 for "
    "independent Gaussian entries, and is smaller where few pixels carry the "
    "gradient. Attacks of the same L-inf size are weaker along the gradient, "
    "because most of its entries are smaller than its largest."
)


@sections.register(order=70)
def eq21(material: Material) -> Section:
    """Returns the section."""
    blocks: list[Block] = [Words(_WORDS)]
    head = ("network", "epochs", *(f"cosine, {loss}" for loss in LOSSES))
    body = []
    for table in material.scale.tables.values():
        network = table.networks[0]
        for epochs in table.epochs:
            rows = material.find(
                dataset=network.dataset, model=network.model, epochs=epochs,
                evaluation=ATTACK,
            )  # fmt: skip
            if rows:
                body.append(_cosines(network, epochs, rows))
                blocks.append(_picture(network, epochs, rows))
    if not body:
        blocks.append(Words(f"It was {numbers.NOT_RUN}."))
    else:
        blocks.insert(1, Table(head, tuple(body), numbers.KEY))
    return Section("eq21", "Eqs. 21 and 22: sign or gradient", tuple(blocks))


def _cosines(network: Network, epochs: int, rows: list[Row]) -> tuple:
    cells = [
        numbers.cell(
            over_seeds([
                row for row in rows
                if row.measure == "gradient_sign_cosine"
                and row.parameters["loss"] == loss
            ]), 3,
        )
        for loss in LOSSES
    ]  # fmt: skip
    title = f"{network.title}, {network.dataset}"
    return (Cell(title), Cell(str(epochs)), *cells)


def _picture(network: Network, epochs: int, rows: list[Row]) -> Picture:
    held: dict[tuple, dict[float, list[Row]]] = {}
    for row in rows:
        if row.measure == "robust_accuracy":
            told = row.parameters
            key = (told["direction"], told["loss"], told["num_steps"])
            held.setdefault(key, {}).setdefault(row.epsilon, []).append(row)
    curves = []
    for key, by_epsilon in held.items():
        points = {}
        for epsilon, own in by_epsilon.items():
            found = over_seeds(own)
            points[epsilon] = (found.value, found.low, found.high)
        curves.append(Curve(*key, points))
    title = numbers.named(network.title, network.dataset, epochs)
    return Picture(
        f"eq21-{network.dataset}-{network.model}-{epochs}",
        steps.by_epsilon(curves, title=title, note="bars: 95 % intervals"),
        f"Robust accuracy over epsilon by direction and loss: {title}.",
        f"RA by steps along the sign and along the gradient: {title}.",
    )
