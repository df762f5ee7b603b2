"""The label leak: which class the translator tells, and to whom."""

from collections.abc import Iterator

from qup.evidence_figures import controls as drawing
from qup.evidence_figures import templates
from qup.evidence_figures.controls import Control
from qup.measurements import Row
from qup.report import numbers, sections
from qup.report.blocks import Block, Cell, Picture, Section, Table, Words
from qup.report.estimates import Estimate, over_seeds
from qup.report.material import Material
from qup.report.sections import carried, unseen
from qup.report.selection import of_network
from qup.scales import Network

_IMPLIED = (
    "A translator that was taught with true labels may simply classify. Here "
    "its Delta is read as a class: by the nearest of the mean Deltas of the "
    "training classes, and by the classifier that is shown the Delta without "
    "its image. Where the classifier alone is wrong, the pair can be right "
    'only by what the translator knows; "Delta of the true label" is what '
    "was to be learnt."
)
_READERS = {
    "nearest_template": "G(X), nearest mean Delta of a class",
    "classifier_of_delta": "G(X), shown to the classifier alone",
    "pair": "X + G(X), the pair's decision",
    "delta_of_true_label": "Delta of the true label",
}
# Which images, and whether attacked through both networks.
_SEEN = {
    "all images": ("all", False),
    "classifier wrong": ("misclassified", False),
    "attacked, all images": ("all", True),
    "attacked, classifier wrong": ("misclassified", True),
}


@sections.register(order=62)
def leaks(material: Material) -> Section:
    """Returns the section."""
    table = material.scale.tables["table2"]
    network, epochs = table.networks[0], table.epochs[0]
    blocks: list[Block] = [Words(_IMPLIED)]
    blocks += list(_implied(material, network, epochs)) or [
        Words(f"What the translator's Delta implies was {numbers.NOT_RUN}.")
    ]
    blocks += carried.blocks(material, network, epochs)
    blocks += unseen.blocks(material, network, epochs)
    title = "Label leak: whose knowledge the pair's accuracy is"
    return Section("leaks", title, tuple(blocks))


def _implied(
    material: Material, network: Network, epochs: int
) -> Iterator[Block]:
    """Yields the accuracy of the class that the translator tells."""
    held = material.find(
        classifier="ACL", measure="implied_class_accuracy", control=None,
        **of_network(network, epochs),
    )  # fmt: skip
    if not held:
        return
    found = {
        (reader, title): over_seeds([
            row for row in held
            if row.parameters["read_by"] == reader
            and row.parameters["images"] == images
            and bool(row.attack) == attacked
        ])
        for reader in _READERS
        for title, (images, attacked) in _SEEN.items()
    }  # fmt: skip
    of = numbers.named(network.title, network.dataset, epochs)
    body = tuple(
        (Cell(words), *(numbers.cell(found[reader, seen]) for seen in _SEEN))
        for reader, words in _READERS.items()
    )
    yield Table(
        ("class read from", *_SEEN), (*body, _counts(found)),
        f"Percent of classes that are the true one: {of}. {numbers.KEY}",
    )  # fmt: skip
    shown = [
        Control(words, {seen: x.point for seen in _SEEN
                        if (x := found[reader, seen])})
        for reader, words in _READERS.items()
    ]  # fmt: skip
    yield Picture(
        "leak-implied",
        drawing.side_by_side([c for c in shown if c.points], title=of),
        f"Accuracy of the class that the translator's Delta implies: {of}.",
        "How often the class that a Delta tells is the true one. Bars: 95 % "
        "intervals.",
    )  # fmt: skip
    yield from _templates(material, held, of)


def _counts(found: dict[tuple[str, str], Estimate | None]) -> tuple[Cell, ...]:
    """Returns the line of the numbers of images."""
    reader = next(iter(_READERS))
    counts = (found[reader, seen] for seen in _SEEN)
    texts = (f"{x.n:,}" if x else numbers.NOT_RUN for x in counts)
    return (Cell("images (the least of a seed)"), *map(Cell, texts))


def _templates(
    material: Material, held: list[Row], of: str
) -> Iterator[Picture]:
    first = min(held, key=lambda row: row.seed)
    arrays = material.arrays(first)
    if arrays is None:
        return
    means = arrays["templates"]
    yield Picture(
        "leak-templates",
        templates.patterns(
            means, [f"class {i}" for i in range(len(means))],
            title="mean Delta_N of each class",
        ),
        f"The mean Delta_N of the training images of each class: {of}.",
        "What the label alone tells of Delta_N: its mean over the training "
        f"images of each class ({of}, seed {first.seed}). Red is brighter.",
        raster=True,
    )  # fmt: skip
