"""Supplement, Fig. 1: points of two classes under FGSM and its opposite."""

from collections.abc import Iterator

from qup.binary_toy import movements
from qup.measurements import Row
from qup.report import numbers, sections
from qup.report.blocks import Block, Cell, Picture, Section, Table, Words
from qup.report.estimates import over_seeds
from qup.report.material import Material

_WORDS = (
    "The supplement's Fig. 1 is a drawing too: FGSM moves points out of the "
    "region of their class, its opposite, iterated with the true label, into "
    "it. Here are points that a network of the unit square has not seen."
)


@sections.register(order=35)
def supp_fig1(material: Material) -> Section:
    """Returns the supplement's Fig. 1."""
    rows = material.find(figure="supp_fig1")
    blocks: list[Block] = [Words(_WORDS)]
    if rows:
        blocks += _moved(material, rows)
    else:
        blocks.append(Words(f"It was {numbers.NOT_RUN}."))
    title = "Supplement, Fig. 1: FGSM and its opposite"
    return Section("supp_fig1", title, tuple(blocks))


def _moved(material: Material, rows: list[Row]) -> Iterator[Block]:
    columns = {
        "as drawn": ("test_accuracy", None),
        "after FGSM": ("robust_accuracy", None),
        "after the opposite steps": ("test_accuracy", "X_n"),
    }
    body = tuple(
        (Cell(str(n)), *(numbers.cell(over_seeds([
            row for row in rows
            if (row.epochs, row.measure, row.parameters.get("images"))
            == (n, *wanted)
        ])) for wanted in columns.values()))
        for n in sorted({row.epochs for row in rows})
    )  # fmt: skip
    yield Table(
        ("epochs", *columns), body,
        f"Percent of points that are classified rightly. {numbers.KEY}",
    )  # fmt: skip
    first = min(rows, key=lambda row: row.seed)
    arrays = material.arrays(first)
    if arrays is not None:
        after = numbers.count(int(arrays["epochs"]), "epoch")
        yield Picture(
            "supp-fig1", movements.draw(arrays, f"The network after {after}"),
            "Points of two classes over the regions of the network: as "
            "drawn, after FGSM, and after opposite steps.",
            f"The network after {after}, seed {first.seed}: points as drawn, "
            "attacked, and walked the opposite way.",
            raster=True,
        )  # fmt: skip
