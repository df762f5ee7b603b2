"""Table 4: attacks, their conjugates, and the spectra of both."""

from collections.abc import Iterator

from qup.conjugates import TABLE
from qup.evidence_figures import conjugates as drawing
from qup.measurements import Row
from qup.measures import spectrum
from qup.report import class_names, numbers, sections
from qup.report.blocks import Block, Cell, Picture, Section, Table, Words
from qup.report.estimates import over_seeds
from qup.report.material import Material
from qup.scales import Network

_WORDS = (
    "The paper lists attacks with a field that could stand where Eq. 21 has "
    'the gradient, their "possible effective conjugate", and knows none for '
    "the two black-box ones. Here every attack ran with its own options on "
    "the same images. The cosine tells how far a perturbation lies along the "
    "field by which its last step moved, whatever the sign: 1 is one "
    "direction, and two unrelated fields have about 0. The share of high "
    "frequencies is that of the supplement's Fig. 5."
)
_NORMS = ("l0", "l1", "l2", "linf")
_HEAD = (
    "attack", "possible effective conjugate", "success", "L0", "L1", "L2",
    "L-inf", "cosine", "high: perturbation", "high: conjugate",
)  # fmt: skip


@sections.register(order=75)
def table4(material: Material) -> Section:
    """Returns Table 4."""
    blocks: list[Block] = [Words(_WORDS)]
    for table in material.scale.tables.values():
        for network in table.networks:
            for epochs in table.epochs:
                rows = material.find(
                    dataset=network.dataset, model=network.model,
                    epochs=epochs, figure="table4",
                )  # fmt: skip
                blocks += _blocks(material, network, epochs, rows)
    if len(blocks) == 1:
        blocks.append(Words(f"It was {numbers.NOT_RUN}."))
    title = "Table 4: attacks and their conjugates"
    return Section("table4", title, tuple(blocks))


def _blocks(
    material: Material, network: Network, epochs: int, rows: list[Row]
) -> Iterator[Block]:
    """Yields table and picture of one network; nothing without rows."""
    if not rows:
        return
    title = numbers.named(network.title, network.dataset, epochs)
    first = min(rows, key=lambda row: row.seed)
    arrays = material.arrays(first)
    flat = ""
    if arrays is not None:
        share = _white(arrays)
        flat = f" Of white noise the share of high frequencies is {share:.3f}."
    count = max(row.n for row in rows)
    body = tuple(_line(name, rows) for name in TABLE)
    yield Table(
        _HEAD, body,
        f"{title}: the first {count:,} test images that are classified "
        "rightly. Success in percent; all else are means over the images "
        f"that were broken, of conjugates over all.{flat} {numbers.KEY}",
    )  # fmt: skip
    if arrays is None:
        return
    names = class_names.named(network.dataset, arrays["class_names"])
    name = names[int(arrays["image_label"])]
    image = f"test image {int(arrays['image_id'])}, a {name}"
    yield Picture(
        f"table4-{network.dataset}-{network.model}-{epochs}",
        drawing.draw(
            {**arrays, "class_names": names},
            f"{title}, seed {first.seed}: {image}",
            f"Curves: means over up to {count:,} images, each with its mean "
            "power as 1",
        ),
        f"Each attack's image, perturbation, conjugate and spectra: {title}.",
        f"{image} under each attack ({title}, seed {first.seed}): what the "
        "attack made of it, the perturbation and the conjugate (red above 0, "
        "blue below, each on its own scale), the conjugate's spectrum with "
        "zero frequency in the middle, and radial means of power. The image "
        "was chosen so that even one pixel is enough, where there is such.",
        raster=True,
    )  # fmt: skip


def _white(arrays) -> float:
    shape = arrays["clean"].shape[:2]
    return spectrum.white_share(shape, spectrum.window(shape, "literal"))


def _line(name: str, rows: list[Row]) -> tuple[Cell, ...]:
    def cell(measure: str, digits: int, **wanted: str) -> Cell:
        own = [
            row for row in rows
            if (row.attack, row.measure) == (name, measure)
            and all(row.parameters.get(k) == v for k, v in wanted.items())
        ]  # fmt: skip
        if not own and ran:
            return Cell("none broken", tone="muted")
        return numbers.cell(over_seeds(own), digits)

    known = TABLE[name]
    ran = any(row.attack == name for row in rows)
    none = Cell("-", tone="muted")
    shares = {
        field: cell(
            "high_frequency_ratio", 3, field=field, window="literal"
        )
        for field in ("perturbation", "conjugate")
    }  # fmt: skip
    return (
        Cell(name.replace("_", " ")), Cell(known.words, tone="paper"),
        cell("success_rate", 1),
        *(cell(f"perturbation_{norm}", 3) for norm in _NORMS),
        cell("conjugate_cosine", 2) if known.symbol else none,
        shares["perturbation"],
        shares["conjugate"] if known.symbol else none,
    )  # fmt: skip
