"""TA and RA of each class."""

from collections.abc import Iterator

from qup.evidence_figures import controls as drawing
from qup.evidence_figures.controls import Control
from qup.report import numbers, per_class, sections
from qup.report.blocks import Block, Cell, Picture, Section, Table, Words
from qup.report.estimates import Estimate, over_seeds
from qup.report.material import Material
from qup.report.selection import Look, rows
from qup.scales import Network
from qup.scales import Table as Asked

_WORDS = (
    "A mean hides which classes an attack breaks. Here both accuracies are of "
    "the images of one class, among the first test images that the attack saw, "
    "of each network after the most epochs that were run."
)
# Label to TA and RA.
_Found = dict[int, tuple[Estimate, Estimate]]


@sections.register(order=35)
def classes(material: Material) -> Section:
    """Returns the section."""
    blocks: list[Block] = [Words(_WORDS)]
    for name, asked in material.scale.tables.items():
        blocks += _of_table(material, name, asked)
    if len(blocks) == 1:
        blocks.append(Words(f"It was {numbers.NOT_RUN}."))
    return Section("classes", "Each class by itself", tuple(blocks))


def _of_table(material: Material, name: str, asked: Asked) -> Iterator[Block]:
    found: dict[str, _Found] = {}
    for network in asked.networks:
        for epochs in reversed(asked.epochs):
            held = _counted(material, network, epochs)
            if held:
                title = f"{network.title}, {numbers.count(epochs, 'epoch')}"
                found[title] = held
                break
    if not found:
        return
    dataset = asked.networks[0].dataset
    robust = Look.WORST.title(material)
    labels = sorted({label for held in found.values() for label in held})
    head = ("class", *(f"{title}: {look}" for title in found
                       for look in ("TA", robust)), "images")  # fmt: skip
    body = tuple(
        _line(found, label, material.class_name(dataset, label))
        for label in labels
    )
    yield Table(
        head, body, f"Percent of each class of {dataset}. {numbers.KEY}"
    )
    title, held = next(iter(found.items()))
    shown = [
        Control(
            material.class_name(dataset, label),
            {"TA": held[label][0].point, robust: held[label][1].point},
        )
        for label in sorted(held)
    ]
    yield Picture(
        f"classes-{name}",
        drawing.side_by_side(shown, title=f"{title}, {dataset}"),
        f"TA and RA of each class of {dataset}: {title}.",
        f"TA and RA of each class: {title} on {dataset}. Bars: 95 % intervals.",
    )  # fmt: skip


def _counted(material: Material, network: Network, epochs: int) -> _Found:
    held: dict[int, tuple[list, list]] = {}
    for row in rows(material, network, "CL", epochs, Look.WORST):
        arrays = material.arrays(row)
        if arrays is None or "robust" not in arrays:
            continue
        pair = (per_class.shares(row, arrays, n) for n in ("right", "robust"))
        for place, shares in enumerate(pair):
            for label, own in shares.items():
                held.setdefault(label, ([], []))[place].append(own)
    return {
        label: (over_seeds(clean), over_seeds(robust))
        for label, (clean, robust) in held.items()
    }


def _line(found: dict[str, _Found], label: int, name: str) -> tuple[Cell, ...]:
    cells: list[Cell] = [Cell(name)]
    counts = set()
    for held in found.values():
        pair = held.get(label, (None, None))
        cells += [numbers.cell(estimate) for estimate in pair]
        counts |= {estimate.n for estimate in pair if estimate}
    return (*cells, Cell(f"{min(counts):,}"))
