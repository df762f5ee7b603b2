"""Table 4: attacks, their conjugates, and the spectra of both."""

from collections.abc import Iterator

from qup.conjugates import TABLE_4
from qup.evidence_figures import conjugates as drawing
from qup.measurements import Row
from qup.measures import spectrum
from qup.report import class_names, numbers, sections
from qup.report.blocks import Block, Cell, Paragraph, ReportFigure, Section, Table
from qup.report.estimates import average_over_seeds
from qup.report.material import ReportData
from qup.scales import NetworkPreset

_CONJUGATES_INTRO = (
    "The paper lists attacks with a field that could stand where Eq. 21 has "
    'the gradient, their "possible effective conjugate", and knows none for '
    "the two black-box ones. Here every attack ran with its own options on "
    "the same images. The cosine tells how far a perturbation lies along the "
    "field by which its last step moved, whatever the sign: 1 is one "
    "direction, and two unrelated fields have about 0. The share of high "
    "frequencies is that of the supplement's Fig. 5."
)
_PERTURBATION_NORMS = ("l0", "l1", "l2", "linf")
_CONJUGATE_COLUMNS = (
    "attack",
    "possible effective conjugate",
    "success",
    "L0",
    "L1",
    "L2",
    "L-inf",
    "cosine",
    "high: perturbation",
    "high: conjugate",
)


@sections.register(order=75)
def table4(data: ReportData) -> Section:
    """Returns Table 4."""
    blocks: list[Block] = [Paragraph(_CONJUGATES_INTRO)]
    for table in data.scale.tables.values():
        for network in table.networks:
            for epochs in table.epochs:
                rows = data.find(
                    dataset=network.dataset, model=network.model, epochs=epochs, figure="table4"
                )
                blocks += _iter_conjugate_blocks(data, network, epochs, rows)
    if len(blocks) == 1:
        blocks.append(Paragraph(f"It was {numbers.NOT_RUN}."))
    title = "Table 4: attacks and their conjugates"
    return Section("table4", title, tuple(blocks))


def _iter_conjugate_blocks(
    data: ReportData, network: NetworkPreset, epochs: int, rows: list[Row]
) -> Iterator[Block]:
    """Yields table and picture of one network; nothing without rows."""
    if not rows:
        return
    title = numbers.format_network(network.title, network.dataset, epochs)
    first_row = min(rows, key=lambda row: row.seed)
    arrays = data.load_arrays(first_row)
    white_noise_note = ""
    if arrays is not None:
        share = _compute_white_share(arrays)
        white_noise_note = f" Of white noise the share of high frequencies is {share:.3f}."
    count = max(row.n for row in rows)
    body = tuple(_build_conjugate_cells(name, rows) for name in TABLE_4)
    yield Table(
        _CONJUGATE_COLUMNS,
        body,
        f"{title}: the first {count:,} test images that are classified "
        "rightly. Success in percent; all else are means over the images "
        f"that were broken, of conjugates over all.{white_noise_note} {numbers.INTERVAL_NOTE}",
    )
    if arrays is None:
        return
    names = class_names.resolve_class_names(network.dataset, arrays["class_names"])
    name = names[int(arrays["image_label"])]
    image = f"test image {int(arrays['image_id'])}, a {name}"
    yield ReportFigure(
        f"table4-{network.dataset}-{network.model}-{epochs}",
        drawing.plot_conjugates(
            {**arrays, "class_names": names},
            f"{title}, seed {first_row.seed}: {image}",
            f"Curves: means over up to {count:,} images, each with its mean power as 1",
        ),
        f"Each attack's image, perturbation, conjugate and spectra: {title}.",
        f"{image} under each attack ({title}, seed {first_row.seed}): what the "
        "attack made of it, the perturbation and the conjugate (red above 0, "
        "blue below, each on its own scale), the conjugate's spectrum with "
        "zero frequency in the middle, and radial means of power. The image "
        "was chosen so that even one pixel is enough, where there is such.",
        raster=True,
    )


def _compute_white_share(arrays) -> float:
    shape = arrays["clean"].shape[:2]
    return spectrum.compute_white_share(shape, spectrum.compute_window(shape, "literal"))


def _build_conjugate_cells(name: str, rows: list[Row]) -> tuple[Cell, ...]:
    def build_cell(measure: str, digits: int, **filters: str) -> Cell:
        measure_rows = [
            row
            for row in rows
            if (row.attack, row.measure) == (name, measure)
            and all(row.parameters.get(k) == v for k, v in filters.items())
        ]
        if not measure_rows and has_run:
            return Cell("none broken", tone="muted")
        return numbers.format_cell(average_over_seeds(measure_rows), digits)

    entry = TABLE_4[name]
    has_run = any(row.attack == name for row in rows)
    empty_cell = Cell("-", tone="muted")
    shares = {
        field: build_cell("high_frequency_ratio", 3, field=field, window="literal")
        for field in ("perturbation", "conjugate")
    }
    return (
        Cell(name.replace("_", " ")),
        Cell(entry.description, tone="paper"),
        build_cell("success_rate", 1),
        *(build_cell(f"perturbation_{norm}", 3) for norm in _PERTURBATION_NORMS),
        build_cell("conjugate_cosine", 2) if entry.symbol else empty_cell,
        shares["perturbation"],
        shares["conjugate"] if entry.symbol else empty_cell,
    )
