"""Figs. 1 and 3 of the paper: one attacked image, and ImageNet models."""

from qup import example
from qup.evidence_figures import example as one_image
from qup.evidence_figures import imagenet as distortions
from qup.imagenet import published
from qup.measurements import Row
from qup.report import class_names, numbers, sections, slopes
from qup.report.blocks import Block, Cell, Picture, Section, Table, Words
from qup.report.estimates import Estimate, over_seeds
from qup.report.material import Material


@sections.register(order=15)
def fig1(material: Material) -> Section:
    """Returns Fig. 1."""
    chosen = material.find(figure="fig1", measure="clean_confidence")
    # Of several networks the most trained; the rows of accuracies have none.
    first = max(chosen, key=lambda row: row.epochs, default=None)
    arrays = material.arrays(first) if first else None
    title = "Fig. 1: one attacked image"
    if arrays is None:
        words = Words(f"It was {numbers.NOT_RUN}.")
        return Section("fig1", title, (words,))
    rows = material.find(
        figure="fig1", dataset=first.dataset, model=first.model,
        epochs=first.epochs, seed=first.seed,
    )  # fmt: skip
    network = material.scale.network(first.dataset, first.model)
    of = numbers.named(
        network.title if network else first.model, first.dataset, first.epochs
    )
    names = class_names.named(first.dataset, arrays["class_names"])
    picture = Picture(
        "fig1", one_image.draw({**arrays, "class_names": names}, rows, of),
        f"An image, its FGSM noise, and the attacked image: {of}.",
        f"{of}, seed {first.seed}. The image was chosen by rule: "
        f"{example.RULES[str(arrays['rule'])]}.",
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
    rows = slopes.rows_of(material)
    blocks: list[Block] = [
        Words(
            "The paper's Fig. 3 is a citation of Su et al. (ECCV 2018). "
            "Their distortions are published as points in pictures alone, so "
            "there is no column of theirs; docs/imagenet.md tells what is "
            "needed to measure the 13 of the 18 models that Keras has."
        )
    ]
    if rows:
        blocks += [
            _fits(material),
            Picture(
                "fig3-imagenet", distortions.draw(rows, published.read()),
                "Distortion against top-1 accuracy of ImageNet models.",
                "Distortion against top-1 accuracy. Grey: random weights, "
                "which take no part in lines.",
            ),
        ]  # fmt: skip
    else:
        blocks.append(Words(f"It was {numbers.NOT_RUN}."))
    return Section("fig3_imagenet", "Fig. 3: ImageNet models", tuple(blocks))


def _fits(material: Material) -> Table:
    """Returns the slopes over all models and within families."""
    head = ("panel", "models", "slope over all", "slope within families",
            "what the lines say")  # fmt: skip
    body = tuple(
        (
            Cell(found.title), Cell(str(found.models)),
            _slope(found.overall), _slope(found.within),
            Cell(found.words if found.models else numbers.NOT_RUN),
        )
        for found in slopes.of_panels(material)
    )  # fmt: skip
    return Table(
        head, body,
        "Lines distortion = a + b ln(error): slopes b with half of their 95 % "
        "interval, from the scatter of the models about the line. Above 0, "
        "models of fewer errors are turned by smaller changes. Within "
        "families each family has an intercept of its own; where the two "
        "slopes differ in sign, the trade-off is one between families. "
        "Random weights take no part.",
    )  # fmt: skip


def _slope(found: Estimate | None) -> Cell:
    if found is None:
        return Cell("no slope: too few models", tone="muted")
    return Cell(f"{found.value:.2g} ± {found.half:.2g}", found.rows)
