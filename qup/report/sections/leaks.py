"""The label leak: which class the translator tells, and to whom."""

from collections.abc import Iterator

from qup.evidence_figures import controls as drawing
from qup.evidence_figures import templates
from qup.evidence_figures.controls import Control
from qup.measurements import Row
from qup.report import numbers, sections
from qup.report.blocks import Block, Cell, Paragraph, ReportFigure, Section, Table
from qup.report.estimates import IntervalEstimate, average_over_seeds
from qup.report.material import ReportData
from qup.report.sections import carried, unseen
from qup.report.selection import build_network_filters
from qup.scales import NetworkPreset

_LEAKAGE_INTRO = (
    "A translator that was taught with true labels may simply classify. Here "
    "its Delta is read as a class: by the nearest of the mean Deltas of the "
    "training classes, and by the classifier that is shown the Delta without "
    "its image. Where the classifier alone is wrong, the pair can be right "
    'only by what the translator knows; "Delta of the true label" is what '
    "was to be learnt."
)
_READER_TITLES = {
    "nearest_template": "G(X), nearest mean Delta of a class",
    "classifier_of_delta": "G(X), shown to the classifier alone",
    "pair": "X + G(X), the pair's decision",
    "delta_of_true_label": "Delta of the true label",
}
# Which images, and whether attacked through both networks.
_IMAGE_SUBSETS = {
    "all images": ("all", False),
    "classifier wrong": ("misclassified", False),
    "attacked, all images": ("all", True),
    "attacked, classifier wrong": ("misclassified", True),
}


@sections.register(order=62)
def leaks(data: ReportData) -> Section:
    """Returns the section."""
    table = data.scale.tables["table2"]
    network, epochs = table.networks[0], table.epochs[0]
    blocks: list[Block] = [Paragraph(_LEAKAGE_INTRO)]
    blocks += list(_iter_leakage_blocks(data, network, epochs)) or [
        Paragraph(f"What the translator's Delta implies was {numbers.NOT_RUN}.")
    ]
    blocks += carried.build_transfer_blocks(data, network, epochs)
    blocks += unseen.build_test_image_blocks(data, network, epochs)
    title = "Label leak: whose knowledge the pair's accuracy is"
    return Section("leaks", title, tuple(blocks))


def _iter_leakage_blocks(data: ReportData, network: NetworkPreset, epochs: int) -> Iterator[Block]:
    """Yields the accuracy of the class that the translator tells."""
    reader_rows = data.find(
        classifier="ACL",
        measure="implied_class_accuracy",
        control=None,
        **build_network_filters(network, epochs),
    )
    if not reader_rows:
        return
    estimates = {
        (reader, title): average_over_seeds(
            [
                row
                for row in reader_rows
                if row.parameters["read_by"] == reader
                and row.parameters["images"] == images
                and bool(row.attack) == is_attacked
            ]
        )
        for reader in _READER_TITLES
        for title, (images, is_attacked) in _IMAGE_SUBSETS.items()
    }
    network_title = numbers.format_network(network.title, network.dataset, epochs)
    body = tuple(
        (
            Cell(reader_title),
            *(numbers.format_cell(estimates[reader, subset]) for subset in _IMAGE_SUBSETS),
        )
        for reader, reader_title in _READER_TITLES.items()
    )
    yield Table(
        ("class read from", *_IMAGE_SUBSETS),
        (*body, _build_count_cells(estimates)),
        f"Percent of classes that are the true one: {network_title}. {numbers.INTERVAL_NOTE}",
    )
    drawn_controls = [
        Control(
            reader_title,
            {subset: x.point for subset in _IMAGE_SUBSETS if (x := estimates[reader, subset])},
        )
        for reader, reader_title in _READER_TITLES.items()
    ]
    yield ReportFigure(
        "leak-implied",
        drawing.plot_controls([c for c in drawn_controls if c.points], title=network_title),
        f"Accuracy of the class that the translator's Delta implies: {network_title}.",
        "How often the class that a Delta tells is the true one. Bars: 95 % intervals.",
    )
    yield from _iter_template_figures(data, reader_rows, network_title)


def _build_count_cells(
    estimates: dict[tuple[str, str], IntervalEstimate | None],
) -> tuple[Cell, ...]:
    """Returns the line of the numbers of images."""
    reader = next(iter(_READER_TITLES))
    counts = (estimates[reader, subset] for subset in _IMAGE_SUBSETS)
    texts = (f"{x.n:,}" if x else numbers.NOT_RUN for x in counts)
    return (Cell("images (the least of a seed)"), *map(Cell, texts))


def _iter_template_figures(
    data: ReportData, reader_rows: list[Row], network_title: str
) -> Iterator[ReportFigure]:
    first_row = min(reader_rows, key=lambda row: row.seed)
    arrays = data.load_arrays(first_row)
    if arrays is None:
        return
    means = arrays["templates"]
    yield ReportFigure(
        "leak-templates",
        templates.plot_class_templates(
            means, [f"class {i}" for i in range(len(means))], title="mean Delta_N of each class"
        ),
        f"The mean Delta_N of the training images of each class: {network_title}.",
        "What the label alone tells of Delta_N: its mean over the training "
        f"images of each class ({network_title}, seed {first_row.seed}). Red is brighter.",
        raster=True,
    )
