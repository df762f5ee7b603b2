"""Iterative FGSM Augmentation: supplement, Table 1 and Fig. 4."""

import math
from collections.abc import Iterator

from qup import figures, paper
from qup.measurements import Row
from qup.report import numbers, sections
from qup.report.blocks import (
    Block,
    Cell,
    Picture,
    Points,
    Section,
    Table,
    Words,
)
from qup.report.material import Material
from qup.report.selection import PLAIN, Look, accuracy, walked
from qup.scales import Network
from qup.scales import Table as Asked

_HEAD = (
    "network", "epochs", "", "paper: TA", "ours: TA", "paper: RA",
)  # fmt: skip
_ROBUST = (Look.CLIP, Look.FREE, Look.CLIMB, Look.WORST)
_WORDS = (
    "A Pix2Pix network is taught the way that N opposite-FGSM steps take "
    "each training image (towards its true class), and is put before the "
    "classifier: CL is the classifier alone, ACL the pair. Attacks go through "
    "both networks. An RA that falls far under a stronger attack, or that the "
    "checks below flag, is masked: its gradients mislead the attack, and the "
    "number says little of robustness."
)


@sections.register(order=40)
def supp_table1(material: Material) -> Section:
    """Returns the supplement's Table 1."""
    return _section(
        material, "table2", "supp_table1",
        "Supplement, Table 1: augmentation on MNIST",
    )  # fmt: skip


@sections.register(order=50)
def supp_fig4(material: Material) -> Section:
    """Returns the supplement's Fig. 4."""
    return _section(
        material, "table3", "supp_fig4",
        "Supplement, Fig. 4: augmentation on CIFAR-10",
    )  # fmt: skip


def _section(material: Material, table: str, name: str, title: str) -> Section:
    asked = material.scale.tables[table]
    blocks: list[Block] = [Words(_WORDS), _table(material, asked)]
    for network in asked.networks:
        for epochs in asked.epochs:
            blocks += _looked(material, network, epochs)
    return Section(name, title, tuple(blocks))


def _table(material: Material, asked: Asked) -> Table:
    head = (*_HEAD, *(f"ours: {look.title(material)}" for look in _ROBUST))
    body = tuple(
        _line(material, network, epochs, kind)
        for network in asked.networks
        for epochs in asked.epochs
        for kind in ("CL", "ACL")
    )
    return Table(head, body, f"Percent. {numbers.KEY}")


def _line(
    material: Material, network: Network, epochs: int, kind: str
) -> tuple[Cell, ...]:
    known = paper.published(network.dataset, network.model, kind, epochs)
    found = {
        look: accuracy(material, network, kind, epochs, look) for look in Look
    }
    return (
        Cell(network.title), Cell(str(epochs)), Cell(kind),
        numbers.published(known and known.test_accuracy),
        numbers.cell(found[Look.CLEAN]),
        numbers.published(known and known.robust_accuracy),
        *(numbers.cell(found[look]) for look in _ROBUST),
    )  # fmt: skip


def _looked(
    material: Material, network: Network, epochs: int
) -> Iterator[Block]:
    """Yields the walk's images and the checks of one network."""
    found = walked(material, network, epochs)
    if not found:
        return
    name = f"{network.dataset}-{network.model}-{epochs}"
    title = numbers.named(network.title, network.dataset, epochs)
    first = min(found, key=lambda row: (not row.artifact, row.seed))
    arrays = material.arrays(first)
    if arrays:
        yield Picture(
            f"images-{name}", figures.sheet(figures.stages(arrays)),
            "Rows of images: X_0, Delta_N, X_N, G(X_0), X_0 + G(X_0), and "
            "X_0 attacked.",
            "The first test images, their Delta_N and X_N, what the "
            "translator makes of them, and the images under attack "
            f"({title}, seed {first.seed}; deltas around grey).",
            raster=True,
        )  # fmt: skip
    yield from _checks(material, network, epochs)


def _checks(
    material: Material, network: Network, epochs: int
) -> Iterator[Block]:
    """Yields what the checks for masked gradients say of the pair."""
    rows = material.find(
        dataset=network.dataset, model=network.model, classifier="ACL",
        epochs=epochs, measure="masking", **PLAIN,
    )  # fmt: skip
    if not rows:
        yield Words(
            f"Whether the gradients of {network.title} after "
            f"{numbers.count(epochs, 'epoch')} are masked behind its "
            "translator was not checked."
        )
        return
    first = min(row.seed for row in rows)
    rows = [row for row in rows if row.seed == first]
    flagged = [row for row in rows if row.value == 1]
    open_ = [row for row in rows if math.isnan(row.value)]
    yield Words(
        f"Checks for masked gradients of ACL, {network.title}, "
        f"{numbers.count(epochs, 'epoch')}, seed {first}: {len(flagged)} of "
        f"{len(rows)} flagged, {len(open_)} not decided. What was flagged:"
    )
    words = _said(material, rows)
    yield Points(
        tuple(
            f"{row.parameters['check']}: "
            f"{words.get(row.parameters['check'], 'no words kept')}"
            for row in flagged
        )
        or ("nothing.",)
    )


def _said(material: Material, rows: list[Row]) -> dict[str, str]:
    arrays = material.arrays(rows[0])
    if not arrays:
        return {}
    return dict(zip(arrays["names"].tolist(), arrays["words"].tolist(),
                    strict=True))  # fmt: skip
