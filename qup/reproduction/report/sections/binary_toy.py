"""Fig. 2: packets of two classes in the unit square, in X and in P."""

from collections.abc import Iterator, Mapping

import numpy as np

from qup.core.measurements import Row
from qup.reproduction import binary_toy
from qup.reproduction.binary_toy import figures, packets
from qup.reproduction.report import document, sections
from qup.reproduction.report.data import ReportData
from qup.reproduction.report.document import Block, Cell, Paragraph, ReportFigure, Section, Table
from qup.reproduction.report.statistics import IntervalEstimate, average_over_seeds, compute_change

_PACKETS_INTRO = (
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
_PACKET_MEASURE_TITLES = {
    "sigma_x": "sigma x",
    "sigma_p": "sigma p",
    "uncertainty_product": "product",
    "uncertainty_bound": "bound",
    "overlap_x": "overlap in X",
    "overlap_p": "overlap in P",
    "own_share": "own share",
}
# What Fig. 2 draws of the network of higher accuracy.
PAPER_TRENDS = {
    "sigma_x": "smaller",
    "sigma_p": "larger",
    "overlap_x": "smaller",
    "overlap_p": "larger",
}


@sections.register(order=105)
def fig2(data: ReportData) -> Section:
    """Returns Fig. 2."""
    rows = data.find(figure="fig2")
    blocks: list[Block] = [Paragraph(_PACKETS_INTRO)]
    if rows:
        blocks += _iter_packet_tables(data, rows)
        blocks += _iter_density_figures(data, rows)
    else:
        blocks.append(Paragraph(f"It was {document.NOT_RUN}."))
    title = "Fig. 2: packets of two classes in X and in P"
    return Section("fig2", title, tuple(blocks))


def _iter_packet_tables(data: ReportData, rows: list[Row]) -> Iterator[Table]:
    """Yields TA and RA, all numbers of packets, and how they differ."""
    all_epochs = sorted({row.epochs for row in rows})
    epsilons = sorted({r.epsilon for r in rows if r.epsilon is not None})
    accuracy_columns = [("test_accuracy", None)]
    accuracy_columns += [("robust_accuracy", epsilon) for epsilon in epsilons]
    body = [
        (
            Cell(str(n)),
            *(
                document.format_cell(
                    average_over_seeds(
                        [
                            r
                            for r in rows
                            if (r.measure, r.epochs, r.epsilon) == (measure, n, epsilon)
                        ]
                    )
                )
                for measure, epsilon in accuracy_columns
            ),
        )
        for n in all_epochs
    ]
    head = ("epochs", "TA", *(f"RA, epsilon {e:g}" for e in epsilons))
    attack = "RA: PGD of 40 steps within an L-inf ball, in units of the side."
    yield Table(head, tuple(body), f"Percent. {attack} {document.INTERVAL_NOTE}")
    kinds = [
        (packet_type, domain) for packet_type in packets.DRAWN_KINDS for domain in binary_toy.SPANS
    ]
    packet_rows = [
        (
            Cell(packet_type),
            Cell(domain),
            Cell(packets.format_network_name(*network)),
            *(
                _build_packet_cell(rows, measure, packet_type, domain, *network)
                for measure in _PACKET_MEASURE_TITLES
            ),
        )
        for packet_type, domain in kinds
        for network in packets.list_networks(rows)
    ]
    yield Table(
        ("packet", "domain", "network", *_PACKET_MEASURE_TITLES.values()),
        tuple(packet_rows),
        f"Means over both labels and both coordinates. {document.INTERVAL_NOTE}",
    )
    if len(all_epochs) > 1:
        yield _build_changes_table(data, kinds, all_epochs)


def _find_packet_rows(
    rows: list[Row],
    measure: str,
    packet_type: str,
    domain: str,
    epochs: int,
    temperature: float = 1.0,
) -> list[Row]:
    """Returns a row for each seed: none of a single label or axis."""
    filters = {"packet": packet_type, "domain": domain, "temperature": temperature}
    return [
        row
        for row in rows
        if (row.measure, row.epochs) == (measure, epochs)
        and not {"label", "axis"} & row.parameters.keys()
        and all(row.parameters.get(k) == v for k, v in filters.items())
    ]


def _build_packet_cell(
    rows: list[Row], measure: str, packet_type: str, domain: str, *network
) -> Cell:
    estimate = average_over_seeds(_find_packet_rows(rows, measure, packet_type, domain, *network))
    if estimate is None and measure == "uncertainty_bound":
        # Where the packet vanishes at the edge.
        return Cell("1/2")
    return document.format_cell(estimate, 3)


def compute_packet_changes(
    data: ReportData, packet_type: str, domain: str
) -> dict[str, IntervalEstimate | None]:
    """Returns what more training changes in a packet, paired by seed.

    Args:
      data: Everything measured.
      packet_type: Of the packet, "loss" being the paper's.
      domain: "box" or another that was measured.

    Returns:
      The measures of `PAPER_TRENDS`, most less fewest epochs; None where they were
      not measured for both.
    """
    rows = data.find(figure="fig2")
    all_epochs = sorted({row.epochs for row in rows})
    return {
        measure: compute_change(
            *(
                _find_packet_rows(rows, measure, packet_type, domain, n)
                for n in (all_epochs[0], all_epochs[-1])
            )
        )
        if len(all_epochs) > 1
        else None
        for measure in PAPER_TRENDS
    }


def _build_changes_table(
    data: ReportData, kinds: list[tuple[str, str]], all_epochs: list[int]
) -> Table:
    paper_row = (
        Cell("as the paper draws it"),
        Cell("", tone="muted"),
        *(Cell(trend, tone="paper") for trend in PAPER_TRENDS.values()),
    )
    body = [paper_row]
    for packet_type, domain in kinds:
        cells = []
        for measure, difference in compute_packet_changes(data, packet_type, domain).items():
            expected_sign = 1 if PAPER_TRENDS[measure] == "larger" else -1
            tone = {expected_sign: "good", -expected_sign: "bad"}
            cell, sign = document.format_cell(difference, 3), difference.sign if difference else 0
            suffixes = {expected_sign: ", as drawn", -expected_sign: ", the other way"}
            text = cell.text + suffixes.get(sign, "")
            cells.append(Cell(text, cell.rows, tone.get(sign, "")))
        body.append((Cell(packet_type), Cell(domain), *cells))
    most_and_fewest = (all_epochs[-1], all_epochs[0])
    names = " less ".join(document.format_count(n, "epoch") for n in most_and_fewest)
    head = ("packet", "domain", *(_PACKET_MEASURE_TITLES[m] for m in PAPER_TRENDS))
    return Table(
        head,
        tuple(body),
        f"{names}, paired by seed. As drawn, the other way: beyond chance. "
        f"{document.INTERVAL_NOTE}",
    )


def _iter_density_figures(data: ReportData, rows: list[Row]) -> Iterator[ReportFigure]:
    first_row = min(rows, key=lambda row: row.seed)
    arrays = data.load_arrays(first_row)
    if arrays is None:
        return
    seed_rows = [row for row in rows if row.seed == first_row.seed]
    few, *_, many = arrays["epochs"].tolist()
    for domain in arrays["drawn"].tolist():
        panels = [
            figures.build_panel(
                _select_prefixed(arrays, f"{epochs}_{domain}_"),
                epochs,
                seed_rows,
                domain,
                arrays["points"],
                arrays["labels"],
            )
            for epochs in (many, few)
        ]
        domain_name = domain.partition(":")[0]
        yield ReportFigure(
            f"fig2-{domain_name}",
            figures.plot_packets(panels, domain),
            "Densities of both packets in X and in P, of the network of "
            "higher accuracy above, of lower accuracy below.",
            f"Packets after {many} epochs (above) and {few} (below), domain "
            f"{domain}, seed {first_row.seed}.",
            raster=True,
        )


def _select_prefixed(arrays: Mapping[str, np.ndarray], prefix: str) -> dict:
    return {
        key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)
    }


# Supplement, Fig. 1: points of two classes under FGSM and its opposite.


_TRAJECTORIES_INTRO = (
    "The supplement's Fig. 1 is a drawing too: FGSM moves points out of the "
    "region of their class, its opposite, iterated with the true label, into "
    "it. Here are points that a network of the unit square has not seen."
)


@sections.register(order=35)
def supp_fig1(data: ReportData) -> Section:
    """Returns the supplement's Fig. 1."""
    rows = data.find(figure="supp_fig1")
    blocks: list[Block] = [Paragraph(_TRAJECTORIES_INTRO)]
    if rows:
        blocks += _iter_movement_blocks(data, rows)
    else:
        blocks.append(Paragraph(f"It was {document.NOT_RUN}."))
    title = "Supplement, Fig. 1: FGSM and its opposite"
    return Section("supp_fig1", title, tuple(blocks))


def _iter_movement_blocks(data: ReportData, rows: list[Row]) -> Iterator[Block]:
    columns = {
        "as drawn": ("test_accuracy", None),
        "after FGSM": ("robust_accuracy", None),
        "after the opposite steps": ("test_accuracy", "X_n"),
    }
    body = tuple(
        (
            Cell(str(n)),
            *(
                document.format_cell(
                    average_over_seeds(
                        [
                            row
                            for row in rows
                            if (row.epochs, row.measure, row.parameters.get("images"))
                            == (n, *filters)
                        ]
                    )
                )
                for filters in columns.values()
            ),
        )
        for n in sorted({row.epochs for row in rows})
    )
    yield Table(
        ("epochs", *columns),
        body,
        f"Percent of points that are classified rightly. {document.INTERVAL_NOTE}",
    )
    first_row = min(rows, key=lambda row: row.seed)
    arrays = data.load_arrays(first_row)
    if arrays is not None:
        epochs_text = document.format_count(int(arrays["epochs"]), "epoch")
        yield ReportFigure(
            "supp-fig1",
            figures.plot_trajectories(arrays, f"The network after {epochs_text}"),
            "Points of two classes over the regions of the network: as "
            "drawn, after FGSM, and after opposite steps.",
            f"The network after {epochs_text}, seed {first_row.seed}: points as drawn, "
            "attacked, and walked the opposite way.",
            raster=True,
        )
