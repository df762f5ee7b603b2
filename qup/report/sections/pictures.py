"""Figs. 1 and 3 of the paper: one attacked image, and ImageNet models."""

from qup import example
from qup.evidence_figures import example as one_image
from qup.evidence_figures import imagenet as distortions
from qup.imagenet import published
from qup.measurements import Row
from qup.report import numbers, sections
from qup.report.blocks import Block, Cell, Picture, Section, Table, Words
from qup.report.estimates import over_seeds
from qup.report.material import Material


@sections.register(order=15)
def fig1(material: Material) -> Section:
    """Returns Fig. 1."""
    rows = material.find(figure="fig1")
    arrays = material.arrays(rows[0]) if rows else None
    title = "Fig. 1: one attacked image"
    if arrays is None:
        words = Words(f"It was {numbers.NOT_RUN}.")
        return Section("fig1", title, (words,))
    first = rows[0]
    of = numbers.named(first.model, first.dataset, first.epochs)
    picture = Picture(
        "fig1", one_image.draw(arrays, rows),
        f"An image, its FGSM noise, and the attacked image: {of}.",
        f"{of}, seed {first.seed}. The image was chosen by rule: "
        f"{example.RULES[str(arrays['rule'])]}",
        raster=True,
    )  # fmt: skip
    return Section("fig1", title, (picture, _numbers(rows)))


def _numbers(rows: list[Row]) -> Table:
    names = {
        "test_accuracy": "TA", "robust_accuracy": "RA under FGSM",
        "clean_confidence": "confidence in the clean image",
        "attacked_confidence": "confidence in the attacked image",
    }  # fmt: skip
    body = tuple(
        (
            Cell(name),
            numbers.published(example.PAPER.get(measure)),
            numbers.cell(over_seeds([r for r in rows if r.measure == measure])),
        )
        for measure, name in names.items()
    )
    head = ("percent", "paper (another network)", "ours")
    return Table(head, body, numbers.KEY)


@sections.register(order=110)
def fig3_imagenet(material: Material) -> Section:
    """Returns Fig. 3."""
    rows = [row for row in material.rows if "num_parameters" in row.parameters
            and "image_files" in row.parameters]  # fmt: skip
    blocks: list[Block] = [
        Words(
            "The paper's Fig. 3 is a citation of Su et al. (ECCV 2018). "
            "Their distortions are published as points in pictures alone, so "
            "there is no column of theirs; docs/imagenet.md tells what is "
            "needed to measure the 13 of the 18 models that Keras has."
        )
    ]
    if rows:
        blocks.append(
            Picture(
                "fig3-imagenet", distortions.draw(rows, published.read()),
                "Distortion against top-1 accuracy of ImageNet models.",
                "Distortion against top-1 accuracy. Grey: random weights, "
                "which take no part in lines.",
            )
        )  # fmt: skip
    else:
        blocks.append(Words(f"It was {numbers.NOT_RUN}."))
    return Section("fig3_imagenet", "Fig. 3: ImageNet models", tuple(blocks))
