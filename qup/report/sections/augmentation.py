"""Iterative FGSM Augmentation: supplement, Table 1 and Fig. 4."""

import math
from collections.abc import Iterator

from qup import figures, paper
from qup.measurements import Row
from qup.report import numbers, sections
from qup.report.blocks import Block, BulletList, Cell, Paragraph, ReportFigure, Section, Table
from qup.report.material import ReportData
from qup.report.selection import (
    TABLE_FILTERS,
    AccuracyKind,
    estimate_accuracy,
    find_trajectory_rows,
)
from qup.scales import NetworkPreset
from qup.scales import TablePreset as TablePreset

_AUGMENTATION_COLUMNS = ("network", "epochs", "", "paper: TA", "ours: TA", "paper: RA")
_ROBUST_KINDS = (
    AccuracyKind.PGD4_CLIPPED,
    AccuracyKind.PGD4_UNCLIPPED,
    AccuracyKind.PGD_STRONG,
    AccuracyKind.WORST_CASE,
)
_AUGMENTATION_INTRO = (
    "A Pix2Pix network is taught the way that N opposite-FGSM steps take "
    "each training image (towards its true class), and is put before the "
    "classifier: CL is the classifier alone, ACL the pair. Attacks go through "
    "both networks. An RA that falls far under a stronger attack, or that the "
    "checks below flag, is masked: its gradients mislead the attack, and the "
    "number says little of robustness."
)


@sections.register(order=40)
def supp_table1(data: ReportData) -> Section:
    """Returns the supplement's Table 1."""
    return _build_pair_section(
        data, "table2", "supp_table1", "Supplement, Table 1: augmentation on MNIST"
    )


@sections.register(order=50)
def supp_fig4(data: ReportData) -> Section:
    """Returns the supplement's Fig. 4."""
    return _build_pair_section(
        data, "table3", "supp_fig4", "Supplement, Fig. 4: augmentation on CIFAR-10"
    )


def _build_pair_section(data: ReportData, table: str, name: str, title: str) -> Section:
    preset = data.scale.tables[table]
    blocks: list[Block] = [Paragraph(_AUGMENTATION_INTRO), _build_augmentation_table(data, preset)]
    for network in preset.networks:
        for epochs in preset.epochs:
            blocks += _iter_network_blocks(data, network, epochs)
    return Section(name, title, tuple(blocks))


def _build_augmentation_table(data: ReportData, preset: TablePreset) -> Table:
    head = (*_AUGMENTATION_COLUMNS, *(f"ours: {kind.format_title(data)}" for kind in _ROBUST_KINDS))
    body = tuple(
        _build_augmentation_cells(data, network, epochs, classifier)
        for network in preset.networks
        for epochs in preset.epochs
        for classifier in ("CL", "ACL")
    )
    return Table(head, body, f"Percent. {numbers.INTERVAL_NOTE}")


def _build_augmentation_cells(
    data: ReportData, network: NetworkPreset, epochs: int, classifier: str
) -> tuple[Cell, ...]:
    published = paper.find_published_accuracy(network.dataset, network.model, classifier, epochs)
    estimates = {
        kind: estimate_accuracy(data, network, classifier, epochs, kind) for kind in AccuracyKind
    }
    return (
        Cell(network.title),
        Cell(str(epochs)),
        Cell(classifier),
        numbers.format_published(published and published.test_accuracy),
        numbers.format_cell(estimates[AccuracyKind.CLEAN]),
        numbers.format_published(published and published.robust_accuracy),
        *(numbers.format_cell(estimates[kind]) for kind in _ROBUST_KINDS),
    )


def _iter_network_blocks(data: ReportData, network: NetworkPreset, epochs: int) -> Iterator[Block]:
    """Yields the walk's images and the checks of one network."""
    trajectory_rows = find_trajectory_rows(data, network, epochs)
    if not trajectory_rows:
        return
    name = f"{network.dataset}-{network.model}-{epochs}"
    title = numbers.format_network(network.title, network.dataset, epochs)
    first_row = min(trajectory_rows, key=lambda row: (not row.artifact, row.seed))
    arrays = data.load_arrays(first_row)
    if arrays:
        yield ReportFigure(
            f"images-{name}",
            figures.plot_stage_images(figures.build_stage_images(arrays)),
            "Rows of images: X_0, Delta_N, X_N, G(X_0), X_0 + G(X_0), and X_0 attacked.",
            "The first test images, their Delta_N and X_N, what the "
            "translator makes of them, and the images under attack "
            f"({title}, seed {first_row.seed}; deltas around grey).",
            raster=True,
        )
    yield from _iter_masking_blocks(data, network, epochs)


def _iter_masking_blocks(data: ReportData, network: NetworkPreset, epochs: int) -> Iterator[Block]:
    """Yields what the checks for masked gradients say of the pair."""
    rows = data.find(
        dataset=network.dataset,
        model=network.model,
        classifier="ACL",
        epochs=epochs,
        measure="masking",
        **TABLE_FILTERS,
    )
    if not rows:
        yield Paragraph(
            f"Whether the gradients of {network.title} after "
            f"{numbers.format_count(epochs, 'epoch')} are masked behind its "
            "translator was not checked."
        )
        return
    first_seed = min(row.seed for row in rows)
    rows = [row for row in rows if row.seed == first_seed]
    flagged_rows = [row for row in rows if row.value == 1]
    undecided_rows = [row for row in rows if math.isnan(row.value)]
    yield Paragraph(
        f"Checks for masked gradients of ACL, {network.title}, "
        f"{numbers.format_count(epochs, 'epoch')}, seed {first_seed}: {len(flagged_rows)} of "
        f"{len(rows)} flagged, {len(undecided_rows)} not decided. What was flagged:"
    )
    check_texts = _load_check_texts(data, rows)
    yield BulletList(
        tuple(
            f"{row.parameters['check']}: "
            f"{check_texts.get(row.parameters['check'], 'no words kept')}"
            for row in flagged_rows
        )
        or ("nothing.",)
    )


def _load_check_texts(data: ReportData, rows: list[Row]) -> dict[str, str]:
    arrays = data.load_arrays(rows[0])
    if not arrays:
        return {}
    return dict(zip(arrays["names"].tolist(), arrays["words"].tolist(), strict=True))
