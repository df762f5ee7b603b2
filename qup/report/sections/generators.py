"""The supplement's section 3: the relation of a generator's own loss."""

from collections.abc import Iterator

from qup.measurements import Row
from qup.report import numbers, sections
from qup.report.blocks import Block, Cell, Section, Table, Words
from qup.report.estimates import Estimate, over_seeds
from qup.report.material import Material
from qup.report.selection import of_network

# What rows of `TranslatorAnalyzer` tell.
PACKET, CONTROL = "l1", "translator"
_MEASURES = ("sigma_x", "sigma_p", "uncertainty_product", "uncertainty_bound")
_WORDS = (
    "The supplement extends the theorem to generators. The translator G is "
    "one: its loss is the L1 distance of its output to Delta_N(x), here of "
    "the first test image x, and its packet psi(X) ~ mean |G(X) - "
    "Delta_N(x)|. What holds of a classifier's packet holds of this one, on "
    "the box with the boundary term and in a Gaussian window round x with "
    "1/2: the derivation asks of the function that it and its derivative are "
    "square integrable, and nothing of what it is for, so that it tells "
    "nothing of generators in particular."
)


def found(material: Material, measure: str, domain: str) -> Estimate | None:
    """Returns a mean over pixels and seeds; None where it was not run."""
    return over_seeds([
        row for row in _rows(material)
        if (row.measure, row.parameters["domain"]) == (measure, domain)
        and row.parameters.get("statistic") == "mean"
    ])  # fmt: skip


def domains(material: Material) -> list[str]:
    """Returns the domains that were measured."""
    return sorted({str(r.parameters["domain"]) for r in _rows(material)})


def _rows(material: Material) -> list[Row]:
    table = material.scale.tables["table2"]
    network = of_network(table.networks[0], table.epochs[0])
    return material.find(packet=PACKET, control=CONTROL, **network)


@sections.register(order=102)
def generators(material: Material) -> Section:
    """Returns the section."""
    blocks: list[Block] = [Words(_WORDS)]
    body = tuple(_lines(material))
    if body:
        table = material.scale.tables["table2"]
        network, epochs = table.networks[0], table.epochs[0]
        named = numbers.named(network.title, network.dataset, epochs)
        head = ("domain", *(m.replace("_", " ") for m in _MEASURES))
        caption = f"Translator before {named}; means over pixels."
        blocks.append(Table(head, body, f"{caption} {numbers.KEY}"))
    else:
        blocks.append(Words(f"It was {numbers.NOT_RUN}."))
    title = "The uncertainty relation of the translator"
    return Section("generators", title, tuple(blocks))


def _lines(material: Material) -> Iterator[tuple[Cell, ...]]:
    for domain in domains(material):
        yield (Cell(domain), *(
            numbers.cell(found(material, measure, domain), 5)
            for measure in _MEASURES
        ))  # fmt: skip
