"""Fig. 2 and the supplement's Fig. 1, on networks of the unit square."""

from collections.abc import Iterator, Mapping

import numpy as np

from qup.core.measurements import Row
from qup.reproduction import binary_toy
from qup.reproduction.binary_toy import figures, packets
from qup.reproduction.report import document, queries, sections
from qup.reproduction.report.data import ReportData, estimate_groups
from qup.reproduction.report.document import Block, Cell, ReportFigure, Table
from qup.reproduction.report.queries import PACKET_TRENDS

_MEASURE_TITLES = {
    "sigma_x": "sigma x",
    "sigma_p": "sigma p",
    "uncertainty_product": "product",
    "uncertainty_bound": "bound",
    "overlap_x": "overlap in X",
    "overlap_p": "overlap in P",
    "own_share": "own share",
}
# Accuracies of points: the measure, and the parameter "images".
_POINT_COLUMNS = {
    "clean points": ("test_accuracy", None),
    "after FGSM": ("robust_accuracy", None),
    "after opposite FGSM": ("test_accuracy", "X_n"),
}


@sections.register(order=105, title="Fig. 2: packets of two classes in X and in P")
def fig2(data: ReportData) -> Iterator[Block]:
    """Yields TA and RA, the quantities of all packets, their changes, and the densities."""
    frame = data.select(figure="fig2")
    if frame.empty:
        return
    all_epochs = sorted(frame["epochs"].unique())
    epsilons = sorted(frame["epsilon"].dropna().unique())
    columns = [("test_accuracy", None), *(("robust_accuracy", e) for e in epsilons)]
    is_accuracy = frame["measure"].isin(("test_accuracy", "robust_accuracy"))
    accuracies = estimate_groups(frame[is_accuracy], "epochs", "measure", "epsilon")
    yield Table(
        ("epochs", "TA", *(f"RA, epsilon {e:g}" for e in epsilons)),
        tuple(
            (Cell(str(n)), *(document.format_cell(accuracies.get((n, *key))) for key in columns))
            for n in all_epochs
        ),
        "Percent. RA: PGD of 40 steps within an L-inf ball, in units of the side. "
        f"{document.INTERVAL_NOTE}",
    )
    kinds = [(packet, domain) for packet in packets.DRAWN_KINDS for domain in binary_toy.SPANS]
    rows = list(frame["row"])
    yield _build_packet_table(data, kinds, packets.list_networks(rows))
    if len(all_epochs) > 1:
        yield _build_changes_table(data, kinds, all_epochs)
    yield from _iterate_density_figures(data, rows)


def _build_packet_table(
    data: ReportData, kinds: list[tuple[str, str]], networks: list[tuple]
) -> Table:
    # Rows of a single label or axis are left out.
    frame = data.select(figure="fig2", label=None, axis=None)
    frame = frame[frame["measure"].isin(list(_MEASURE_TITLES))]
    keys = ("measure", "packet", "domain", "epochs", "temperature")
    estimates = estimate_groups(frame, *keys)
    body = []
    for kind in kinds:
        for network in networks:
            cells = []
            for measure in _MEASURE_TITLES:
                estimate = estimates.get((measure, *kind, *network))
                # Of a packet that vanishes at the edge.
                has_exact_bound = estimate is None and measure == "uncertainty_bound"
                cells.append(Cell("1/2") if has_exact_bound else document.format_cell(estimate, 3))
            body.append((*map(Cell, kind), Cell(packets.format_network_name(*network)), *cells))
    return Table(
        ("packet", "domain", "network", *_MEASURE_TITLES.values()),
        tuple(body),
        f"Means over both labels and both coordinates. {document.INTERVAL_NOTE}",
    )


def _build_changes_table(
    data: ReportData, kinds: list[tuple[str, str]], all_epochs: list[int]
) -> Table:
    trends = (Cell(trend, tone="paper") for trend in PACKET_TRENDS.values())
    body = [(Cell("drawn by the paper"), Cell("", tone="muted"), *trends)]
    for kind in kinds:
        cells = []
        for measure, change in queries.compute_packet_changes(data, *kind).items():
            cell = document.format_cell(change, 3)
            agreement = (
                change.sign * (1 if PACKET_TRENDS[measure] == "larger" else -1) if change else 0
            )
            suffix, tone = {1: (", as drawn", "good"), -1: (", opposite", "bad")}.get(
                agreement, ("", "")
            )
            cells.append(Cell(cell.text + suffix, cell.rows, tone))
        body.append((*map(Cell, kind), *cells))
    names = (document.format_count(n, "epoch") for n in (all_epochs[-1], all_epochs[0]))
    return Table(
        ("packet", "domain", *(_MEASURE_TITLES[measure] for measure in PACKET_TRENDS)),
        tuple(body),
        f"{' minus '.join(names)}, paired by seed. As drawn, opposite: the interval excludes 0. "
        f"{document.INTERVAL_NOTE}",
    )


def _iterate_density_figures(data: ReportData, rows: list[Row]) -> Iterator[ReportFigure]:
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
        yield ReportFigure(
            f"fig2-{domain.partition(':')[0]}",
            figures.plot_packets(panels, domain),
            "Densities of both packets in X and in P: the network of higher accuracy at the top, "
            "that of lower accuracy at the bottom.",
            f"Packets after {many} epochs (top) and {few} (bottom), domain {domain}, seed "
            f"{first_row.seed}.",
            raster=True,
        )


def _select_prefixed(arrays: Mapping[str, np.ndarray], prefix: str) -> dict:
    return {
        key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)
    }


@sections.register(order=35, title="Supplement, Fig. 1: FGSM and its opposite")
def supp_fig1(data: ReportData) -> Iterator[Block]:
    """Yields the accuracies of points after FGSM and after opposite FGSM, and the points."""
    frame = data.select(figure="supp_fig1")
    if frame.empty:
        return
    if "images" not in frame:
        frame = frame.assign(images=None)
    estimates = estimate_groups(frame, "epochs", "measure", "images")
    yield Table(
        ("epochs", *_POINT_COLUMNS),
        tuple(
            (
                Cell(str(n)),
                *(
                    document.format_cell(estimates.get((n, *key)))
                    for key in _POINT_COLUMNS.values()
                ),
            )
            for n in sorted(frame["epochs"].unique())
        ),
        f"Percent of points that are classified correctly. {document.INTERVAL_NOTE}",
    )
    first_row = min(frame["row"], key=lambda row: row.seed)
    arrays = data.load_arrays(first_row)
    if arrays is not None:
        title = f"The network after {document.format_count(int(arrays['epochs']), 'epoch')}"
        yield ReportFigure(
            "supp-fig1",
            figures.plot_trajectories(arrays, title),
            "Points of two classes over the regions of the network: clean, after FGSM, and after "
            "opposite FGSM.",
            f"{title}, seed {first_row.seed}: clean points, after FGSM, and after opposite FGSM.",
            raster=True,
        )
