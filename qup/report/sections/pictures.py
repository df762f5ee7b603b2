"""Figs. 1 and 3 of the paper: one attacked image, and ImageNet models."""

from qup import example
from qup.evidence_figures import example as one_image
from qup.evidence_figures import imagenet as distortions
from qup.imagenet import published
from qup.measurements import Row
from qup.report import class_names, numbers, sections, slopes
from qup.report.blocks import Block, Cell, Paragraph, ReportFigure, Section, Table
from qup.report.estimates import IntervalEstimate, average_over_seeds
from qup.report.material import ReportData


@sections.register(order=15)
def fig1(data: ReportData) -> Section:
    """Returns Fig. 1."""
    example_rows = data.find(figure="fig1", measure="clean_confidence")
    # Of several networks the most trained; the rows of accuracies have none.
    example_row = max(example_rows, key=lambda row: row.epochs, default=None)
    arrays = data.load_arrays(example_row) if example_row else None
    title = "Fig. 1: one attacked image"
    if arrays is None:
        note = Paragraph(f"It was {numbers.NOT_RUN}.")
        return Section("fig1", title, (note,))
    rows = data.find(
        figure="fig1",
        dataset=example_row.dataset,
        model=example_row.model,
        epochs=example_row.epochs,
        seed=example_row.seed,
    )
    network = data.scale.find_network(example_row.dataset, example_row.model)
    network_title = numbers.format_network(
        network.title if network else example_row.model, example_row.dataset, example_row.epochs
    )
    names = class_names.resolve_class_names(example_row.dataset, arrays["class_names"])
    picture = ReportFigure(
        "fig1",
        one_image.plot_example({**arrays, "class_names": names}, rows, network_title),
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
            numbers.format_published(example.PAPER_VALUES.get(measure)),
            numbers.format_cell(average_over_seeds([r for r in rows if r.measure == measure])),
        )
        for measure, name in names.items()
    )
    head = ("percent", "paper (another network)", "ours")
    return Table(head, body, numbers.INTERVAL_NOTE)


@sections.register(order=110)
def fig3_imagenet(data: ReportData) -> Section:
    """Returns Fig. 3."""
    rows = slopes.find_imagenet_rows(data)
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
                distortions.plot_distortions(rows, published.read()),
                "Distortion against top-1 accuracy of ImageNet models.",
                "Distortion against top-1 accuracy. Grey: random weights, "
                "which take no part in lines.",
            ),
        ]
    else:
        blocks.append(Paragraph(f"It was {numbers.NOT_RUN}."))
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
            Cell(panel.text if panel.num_models else numbers.NOT_RUN),
        )
        for panel in slopes.fit_panel_slopes(data)
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
