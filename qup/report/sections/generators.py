"""The supplement's section 3: the relation of a generator's own loss."""

from collections.abc import Iterator

from qup.measurements import Row
from qup.report import numbers, sections
from qup.report.blocks import Block, Cell, Paragraph, Section, Table
from qup.report.estimates import IntervalEstimate, average_over_seeds
from qup.report.material import ReportData
from qup.report.selection import build_network_filters

# What rows of `TranslatorAnalyzer` tell.
GENERATOR_PACKET, GENERATOR_CONTROL = "l1", "translator"
_GENERATOR_MEASURES = ("sigma_x", "sigma_p", "uncertainty_product", "uncertainty_bound")
_GENERATOR_INTRO = (
    "The supplement extends the theorem to generators. The translator G is "
    "one: its loss is the L1 distance of its output to Delta_N(x), here of "
    "the first test image x, and its packet psi(X) ~ mean |G(X) - "
    "Delta_N(x)|. What holds of a classifier's packet holds of this one, on "
    "the box with the boundary term and in a Gaussian window round x with "
    "1/2: the derivation asks of the function that it and its derivative are "
    "square integrable, and nothing of what it is for, so that it tells "
    "nothing of generators in particular."
)


def estimate_generator(data: ReportData, measure: str, domain: str) -> IntervalEstimate | None:
    """Returns a mean over pixels and seeds; None where it was not run."""
    return average_over_seeds(
        [
            row
            for row in _find_generator_rows(data)
            if (row.measure, row.parameters["domain"]) == (measure, domain)
            and row.parameters.get("statistic") == "mean"
        ]
    )


def list_generator_domains(data: ReportData) -> list[str]:
    """Returns the domains that were measured."""
    return sorted({str(r.parameters["domain"]) for r in _find_generator_rows(data)})


def _find_generator_rows(data: ReportData) -> list[Row]:
    table = data.scale.tables["table2"]
    filters = build_network_filters(table.networks[0], table.epochs[0])
    return data.find(packet=GENERATOR_PACKET, control=GENERATOR_CONTROL, **filters)


@sections.register(order=102)
def generators(data: ReportData) -> Section:
    """Returns the section."""
    blocks: list[Block] = [Paragraph(_GENERATOR_INTRO)]
    body = tuple(_iter_generator_cells(data))
    if body:
        table = data.scale.tables["table2"]
        network, epochs = table.networks[0], table.epochs[0]
        network_title = numbers.format_network(network.title, network.dataset, epochs)
        head = ("domain", *(m.replace("_", " ") for m in _GENERATOR_MEASURES))
        caption = f"Translator before {network_title}; means over pixels."
        blocks.append(Table(head, body, f"{caption} {numbers.INTERVAL_NOTE}"))
    else:
        blocks.append(Paragraph(f"It was {numbers.NOT_RUN}."))
    title = "The uncertainty relation of the translator"
    return Section("generators", title, tuple(blocks))


def _iter_generator_cells(data: ReportData) -> Iterator[tuple[Cell, ...]]:
    for domain in list_generator_domains(data):
        yield (
            Cell(domain),
            *(
                numbers.format_cell(estimate_generator(data, measure, domain), 5)
                for measure in _GENERATOR_MEASURES
            ),
        )
