"""Fig. 2: packets of two classes in the unit square, in X and in P."""

from collections.abc import Iterator, Mapping

import numpy as np

from qup import binary_toy
from qup.binary_toy import figures as toy_figures
from qup.binary_toy import portraits
from qup.binary_toy import seeds as toy_seeds
from qup.measurements import Row
from qup.report import numbers, sections
from qup.report.blocks import Block, Cell, Picture, Section, Table, Words
from qup.report.estimates import Estimate, change, over_seeds
from qup.report.material import Material

_WORDS = (
    "The paper's Fig. 2 is a drawing: a network of higher accuracy has "
    "packets that are narrow and apart in X, and wide and overlapping in P. "
    "Here are the packets of real networks, whose images are points of the "
    "unit square, so that every integral is done by quadrature. Real "
    "packets have a symmetric |psi~|^2, so that in P both lie round 0 "
    "and overlap at least as much as in X, whatever the network: what is "
    "drawn apart there needs a phase, which no loss has. An overlap is int "
    "|psi_0||psi_1|; the own share is that part of |psi|^2 where the network "
    "says the packet's own label. The loss's packet is large where the "
    "network is wrong. T divides the logits: the decisions are the same. The "
    "classes are two noisy arcs (n in the rows), the network two layers of "
    "32 tanh."
)
_MEASURES = {
    "sigma_x": "sigma x", "sigma_p": "sigma p",
    "uncertainty_product": "product", "uncertainty_bound": "bound",
    "overlap_x": "overlap in X", "overlap_p": "overlap in P",
    "own_share": "own share",
}  # fmt: skip
# What Fig. 2 draws of the network of higher accuracy.
DRAWN = {
    "sigma_x": "smaller", "sigma_p": "larger", "overlap_x": "smaller",
    "overlap_p": "larger",
}  # fmt: skip


@sections.register(order=105)
def fig2(material: Material) -> Section:
    """Returns Fig. 2."""
    rows = material.find(figure="fig2")
    blocks: list[Block] = [Words(_WORDS)]
    if rows:
        blocks += _packets(material, rows)
        blocks += _portraits(material, rows)
    else:
        blocks.append(Words(f"It was {numbers.NOT_RUN}."))
    title = "Fig. 2: packets of two classes in X and in P"
    return Section("fig2", title, tuple(blocks))


def _packets(material: Material, rows: list[Row]) -> Iterator[Table]:
    """Yields TA and RA, all numbers of packets, and how they differ."""
    every = sorted({row.epochs for row in rows})
    epsilons = sorted({r.epsilon for r in rows if r.epsilon is not None})
    heads = [("test_accuracy", None)]
    heads += [("robust_accuracy", epsilon) for epsilon in epsilons]
    body = [
        (Cell(str(n)), *(numbers.cell(over_seeds(
            [r for r in rows if (r.measure, r.epochs, r.epsilon)
             == (measure, n, epsilon)]
        )) for measure, epsilon in heads))
        for n in every
    ]  # fmt: skip
    head = ("epochs", "TA", *(f"RA, epsilon {e:g}" for e in epsilons))
    attack = "RA: PGD of 40 steps within an L-inf ball, in units of the side."
    yield Table(head, tuple(body), f"Percent. {attack} {numbers.KEY}")
    kinds = [
        (kind, domain)
        for kind in portraits.KINDS
        for domain in binary_toy.SPANS
    ]
    lines = [
        (Cell(kind), Cell(domain), Cell(toy_seeds.name(*network)), *(
            _cell(rows, measure, kind, domain, *network)
            for measure in _MEASURES
        ))
        for kind, domain in kinds
        for network in toy_seeds.networks(rows)
    ]  # fmt: skip
    yield Table(
        ("packet", "domain", "network", *_MEASURES.values()), tuple(lines),
        f"Means over both labels and both coordinates. {numbers.KEY}",
    )  # fmt: skip
    if len(every) > 1:
        yield _changes(material, kinds, every)


def _of(rows: list[Row], measure: str, kind: str, domain: str, epochs: int,
        temperature: float = 1.0) -> list[Row]:  # fmt: skip
    """Returns a row for each seed: none of a single label or axis."""
    told = {"packet": kind, "domain": domain, "temperature": temperature}
    return [
        row for row in rows
        if (row.measure, row.epochs) == (measure, epochs)
        and not {"label", "axis"} & row.parameters.keys()
        and all(row.parameters.get(k) == v for k, v in told.items())
    ]  # fmt: skip


def _cell(rows: list[Row], measure: str, kind: str, domain: str,
          *network) -> Cell:  # fmt: skip
    found = over_seeds(_of(rows, measure, kind, domain, *network))
    if found is None and measure == "uncertainty_bound":
        # Where the packet vanishes at the edge.
        return Cell("1/2")
    return numbers.cell(found, 3)


def changes(
    material: Material, kind: str, domain: str
) -> dict[str, Estimate | None]:
    """Returns what more training changes in a packet, paired by seed.

    Args:
      material: Everything measured.
      kind: Of the packet, "loss" being the paper's.
      domain: "box" or another that was measured.

    Returns:
      The measures of `DRAWN`, most less fewest epochs; None where they were
      not measured for both.
    """
    rows = material.find(figure="fig2")
    every = sorted({row.epochs for row in rows})
    return {
        measure: change(*(
            _of(rows, measure, kind, domain, n)
            for n in (every[0], every[-1])
        )) if len(every) > 1 else None
        for measure in DRAWN
    }  # fmt: skip


def _changes(material: Material, kinds: list[tuple[str, str]],
             every: list[int]) -> Table:  # fmt: skip
    drawn = (Cell("as the paper draws it"), Cell("", tone="muted"), *(
        Cell(words, tone="paper") for words in DRAWN.values()
    ))  # fmt: skip
    body = [drawn]
    for kind, domain in kinds:
        cells = []
        for measure, found in changes(material, kind, domain).items():
            wanted = 1 if DRAWN[measure] == "larger" else -1
            tone = {wanted: "good", -wanted: "bad"}
            cell, sign = numbers.cell(found, 3), found.sign if found else 0
            words = {wanted: ", as drawn", -wanted: ", the other way"}
            text = cell.text + words.get(sign, "")
            cells.append(Cell(text, cell.rows, tone.get(sign, "")))
        body.append((Cell(kind), Cell(domain), *cells))
    ends = (every[-1], every[0])
    names = " less ".join(numbers.count(n, "epoch") for n in ends)
    head = ("packet", "domain", *(_MEASURES[m] for m in DRAWN))
    return Table(
        head, tuple(body),
        f"{names}, paired by seed. As drawn, the other way: beyond chance. "
        f"{numbers.KEY}",
    )  # fmt: skip


def _portraits(material: Material, rows: list[Row]) -> Iterator[Picture]:
    first = min(rows, key=lambda row: row.seed)
    arrays = material.arrays(first)
    if arrays is None:
        return
    own = [row for row in rows if row.seed == first.seed]
    few, *_, many = arrays["epochs"].tolist()
    for domain in arrays["drawn"].tolist():
        shown = [
            portraits.portrait(
                _part(arrays, f"{epochs}_{domain}_"), epochs, own, domain,
                arrays["points"], arrays["labels"],
            )
            for epochs in (many, few)
        ]  # fmt: skip
        mark = domain.partition(":")[0]
        yield Picture(
            f"fig2-{mark}", toy_figures.packets(shown, domain),
            "Densities of both packets in X and in P, of the network of "
            "higher accuracy above, of lower accuracy below.",
            f"Packets after {many} epochs (above) and {few} (below), domain "
            f"{domain}, seed {first.seed}.",
            raster=True,
        )  # fmt: skip


def _part(arrays: Mapping[str, np.ndarray], start: str) -> dict:
    return {
        key.removeprefix(start): value
        for key, value in arrays.items()
        if key.startswith(start)
    }
