"""TA and RA of each class."""

from collections.abc import Iterator

from qup.evidence_figures import controls as drawing
from qup.evidence_figures.controls import Control
from qup.report import numbers, per_class, sections
from qup.report.blocks import Block, Cell, Paragraph, ReportFigure, Section, Table
from qup.report.estimates import IntervalEstimate, average_over_seeds
from qup.report.material import ReportData
from qup.report.selection import AccuracyKind, find_accuracy_rows
from qup.scales import NetworkPreset
from qup.scales import TablePreset as TablePreset

_CLASSES_INTRODUCTION = (
    "A mean hides which classes an attack breaks. Here both accuracies are of "
    "the images of one class, among the first test images that the attack saw, "
    "of each network after the most epochs that were run."
)
# Label to TA and RA.
_ClassEstimates = dict[int, tuple[IntervalEstimate, IntervalEstimate]]


@sections.register(order=35)
def classes(data: ReportData) -> Section:
    """Returns the section."""
    blocks: list[Block] = [Paragraph(_CLASSES_INTRODUCTION)]
    for name, preset in data.scale.tables.items():
        blocks += _iter_class_blocks(data, name, preset)
    if len(blocks) == 1:
        blocks.append(Paragraph(f"It was {numbers.NOT_RUN}."))
    return Section("classes", "Each class by itself", tuple(blocks))


def _iter_class_blocks(data: ReportData, name: str, preset: TablePreset) -> Iterator[Block]:
    estimates: dict[str, _ClassEstimates] = {}
    for network in preset.networks:
        for epochs in reversed(preset.epochs):
            class_estimates = _estimate_per_class(data, network, epochs)
            if class_estimates:
                title = f"{network.title}, {numbers.format_count(epochs, 'epoch')}"
                estimates[title] = class_estimates
                break
    if not estimates:
        return
    dataset = preset.networks[0].dataset
    robust = AccuracyKind.WORST_CASE.format_title(data)
    labels = sorted({label for class_estimates in estimates.values() for label in class_estimates})
    head = (
        "class",
        *(f"{title}: {measure}" for title in estimates for measure in ("TA", robust)),
        "images",
    )
    body = tuple(
        _build_class_cells(estimates, label, data.get_class_name(dataset, label))
        for label in labels
    )
    yield Table(head, body, f"Percent of each class of {dataset}. {numbers.INTERVAL_NOTE}")
    title, class_estimates = next(iter(estimates.items()))
    controls = [
        Control(
            data.get_class_name(dataset, label),
            {"TA": class_estimates[label][0].point, robust: class_estimates[label][1].point},
        )
        for label in sorted(class_estimates)
    ]
    yield ReportFigure(
        f"classes-{name}",
        drawing.plot_controls(controls, title=f"{title}, {dataset}"),
        f"TA and RA of each class of {dataset}: {title}.",
        f"TA and RA of each class: {title} on {dataset}. Bars: 95 % intervals.",
    )


def _estimate_per_class(data: ReportData, network: NetworkPreset, epochs: int) -> _ClassEstimates:
    rows_by_label: dict[int, tuple[list, list]] = {}
    for row in find_accuracy_rows(data, network, "CL", epochs, AccuracyKind.WORST_CASE):
        arrays = data.load_arrays(row)
        if arrays is None or "robust" not in arrays:
            continue
        pair = (per_class.build_class_rows(row, arrays, n) for n in ("right", "robust"))
        for index, shares in enumerate(pair):
            for label, class_row in shares.items():
                rows_by_label.setdefault(label, ([], []))[index].append(class_row)
    return {
        label: (average_over_seeds(clean), average_over_seeds(robust))
        for label, (clean, robust) in rows_by_label.items()
    }


def _build_class_cells(
    estimates: dict[str, _ClassEstimates], label: int, name: str
) -> tuple[Cell, ...]:
    cells: list[Cell] = [Cell(name)]
    counts = set()
    for class_estimates in estimates.values():
        pair = class_estimates.get(label, (None, None))
        cells += [numbers.format_cell(estimate) for estimate in pair]
        counts |= {estimate.n for estimate in pair if estimate}
    return (*cells, Cell(f"{min(counts):,}"))
