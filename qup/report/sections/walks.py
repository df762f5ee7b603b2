"""Supplement, Figs. 2 and 3: the walk X_n, and the pipeline that learns it."""

from collections.abc import Iterator, Mapping

import numpy as np

from qup.evidence_figures import ifa, walks
from qup.evidence_figures.ifa import AccuracyTexts
from qup.evidence_figures.walks import NetworkTrajectory
from qup.measurements import Row
from qup.report import numbers, sections
from qup.report.blocks import Block, Cell, Paragraph, ReportFigure, Section, Table
from qup.report.estimates import IntervalEstimate
from qup.report.material import ReportData
from qup.report.selection import (
    AccuracyKind,
    average_by_step,
    estimate_accuracy,
    find_trajectory_rows,
)
from qup.scales import NetworkPreset
from qup.scales import TablePreset as TablePreset

_TRAJECTORY_INTRO = (
    "Training images are walked down the loss of their true label, and X_n "
    "is attacked in the ball round X_n. That both accuracies rise says what "
    "knowing the label gives; it says nothing of images without one."
)
_PIPELINE_INTRO = (
    "The pipeline of the paper with the numbers that were measured in its "
    "boxes. X_n are training images; CL and ACL are the classifier alone and "
    "behind its translator, on test images, under four steps of PGD within "
    "[0, 1] through all that stands there."
)
# The paper's Fig. 3: n to TA and RA of X_n in percent, of a network that it
# does not name.
PAPER_TRAJECTORY = {
    0: (94.41, 3.19),
    1: (97.23, 29.60),
    2: (98.71, 39.47),
    3: (99.31, 52.20),
    4: (99.70, 63.88),
    5: (99.84, 73.81),
}


@sections.register(order=36)
def supp_fig2(data: ReportData) -> Section:
    """Returns the supplement's Fig. 2."""
    blocks: list[Block] = [Paragraph(_TRAJECTORY_INTRO)]
    for table in data.scale.tables.values():
        blocks += _iter_trajectory_blocks(data, table)
    if len(blocks) == 1:
        blocks.append(Paragraph(f"It was {numbers.NOT_RUN}."))
    title = "Supplement, Fig. 2: TA and RA of the walked X_n"
    return Section("supp_fig2", title, tuple(blocks))


def _iter_trajectory_blocks(data: ReportData, table: TablePreset) -> Iterator[Block]:
    """Yields picture and table of a data set; nothing without rows."""
    panels: dict[str, list[NetworkTrajectory]] = {}
    body = []
    for epochs in table.epochs:
        for network in table.networks:
            estimates = average_by_step(find_trajectory_rows(data, network, epochs))
            if not estimates["test_accuracy"]:
                continue
            points = {
                measure: {n: (x.value, x.low, x.high) for n, x in estimates_by_step.items()}
                for measure, estimates_by_step in estimates.items()
            }
            panel = panels.setdefault(numbers.format_count(epochs, "epoch"), [])
            panel.append(NetworkTrajectory(network.title, network.model, points))
            body += _build_trajectory_cells(network, epochs, estimates)
    if not panels:
        return
    name = ", ".join(dict.fromkeys(n.dataset for n in table.networks))
    yield ReportFigure(
        f"supp-fig2-{name.replace(', ', '-')}",
        walks.plot_trajectories(panels, name),
        f"TA and RA of walked training images over the steps, on {name}.",
        f"TA and RA of X_n over n, {name}. Bars: 95 % intervals.",
    )
    head = ("network", "epochs", "n", "TA of X_n", "RA of X_n")
    caption = f"Percent of training images, {name}. {numbers.INTERVAL_NOTE}"
    yield Table(head, tuple(body), caption)


def _build_trajectory_cells(
    network: NetworkPreset, epochs: int, estimates: Mapping[str, Mapping[int, IntervalEstimate]]
) -> list[tuple[Cell, ...]]:
    """Returns lines of the first, the second and the last n."""
    steps = list(estimates["test_accuracy"])
    return [
        (
            Cell(network.title),
            Cell(str(epochs)),
            Cell(str(n)),
            *(numbers.format_cell(estimates[m].get(n)) for m in estimates),
        )
        for n in dict.fromkeys([*steps[:2], steps[-1]])
    ]


@sections.register(order=37)
def supp_fig3(data: ReportData) -> Section:
    """Returns the supplement's Fig. 3, of each data set that was run."""
    blocks: list[Block] = [Paragraph(_PIPELINE_INTRO)]
    for table in data.scale.tables.values():
        for network, epochs, rows in _iter_drawn_networks(data, table):
            blocks += _iter_pipeline_blocks(data, network, epochs, rows)
    if len(blocks) == 1:
        blocks.append(Paragraph(f"It was {numbers.NOT_RUN}."))
    title = "Supplement, Fig. 3: the pipeline"
    return Section("supp_fig3", title, tuple(blocks))


def _iter_drawn_networks(
    data: ReportData, table: TablePreset
) -> Iterator[tuple[NetworkPreset, int, list[Row]]]:
    """Yields the network to draw, the residual one where it was run."""
    for network in sorted(table.networks, key=lambda n: n.model != "resnet"):
        for epochs in reversed(table.epochs):
            rows = find_trajectory_rows(data, network, epochs)
            estimates = [
                estimate_accuracy(data, network, classifier, epochs, AccuracyKind.CLEAN)
                for classifier in ("CL", "ACL")
            ]
            if rows and all(estimates):
                yield network, epochs, rows
                return


def _format_seed_count(counts: set[int]) -> str:
    """Returns over how many seeds the numbers of one drawing are means."""
    least, most = min(counts), max(counts)
    if least == most:
        return "one seed" if most == 1 else f"means over {most} seeds"
    return f"means over {least} to {most} seeds"


def _iter_pipeline_blocks(
    data: ReportData, network: NetworkPreset, epochs: int, rows: list[Row]
) -> Iterator[Block]:
    trajectory = average_by_step(rows)
    estimates = {
        classifier: [
            estimate_accuracy(data, network, classifier, epochs, kind)
            for kind in (AccuracyKind.CLEAN, AccuracyKind.PGD4_CLIPPED)
        ]
        for classifier in ("CL", "ACL")
    }
    pairs = {
        classifier: AccuracyTexts(*map(_format_percent, pair_estimates))
        for classifier, pair_estimates in estimates.items()
    }
    title = numbers.format_network(network.title, network.dataset, epochs)
    counts = {len({row.seed for row in rows})}
    counts |= {
        estimate.num_seeds
        for pair_estimates in estimates.values()
        for estimate in pair_estimates
        if estimate
    }
    yield ReportFigure(
        f"supp-fig3-{network.dataset}",
        ifa.plot_pipeline(
            classifier=f"{network.title}, {numbers.format_count(epochs, 'epoch')}",
            classifier_only=pairs["CL"],
            pair=pairs["ACL"],
            iterates={
                n: AccuracyTexts(*(_format_percent(trajectory[m].get(n)) for m in trajectory))
                for n in trajectory["test_accuracy"]
            },
            title=f"{title}; {_format_seed_count(counts)}",
            images=_load_stage_images(data, rows),
        ),
        "Four parts: training of the classifier, the walk of the training "
        "images, training of the translator, and the pair, with TA and RA.",
        f"{title}. Images: the first test image; deltas around grey.",
    )
    head = ("n", "paper: TA", "ours: TA", "paper: RA", "ours: RA")
    body = tuple(
        (
            Cell(str(n)),
            numbers.format_published(PAPER_TRAJECTORY.get(n, (None, None))[0]),
            numbers.format_cell(trajectory["test_accuracy"][n]),
            numbers.format_published(PAPER_TRAJECTORY.get(n, (None, None))[1]),
            numbers.format_cell(trajectory["robust_accuracy"].get(n)),
        )
        for n in trajectory["test_accuracy"]
    )
    yield Table(
        head,
        body,
        f"Percent of training images, {title}; of its own numbers the paper "
        'names no data set, and "for instance the Residual neural network". '
        f"{numbers.INTERVAL_NOTE}",
    )


def _format_percent(estimate: IntervalEstimate | None) -> str:
    return "not run" if estimate is None else f"{estimate.value:.1f} %"


def _load_stage_images(data: ReportData, rows: list[Row]) -> dict[str, np.ndarray] | None:
    """Returns the stages of the first test image; None where they are lost."""
    artifact_rows = [row for row in rows if row.artifact]
    arrays = data.load_arrays(min(artifact_rows, key=lambda r: r.seed)) if artifact_rows else None
    if arrays is None:
        return None
    start, end = arrays["x_0"][0], arrays["x_n"][0]
    delta, translated = end - start, arrays["translated"][0]
    scale = 2.0 * max(float(np.abs(delta).max()), 1e-6)
    return {
        "x_0": start,
        "x_n": start + translated,
        "delta_n": 0.5 + delta / scale,
        "translated": 0.5 + translated / scale,
    }
