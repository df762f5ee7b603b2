"""Tables 2 and 3: the paper's numbers, ours, and those of strong attacks."""

from collections.abc import Iterator

from qup import paper
from qup.evidence_figures import accuracies
from qup.evidence_figures.accuracies import AccuracyCurve
from qup.report import numbers, sections
from qup.report.blocks import Block, Cell, Paragraph, ReportFigure, Section, Table
from qup.report.material import ReportData
from qup.report.selection import AccuracyKind, estimate_accuracy
from qup.scales import NetworkPreset
from qup.scales import TablePreset as TablePreset

_TABLE_COLUMNS = ("network", "epochs", "paper: TA", "ours: TA", "paper: RA")
_ROBUST_KINDS = (
    AccuracyKind.PGD4_CLIPPED,
    AccuracyKind.PGD4_UNCLIPPED,
    AccuracyKind.PGD_STRONG,
    AccuracyKind.WORST_CASE,
)
_KIND_STYLES = {
    AccuracyKind.PGD4_CLIPPED: ("-", "o"),
    AccuracyKind.PGD4_UNCLIPPED: ("--", "s"),
    AccuracyKind.PGD_STRONG: ("-.", "^"),
    AccuracyKind.WORST_CASE: (":", "D"),
}


@sections.register(order=20)
def table2(data: ReportData) -> Section:
    """Returns Table 2."""
    return _build_table_section(data, "table2", "Table 2: MNIST")


@sections.register(order=30)
def table3(data: ReportData) -> Section:
    """Returns Table 3."""
    return _build_table_section(data, "table3", "Table 3: CIFAR-10")


def _build_table_section(data: ReportData, name: str, title: str) -> Section:
    preset = data.scale.tables[name]
    blocks: list[Block] = [_build_introduction(data, preset), _build_accuracy_table(data, preset)]
    blocks += _iter_accuracy_figures(data, name, preset)
    return Section(name, title, tuple(blocks))


def _build_introduction(data: ReportData, preset: TablePreset) -> Paragraph:
    scale = data.scale
    worst_attack = AccuracyKind.WORST_CASE.format_title(data).removeprefix("RA, ")
    names = {network.dataset for network in preset.networks}
    text = (
        "Test accuracy (TA) and robust accuracy (RA, the share of all test "
        "images that are classified rightly after the attack) of "
        f"classifiers on {', '.join(sorted(names))}. PGD-4 is the paper's "
        "attack: 4 steps of a quarter of epsilon in the L-inf ball of radius "
        "epsilon, 0.1 on MNIST and 8/255 on CIFAR-10, on all test images; it "
        "does not say whether pixels were clipped to [0, 1], so both are "
        "given. Strong PGD takes "
        f"{scale.strong_steps} steps of epsilon/40 from "
        f"{numbers.format_count(scale.strong_restarts, 'random start')} up the "
        f"cross-entropy; {worst_attack} is the strongest attack here. Both ran on "
        "the first test images, as many as n says, and stay within [0, 1]: "
        "compare them with the clipped column. Without the clip an attack "
        "may leave the range of images, which is another threat."
    )
    compact_titles = [n.title for n in preset.networks if n.compact]
    if compact_titles:
        text += (
            " At this scale smaller networks, whose numbers reproduce none of "
            f"the paper's, are in the place of its own: {', '.join(compact_titles)}."
        )
    return Paragraph(text)


def _build_accuracy_table(data: ReportData, preset: TablePreset) -> Table:
    head = (
        *_TABLE_COLUMNS,
        *(f"ours: {kind.format_title(data)}" for kind in _ROBUST_KINDS),
        "n strong",
    )
    body = tuple(
        _build_accuracy_cells(data, network, epochs)
        for network in preset.networks
        for epochs in preset.epochs
    )
    return Table(head, body, f"Percent. {numbers.INTERVAL_NOTE}")


def _build_accuracy_cells(
    data: ReportData, network: NetworkPreset, epochs: int
) -> tuple[Cell, ...]:
    published = paper.find_published_accuracy(network.dataset, network.model, "CL", epochs)
    estimates = {
        kind: estimate_accuracy(data, network, "CL", epochs, kind) for kind in AccuracyKind
    }
    strong_estimate = estimates[AccuracyKind.WORST_CASE] or estimates[AccuracyKind.PGD_STRONG]
    return (
        Cell(network.title),
        Cell(str(epochs)),
        numbers.format_published(published and published.test_accuracy),
        numbers.format_cell(estimates[AccuracyKind.CLEAN]),
        numbers.format_published(published and published.robust_accuracy),
        *(numbers.format_cell(estimates[kind]) for kind in _ROBUST_KINDS),
        Cell(f"{strong_estimate.n:,}" if strong_estimate else "-"),
    )


def _iter_accuracy_figures(
    data: ReportData, name: str, preset: TablePreset
) -> Iterator[ReportFigure]:
    drawn_networks = []
    for network in preset.networks:
        clean = _build_accuracy_curves(data, network, preset.epochs, AccuracyKind.CLEAN)
        robust = [
            curve
            for kind in _ROBUST_KINDS
            for curve in _build_accuracy_curves(data, network, preset.epochs, kind)
        ]
        if clean:
            published = _build_published_curves(network, preset.epochs)
            drawn_networks.append(
                accuracies.NetworkAccuracies(
                    network.title,
                    network.model,
                    [*clean, *published[:1]],
                    [*robust, *published[1:]],
                )
            )
    if not drawn_networks:
        return
    title = ", ".join(sorted({n.dataset for n in preset.networks}))
    compact_titles = {n.title for n in preset.networks if n.compact}
    has_compact = any(network.title in compact_titles for network in drawn_networks)
    yield ReportFigure(
        f"{name}-epochs",
        accuracies.plot_accuracies(drawn_networks, title),
        f"Test and robust accuracy over epochs on {title}, as in the table.",
        "TA, and RA of each network, over training epochs. Crosses: the paper"
        f"{', of its own networks' if has_compact else ''}. Bars: 95 % intervals.",
    )


def _build_accuracy_curves(
    data: ReportData, network: NetworkPreset, epochs: tuple[int, ...], kind: AccuracyKind
) -> list[AccuracyCurve]:
    points = {}
    for number in epochs:
        estimate = estimate_accuracy(data, network, "CL", number, kind)
        if estimate is not None:
            points[number] = (estimate.value, estimate.low, estimate.high)
    if not points:
        return []
    if kind is AccuracyKind.CLEAN:
        return [AccuracyCurve("TA", points)]
    style, marker = _KIND_STYLES[kind]
    title = kind.format_title(data)
    return [AccuracyCurve(title, points, style, marker)]


def _build_published_curves(
    network: NetworkPreset, epochs: tuple[int, ...]
) -> tuple[AccuracyCurve, ...]:
    """Returns the paper's TA and RA, where it has them."""
    points = {}
    for number in epochs:
        published = paper.find_published_accuracy(network.dataset, network.model, "CL", number)
        if published:
            points[number] = published
    if not points:
        return ()
    return tuple(
        AccuracyCurve(
            "paper",
            {n: (published[i],) * 3 for n, published in points.items()},
            (0, (1, 3)),
            "x",
            True,
        )
        for i in range(2)
    )
