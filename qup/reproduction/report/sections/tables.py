"""Tables 2 and 3: the paper's numbers, ours, and those of strong attacks."""

from collections.abc import Iterator

from qup.core.measurements import Row
from qup.pipelines import paper
from qup.reproduction.imagenet import published
from qup.reproduction.measures import example
from qup.reproduction.presets import NetworkPreset
from qup.reproduction.presets import TablePreset as TablePreset
from qup.reproduction.report import data as report_data
from qup.reproduction.report import document, queries, sections
from qup.reproduction.report.data import (
    AccuracyKind,
    ReportData,
    estimate_accuracy,
    find_accuracy_rows,
)
from qup.reproduction.report.document import Block, Cell, Paragraph, ReportFigure, Section, Table
from qup.reproduction.report.figures import controls as figures_controls
from qup.reproduction.report.figures import imagenet, predictors, tables
from qup.reproduction.report.figures.controls import Control
from qup.reproduction.report.figures.tables import AccuracyCurve
from qup.reproduction.report.statistics import IntervalEstimate, average_over_seeds

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
        f"{document.format_count(scale.strong_restarts, 'random start')} up the "
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
    return Table(head, body, f"Percent. {document.INTERVAL_NOTE}")


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
        document.format_published(published and published.test_accuracy),
        document.format_cell(estimates[AccuracyKind.CLEAN]),
        document.format_published(published and published.robust_accuracy),
        *(document.format_cell(estimates[kind]) for kind in _ROBUST_KINDS),
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
                tables.NetworkAccuracies(
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
        tables.plot_accuracies(drawn_networks, title),
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


# TA and RA of each class.


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
        blocks.append(Paragraph(f"It was {document.NOT_RUN}."))
    return Section("classes", "Each class by itself", tuple(blocks))


def _iter_class_blocks(data: ReportData, name: str, preset: TablePreset) -> Iterator[Block]:
    estimates: dict[str, _ClassEstimates] = {}
    for network in preset.networks:
        for epochs in reversed(preset.epochs):
            class_estimates = _estimate_per_class(data, network, epochs)
            if class_estimates:
                title = f"{network.title}, {document.format_count(epochs, 'epoch')}"
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
    yield Table(head, body, f"Percent of each class of {dataset}. {document.INTERVAL_NOTE}")
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
        figures_controls.plot_controls(controls, title=f"{title}, {dataset}"),
        f"TA and RA of each class of {dataset}: {title}.",
        f"TA and RA of each class: {title} on {dataset}. Bars: 95 % intervals.",
    )


def _estimate_per_class(data: ReportData, network: NetworkPreset, epochs: int) -> _ClassEstimates:
    rows_by_label: dict[int, tuple[list, list]] = {}
    for row in find_accuracy_rows(data, network, "CL", epochs, AccuracyKind.WORST_CASE):
        arrays = data.load_arrays(row)
        if arrays is None or "robust" not in arrays:
            continue
        pair = (report_data.build_class_rows(row, arrays, n) for n in ("right", "robust"))
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
        cells += [document.format_cell(estimate) for estimate in pair]
        counts |= {estimate.n for estimate in pair if estimate}
    return (*cells, Cell(f"{min(counts):,}"))


# Figs. 1 and 3 of the paper: one attacked image, and ImageNet models.


@sections.register(order=15)
def fig1(data: ReportData) -> Section:
    """Returns Fig. 1."""
    example_rows = data.find(figure="fig1", measure="clean_confidence")
    # Of several networks the most trained; the rows of accuracies have none.
    example_row = max(example_rows, key=lambda row: row.epochs, default=None)
    arrays = data.load_arrays(example_row) if example_row else None
    title = "Fig. 1: one attacked image"
    if arrays is None:
        note = Paragraph(f"It was {document.NOT_RUN}.")
        return Section("fig1", title, (note,))
    rows = data.find(
        figure="fig1",
        dataset=example_row.dataset,
        model=example_row.model,
        epochs=example_row.epochs,
        seed=example_row.seed,
    )
    network = data.scale.find_network(example_row.dataset, example_row.model)
    network_title = document.format_network(
        network.title if network else example_row.model, example_row.dataset, example_row.epochs
    )
    names = report_data.resolve_class_names(example_row.dataset, arrays["class_names"])
    picture = ReportFigure(
        "fig1",
        predictors.plot_example({**arrays, "class_names": names}, rows, network_title),
        f"An image, its FGSM noise, and the attacked image: {network_title}.",
        f"{network_title}, seed {example_row.seed}. The image was chosen by rule: "
        f"{example.SELECTION_RULES[str(arrays['rule'])]}.",
        raster=True,
    )
    return Section("fig1", title, (picture, _build_example_table(rows)))


def _build_example_table(rows: list[Row]) -> Table:
    names = {
        "test_accuracy": "TA",
        "robust_accuracy": "RA under FGSM",
        "clean_confidence": "confidence in the clean image",
        "attacked_confidence": "confidence in the attacked image",
    }
    body = tuple(
        (
            Cell(name),
            document.format_published(example.PAPER_VALUES.get(measure)),
            document.format_cell(average_over_seeds([r for r in rows if r.measure == measure])),
        )
        for measure, name in names.items()
    )
    head = ("percent", "paper (another network)", "ours")
    return Table(head, body, document.INTERVAL_NOTE)


@sections.register(order=110)
def fig3_imagenet(data: ReportData) -> Section:
    """Returns Fig. 3."""
    rows = queries.find_imagenet_rows(data)
    blocks: list[Block] = [
        Paragraph(
            "The paper's Fig. 3 is a citation of Su et al. (ECCV 2018). "
            "Their distortions are published as points in pictures alone, so "
            "there is no column of theirs; docs/imagenet.md tells what is "
            "needed to measure the 13 of the 18 models that Keras has."
        )
    ]
    if rows:
        blocks += [
            _build_slopes_table(data),
            ReportFigure(
                "fig3-imagenet",
                imagenet.plot_distortions(rows, published.read()),
                "Distortion against top-1 accuracy of ImageNet models.",
                "Distortion against top-1 accuracy. Grey: random weights, "
                "which take no part in lines.",
            ),
        ]
    else:
        blocks.append(Paragraph(f"It was {document.NOT_RUN}."))
    return Section("fig3_imagenet", "Fig. 3: ImageNet models", tuple(blocks))


def _build_slopes_table(data: ReportData) -> Table:
    """Returns the slopes over all models and within families."""
    head = ("panel", "models", "slope over all", "slope within families", "what the lines say")
    body = tuple(
        (
            Cell(panel.title),
            Cell(str(panel.num_models)),
            _format_slope(panel.overall),
            _format_slope(panel.within),
            Cell(panel.text if panel.num_models else document.NOT_RUN),
        )
        for panel in queries.fit_panel_slopes(data)
    )
    return Table(
        head,
        body,
        "Lines distortion = a + b ln(error): slopes b with half of their 95 % "
        "interval, from the scatter of the models about the line. Above 0, "
        "models of fewer errors are turned by smaller changes. Within "
        "families each family has an intercept of its own; where the two "
        "slopes differ in sign, the trade-off is one between families. "
        "Random weights take no part.",
    )


def _format_slope(slope: IntervalEstimate | None) -> Cell:
    if slope is None:
        return Cell("no slope: too few models", tone="muted")
    return Cell(f"{slope.value:.2g} ± {slope.half_width:.2g}", slope.rows)
