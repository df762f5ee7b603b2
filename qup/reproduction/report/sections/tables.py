"""Tables 2 and 3 with our numbers, TA and RA per class, Figs. 1 and 3."""

from collections.abc import Iterator, Sequence

from qup.core.measurements import Row
from qup.pipelines import paper
from qup.reproduction.imagenet import published
from qup.reproduction.measures import example
from qup.reproduction.presets import NetworkPreset, TablePreset
from qup.reproduction.report import data as report_data
from qup.reproduction.report import document, queries, sections
from qup.reproduction.report.data import (
    ROBUST_KINDS,
    AccuracyKind,
    ReportData,
    estimate_accuracy,
    find_accuracy_rows,
)
from qup.reproduction.report.document import Block, Cell, ReportFigure, Table
from qup.reproduction.report.figures import controls, imagenet, predictors, tables
from qup.reproduction.report.figures.controls import Control
from qup.reproduction.report.figures.tables import AccuracyCurve, NetworkAccuracies
from qup.reproduction.report.statistics import IntervalEstimate, average_over_seeds

_KIND_STYLES = {
    AccuracyKind.CLEAN: ("-", "o"),
    AccuracyKind.PGD4_CLIPPED: ("-", "o"),
    AccuracyKind.PGD4_UNCLIPPED: ("--", "s"),
    AccuracyKind.PGD_STRONG: ("-.", "^"),
    AccuracyKind.WORST_CASE: (":", "D"),
}
_EXAMPLE_MEASURES = {
    "test_accuracy": "TA",
    "robust_accuracy": "RA under FGSM",
    "clean_confidence": "confidence in the clean image",
    "attacked_confidence": "confidence in the attacked image",
}


@sections.register(order=20, title="Table 2: MNIST")
def table2(data: ReportData) -> Iterator[Block]:
    """Yields Table 2."""
    yield build_accuracy_table(data, data.scale.tables["table2"], ("CL",))
    yield from _iterate_accuracy_figures(data, "table2")


@sections.register(order=30, title="Table 3: CIFAR-10")
def table3(data: ReportData) -> Iterator[Block]:
    """Yields Table 3."""
    yield build_accuracy_table(data, data.scale.tables["table3"], ("CL",))
    yield from _iterate_accuracy_figures(data, "table3")


def build_accuracy_table(
    data: ReportData, preset: TablePreset, classifiers: Sequence[str]
) -> Table:
    """Returns TA and RA of the paper and ours.

    Args:
      data: All measurements.
      preset: The networks and their epochs.
      classifiers: ("CL",), with the number of images of strong attacks, or ("CL", "ACL").
    """
    has_pairs = len(classifiers) > 1
    head = (
        "network",
        "epochs",
        *([""] if has_pairs else []),
        "paper: TA",
        "ours: TA",
        "paper: RA",
        *(f"ours: {kind.format_title(data)}" for kind in ROBUST_KINDS),
        *([] if has_pairs else ["n strong"]),
    )
    body = []
    for network in preset.networks:
        for epochs in preset.epochs:
            for classifier in classifiers:
                original = paper.find_published_accuracy(
                    network.dataset, network.model, classifier, epochs
                )
                estimates = {
                    kind: estimate_accuracy(data, network, classifier, epochs, kind)
                    for kind in AccuracyKind
                }
                strong = estimates[AccuracyKind.WORST_CASE] or estimates[AccuracyKind.PGD_STRONG]
                body.append(
                    (
                        Cell(network.title),
                        Cell(str(epochs)),
                        *([Cell(classifier)] if has_pairs else []),
                        document.format_published(original and original.test_accuracy),
                        document.format_cell(estimates[AccuracyKind.CLEAN]),
                        document.format_published(original and original.robust_accuracy),
                        *(document.format_cell(estimates[kind]) for kind in ROBUST_KINDS),
                        *([] if has_pairs else [Cell(f"{strong.n:,}" if strong else "-")]),
                    )
                )
    return Table(head, tuple(body), f"Percent. {document.INTERVAL_NOTE}")


def _iterate_accuracy_figures(data: ReportData, name: str) -> Iterator[ReportFigure]:
    preset = data.scale.tables[name]
    drawn_networks, has_compact = [], False
    for network in preset.networks:
        curves = {
            kind: _build_accuracy_curves(data, network, preset.epochs, kind)
            for kind in AccuracyKind
        }
        clean = curves.pop(AccuracyKind.CLEAN)
        if clean:
            published_curves = _build_published_curves(network, preset.epochs)
            robust = [curve for kind_curves in curves.values() for curve in kind_curves]
            drawn_networks.append(
                NetworkAccuracies(
                    network.title,
                    network.model,
                    [*clean, *published_curves[:1]],
                    [*robust, *published_curves[1:]],
                )
            )
            has_compact |= network.compact
    if not drawn_networks:
        return
    title = ", ".join(sorted({document.format_dataset(n.dataset) for n in preset.networks}))
    yield ReportFigure(
        f"{name}-epochs",
        tables.plot_accuracies(drawn_networks, title),
        f"Test and robust accuracy over epochs on {title}, as in the table.",
        "TA, and RA of each network, over training epochs. Crosses: the paper"
        f"{', with its own networks' if has_compact else ''}. Bars: 95 % intervals.",
    )


def _build_accuracy_curves(
    data: ReportData, network: NetworkPreset, epochs: Sequence[int], kind: AccuracyKind
) -> list[AccuracyCurve]:
    points = {
        n: estimate.point
        for n in epochs
        if (estimate := estimate_accuracy(data, network, "CL", n, kind))
    }
    title = kind.format_title(data)
    return [AccuracyCurve(title, points, *_KIND_STYLES[kind])] if points else []


def _build_published_curves(
    network: NetworkPreset, epochs: Sequence[int]
) -> tuple[AccuracyCurve, ...]:
    """Returns TA and RA of the paper, where it has them."""
    originals = {
        n: original
        for n in epochs
        if (original := paper.find_published_accuracy(network.dataset, network.model, "CL", n))
    }
    if not originals:
        return ()
    return tuple(
        AccuracyCurve(
            "paper", {n: (x[i],) * 3 for n, x in originals.items()}, (0, (1, 3)), "x", True
        )
        for i in range(2)
    )


# Label to TA and RA.
_ClassEstimates = dict[int, tuple[IntervalEstimate, IntervalEstimate]]


@sections.register(order=35, title="Accuracy of each class")
def classes(data: ReportData) -> Iterator[Block]:
    """Yields TA and RA of each class, per table."""
    for name, preset in data.scale.tables.items():
        yield from _iterate_class_blocks(data, name, preset)


def _iterate_class_blocks(data: ReportData, name: str, preset: TablePreset) -> Iterator[Block]:
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
    dataset_title = document.format_dataset(dataset)
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
    yield Table(head, body, f"Percent of each class of {dataset_title}. {document.INTERVAL_NOTE}")
    title, class_estimates = next(iter(estimates.items()))
    lines = [
        Control(
            data.get_class_name(dataset, label),
            {"TA": class_estimates[label][0].point, robust: class_estimates[label][1].point},
        )
        for label in sorted(class_estimates)
    ]
    yield ReportFigure(
        f"classes-{name}",
        controls.plot_controls(lines, title=f"{title}, {dataset_title}"),
        f"TA and RA of each class of {dataset_title}: {title}.",
        f"TA and RA of each class: {title} on {dataset_title}. Bars: 95 % intervals.",
    )


def _estimate_per_class(data: ReportData, network: NetworkPreset, epochs: int) -> _ClassEstimates:
    rows_by_label: dict[int, tuple[list[Row], list[Row]]] = {}
    for row in find_accuracy_rows(data, network, "CL", epochs, AccuracyKind.WORST_CASE):
        arrays = data.load_arrays(row)
        if arrays is None or "robust" not in arrays:
            continue
        for index, name in enumerate(("right", "robust")):
            for label, class_row in report_data.iterate_class_rows(row, arrays, name):
                rows_by_label.setdefault(label, ([], []))[index].append(class_row)
    return {
        label: (average_over_seeds(clean), average_over_seeds(robust))
        for label, (clean, robust) in rows_by_label.items()
    }


def _build_class_cells(
    estimates: dict[str, _ClassEstimates], label: int, name: str
) -> tuple[Cell, ...]:
    pairs = [class_estimates.get(label, (None, None)) for class_estimates in estimates.values()]
    counts = {estimate.n for pair in pairs for estimate in pair if estimate}
    cells = (document.format_cell(estimate) for pair in pairs for estimate in pair)
    return (Cell(name), *cells, Cell(f"{min(counts):,}"))


@sections.register(order=15, title="Fig. 1: one attacked image")
def fig1(data: ReportData) -> Iterator[Block]:
    """Yields the image of the network with the most epochs, and its numbers."""
    example_rows = data.find(figure="fig1", measure="clean_confidence")
    example_row = max(example_rows, key=lambda row: row.epochs, default=None)
    arrays = data.load_arrays(example_row) if example_row else None
    if arrays is None:
        return
    dataset, model, epochs = example_row.dataset, example_row.model, example_row.epochs
    rows = data.find(
        figure="fig1", dataset=dataset, model=model, epochs=epochs, seed=example_row.seed
    )
    network = data.scale.find_network(dataset, model) or NetworkPreset(dataset, model, model)
    title = document.format_network(network, epochs)
    names = report_data.resolve_class_names(dataset, arrays["class_names"])
    yield ReportFigure(
        "fig1",
        predictors.plot_example({**arrays, "class_names": names}, rows, title),
        f"An image, its FGSM noise, and the attacked image: {title}.",
        f"{title}, seed {example_row.seed}. The image was chosen by a rule: "
        f"{example.SELECTION_RULES[str(arrays['rule'])]}.",
        raster=True,
    )
    body = tuple(
        (
            Cell(name),
            document.format_published(example.PAPER_VALUES.get(measure)),
            document.format_cell(average_over_seeds([r for r in rows if r.measure == measure])),
        )
        for measure, name in _EXAMPLE_MEASURES.items()
    )
    yield Table(("percent", "paper (another network)", "ours"), body, document.INTERVAL_NOTE)


@sections.register(order=110, title="Fig. 3: ImageNet models")
def fig3_imagenet(data: ReportData) -> Iterator[Block]:
    """Yields the slopes over all models and within families, and the figure."""
    rows = queries.find_imagenet_rows(data)
    if not rows:
        return
    body = tuple(
        (
            Cell(slopes.panel.label.replace("\n", " ")),
            Cell(str(slopes.num_models)),
            _format_slope(slopes.overall),
            _format_slope(slopes.within),
            Cell(slopes.text if slopes.num_models else document.NOT_RUN),
        )
        for slopes in queries.fit_panel_slopes(data)
    )
    yield Table(
        ("panel", "models", "slope over all", "slope within families", "conclusion"),
        body,
        "Lines distortion = a + b ln(error): slopes b ± half of their 95 % interval, from the "
        "residuals of the models. Above 0, models with fewer errors are changed by smaller "
        "perturbations. Within families each family has its own intercept; if the two slopes "
        "differ in sign, the trade-off is one between families. Random weights are excluded.",
    )
    yield ReportFigure(
        "fig3-imagenet",
        imagenet.plot_distortions(rows, published.read()),
        "Distortion against top-1 accuracy of ImageNet models.",
        "Distortion against top-1 accuracy. Grey: random weights, excluded from the fits.",
    )


def _format_slope(slope: IntervalEstimate | None) -> Cell:
    if slope is None:
        return Cell("no slope: too few models", tone="muted")
    return Cell(f"{slope.value:.2g} ± {slope.half_width:.2g}", slope.rows)
