"""Supplement, Figs. 2 and 3: the walk X_n, and the pipeline that learns it."""

from collections.abc import Iterator, Mapping

import numpy as np

from qup.evidence_figures import ifa, walks
from qup.evidence_figures.ifa import Pair
from qup.evidence_figures.walks import Walk
from qup.measurements import Row
from qup.report import numbers, sections
from qup.report.blocks import Block, Cell, Picture, Section, Table, Words
from qup.report.estimates import Estimate
from qup.report.material import Material
from qup.report.selection import Look, accuracy, over_steps, walked
from qup.scales import Network
from qup.scales import Table as Asked

_WALK_WORDS = (
    "Training images are walked down the loss of their true label, and X_n "
    "is attacked in the ball round X_n. That both accuracies rise says what "
    "knowing the label gives; it says nothing of images without one."
)
_IFA_WORDS = (
    "The pipeline of the paper with the numbers that were measured in its "
    "boxes. X_n are training images; CL and ACL are the classifier alone and "
    "behind its translator, on test images, under four steps of PGD within "
    "[0, 1] through all that stands there."
)
# The paper's Fig. 3: n to TA and RA of X_n in percent, of a network that it
# does not name.
PAPER = {
    0: (94.41, 3.19), 1: (97.23, 29.60), 2: (98.71, 39.47),
    3: (99.31, 52.20), 4: (99.70, 63.88), 5: (99.84, 73.81),
}  # fmt: skip


@sections.register(order=36)
def supp_fig2(material: Material) -> Section:
    """Returns the supplement's Fig. 2."""
    blocks: list[Block] = [Words(_WALK_WORDS)]
    for table in material.scale.tables.values():
        blocks += _walks(material, table)
    if len(blocks) == 1:
        blocks.append(Words(f"It was {numbers.NOT_RUN}."))
    title = "Supplement, Fig. 2: TA and RA of the walked X_n"
    return Section("supp_fig2", title, tuple(blocks))


def _walks(material: Material, table: Asked) -> Iterator[Block]:
    """Yields picture and table of a data set; nothing without rows."""
    panels: dict[str, list[Walk]] = {}
    body = []
    for epochs in table.epochs:
        for network in table.networks:
            found = over_steps(walked(material, network, epochs))
            if not found["test_accuracy"]:
                continue
            points = {
                measure: {n: (x.value, x.low, x.high) for n, x in own.items()}
                for measure, own in found.items()
            }
            panel = panels.setdefault(numbers.count(epochs, "epoch"), [])
            panel.append(Walk(network.title, network.model, points))
            body += _ends(network, epochs, found)
    if not panels:
        return
    name = ", ".join(dict.fromkeys(n.dataset for n in table.networks))
    yield Picture(
        f"supp-fig2-{name.replace(', ', '-')}", walks.compared(panels, name),
        f"TA and RA of walked training images over the steps, on {name}.",
        f"TA and RA of X_n over n, {name}. Bars: 95 % intervals.",
    )  # fmt: skip
    head = ("network", "epochs", "n", "TA of X_n", "RA of X_n")
    caption = f"Percent of training images, {name}. {numbers.KEY}"
    yield Table(head, tuple(body), caption)


def _ends(
    network: Network, epochs: int, found: Mapping[str, Mapping[int, Estimate]]
) -> list[tuple[Cell, ...]]:
    """Returns lines of the first, the second and the last n."""
    steps = list(found["test_accuracy"])
    return [
        (Cell(network.title), Cell(str(epochs)), Cell(str(n)),
         *(numbers.cell(found[m].get(n)) for m in found))
        for n in dict.fromkeys([*steps[:2], steps[-1]])
    ]  # fmt: skip


@sections.register(order=37)
def supp_fig3(material: Material) -> Section:
    """Returns the supplement's Fig. 3, of each data set that was run."""
    blocks: list[Block] = [Words(_IFA_WORDS)]
    for table in material.scale.tables.values():
        for network, epochs, rows in _shown(material, table):
            blocks += _pipeline(material, network, epochs, rows)
    if len(blocks) == 1:
        blocks.append(Words(f"It was {numbers.NOT_RUN}."))
    title = "Supplement, Fig. 3: the pipeline"
    return Section("supp_fig3", title, tuple(blocks))


def _shown(
    material: Material, table: Asked
) -> Iterator[tuple[Network, int, list[Row]]]:
    """Yields the network to draw, the residual one where it was run."""
    for network in sorted(table.networks, key=lambda n: n.model != "resnet"):
        for epochs in reversed(table.epochs):
            rows = walked(material, network, epochs)
            both = [
                accuracy(material, network, kind, epochs, Look.CLEAN)
                for kind in ("CL", "ACL")
            ]
            if rows and all(both):
                yield network, epochs, rows
                return


def _seeds(counts: set[int]) -> str:
    """Returns over how many seeds the numbers of one drawing are means."""
    least, most = min(counts), max(counts)
    if least == most:
        return "one seed" if most == 1 else f"means over {most} seeds"
    return f"means over {least} to {most} seeds"


def _pipeline(
    material: Material, network: Network, epochs: int, rows: list[Row]
) -> Iterator[Block]:
    found = over_steps(rows)
    looked = {
        kind: [
            accuracy(material, network, kind, epochs, look)
            for look in (Look.CLEAN, Look.CLIP)
        ]
        for kind in ("CL", "ACL")
    }
    pairs = {kind: Pair(*map(_short, both)) for kind, both in looked.items()}
    title = numbers.named(network.title, network.dataset, epochs)
    counts = {len({row.seed for row in rows})}
    counts |= {each.seeds for both in looked.values() for each in both if each}
    yield Picture(
        f"supp-fig3-{network.dataset}",
        ifa.draw(
            classifier=f"{network.title}, {numbers.count(epochs, 'epoch')}",
            alone=pairs["CL"], pair=pairs["ACL"],
            walked={
                n: Pair(*(_short(found[m].get(n)) for m in found))
                for n in found["test_accuracy"]
            },
            title=f"{title}; {_seeds(counts)}",
            images=_images(material, rows),
        ),
        "Four parts: training of the classifier, the walk of the training "
        "images, training of the translator, and the pair, with TA and RA.",
        f"{title}. Images: the first test image; deltas around grey.",
    )  # fmt: skip
    head = ("n", "paper: TA", "ours: TA", "paper: RA", "ours: RA")
    body = tuple(
        (Cell(str(n)),
         numbers.published(PAPER.get(n, (None, None))[0]),
         numbers.cell(found["test_accuracy"][n]),
         numbers.published(PAPER.get(n, (None, None))[1]),
         numbers.cell(found["robust_accuracy"].get(n)))
        for n in found["test_accuracy"]
    )  # fmt: skip
    yield Table(
        head, body,
        f"Percent of training images, {title}; of its own numbers the paper "
        'names no data set, and "for instance the Residual neural network". '
        f"{numbers.KEY}",
    )  # fmt: skip


def _short(estimate: Estimate | None) -> str:
    return "not run" if estimate is None else f"{estimate.value:.1f} %"


def _images(
    material: Material, rows: list[Row]
) -> dict[str, np.ndarray] | None:
    """Returns the stages of the first test image; None where they are lost."""
    kept = [row for row in rows if row.artifact]
    arrays = material.arrays(min(kept, key=lambda r: r.seed)) if kept else None
    if arrays is None:
        return None
    start, end = arrays["x_0"][0], arrays["x_n"][0]
    delta, translated = end - start, arrays["translated"][0]
    scale = 2.0 * max(float(np.abs(delta).max()), 1e-6)
    return {
        "x_0": start, "x_n": start + translated,
        "delta_n": 0.5 + delta / scale, "translated": 0.5 + translated / scale,
    }  # fmt: skip
