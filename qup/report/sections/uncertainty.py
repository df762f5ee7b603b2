"""Eqs. 14 and 19: sigma_x, sigma_p, their product and its bound."""

from qup.evidence_figures import products
from qup.measurements import Row
from qup.measures.uncertainty.importance import MIN_EFFECTIVE_SAMPLES
from qup.report import numbers, sections
from qup.report.blocks import Block, Cell, Paragraph, ReportFigure, Section, Table
from qup.report.estimates import IntervalEstimate, average_over_seeds
from qup.report.material import ReportData
from qup.report.selection import AccuracyKind, build_network_filters, estimate_accuracy
from qup.scales import NetworkPreset

_UNCERTAINTY_EVALUATION = "uncertainty"
_RELATION_MEASURES = ("sigma_x", "sigma_p", "uncertainty_product", "uncertainty_bound")
_RELATION_INTRO = (
    "The deviations of a pixel and of the gradient under the density psi^2 "
    "of the paper's neural packet psi = l / sqrt(beta), means over all "
    "pixels, by importance sampling. On the box [0, 1]^M of images the "
    "printed bound of 1/2 lacks a boundary term B: what holds is sigma_x "
    "sigma_p >= |1 - B| / 2. In a Gaussian window, at whose edge the packet "
    "vanishes, the bound is 1/2. That the inequality holds is true of any "
    "sample, and no test. Another temperature of the logits changes sigma_p "
    "and no decision (see Temperature): sigma_p is not fixed by TA."
)


def estimate_uncertainty(
    data: ReportData,
    network: NetworkPreset,
    epochs: int,
    measure: str,
    domain: str,
    temperature: float = 1.0,
    method: str | None = None,
) -> IntervalEstimate | None:
    """Returns a mean over pixels and seeds; None where it was not run.

    Args:
      data: Everything.
      network: The network.
      epochs: Its epochs.
      measure: "sigma_x", "sigma_p", ...
      domain: "box", "window:0.1", ...
      temperature: Of the logits.
      method: Of a robust training; None for a standard one.
    """
    rows = data.find(
        measure=measure,
        domain=domain,
        temperature=temperature,
        evaluation=_UNCERTAINTY_EVALUATION,
        over="pixels",
        statistic="mean",
        estimator="importance",
        control=None,
        packet="loss",
        method=method,
        **build_network_filters(network, epochs),
    )
    return average_over_seeds(rows)


def find_refused_rows(
    data: ReportData, network: NetworkPreset, epochs: int, domain: str, temperature: float = 1.0
) -> list[Row]:
    """Returns the sizes of samples that were too few, a row a seed."""
    return data.find(
        measure="effective_sample_size",
        refused=True,
        domain=domain,
        temperature=temperature,
        evaluation=_UNCERTAINTY_EVALUATION,
        estimator="importance",
        control=None,
        packet="loss",
        method=None,
        **build_network_filters(network, epochs),
    )


def list_domains(data: ReportData) -> list[str]:
    """Returns the domains in which classifiers were measured."""
    rows = data.find(
        evaluation=_UNCERTAINTY_EVALUATION, measure="sigma_p", packet="loss", control=None
    )
    return sorted({_get_domain(row) for row in rows})


def _get_domain(row: Row) -> str:
    return str(row.parameters["domain"])


@sections.register(order=100)
def uncertainty(data: ReportData) -> Section:
    """Returns the section."""
    table = data.scale.tables["table2"]
    network = table.networks[0]
    body = []
    for domain in list_domains(data):
        for epochs in table.epochs:
            cells = _build_relation_cells(data, network, epochs, domain)
            body += [cells] if cells else []
    blocks: list[Block] = [Paragraph(_RELATION_INTRO)]
    if body:
        head = (
            "domain",
            "epochs",
            "TA",
            AccuracyKind.PGD4_CLIPPED.value,
            *(m.replace("_", " ") for m in _RELATION_MEASURES),
            "refused",
        )
        caption = (
            f"{network.title} on {network.dataset}; {_describe_packet(data)}. "
            f"{numbers.INTERVAL_NOTE} Refused: seeds whose points weigh as much as "
            f"fewer than {MIN_EFFECTIVE_SAMPLES:.0f} equal ones, and as how many; "
            "the means leave them out, and so are not of all trainings."
        )
        blocks.append(Table(head, tuple(body), caption))
        blocks += _build_relation_figures(data, network, table.epochs)
    else:
        blocks.append(Paragraph(f"It was {numbers.NOT_RUN}."))
    title = "Eqs. 14 and 19: the uncertainty relation"
    return Section("uncertainty", title, tuple(blocks))


def _build_relation_cells(
    data: ReportData, network: NetworkPreset, epochs: int, domain: str
) -> tuple[Cell, ...] | None:
    values = [
        estimate_uncertainty(data, network, epochs, measure, domain)
        for measure in _RELATION_MEASURES
    ]
    refused_rows = find_refused_rows(data, network, epochs, domain)
    if not any(values) and not refused_rows:
        return None
    accuracies = [
        estimate_accuracy(data, network, "CL", epochs, kind)
        for kind in (AccuracyKind.CLEAN, AccuracyKind.PGD4_CLIPPED)
    ]
    return (
        Cell(domain),
        Cell(str(epochs)),
        *(numbers.format_cell(x) for x in accuracies),
        *(
            Cell("refused", tone="muted")
            if x is None and refused_rows
            else numbers.format_cell(x, 5)
            for x in values
        ),
        Cell(_format_refused_sizes(refused_rows) or "-", tuple(refused_rows), "muted"),
    )


def _format_refused_sizes(refused_rows: list[Row]) -> str:
    return ", ".join(f"seed {row.seed}: {row.value:.0f}" for row in refused_rows)


def _describe_packet(data: ReportData) -> str:
    """Returns whose packet it is, and of how many points."""
    rows = data.find(
        evaluation=_UNCERTAINTY_EVALUATION,
        measure="sigma_p",
        packet="loss",
        control=None,
        over="pixels",
        statistic="mean",
        estimator="importance",
    )
    labels = sorted({row.parameters["label"] for row in rows})
    counts = sorted({f"{row.n:,}" for row in rows})
    return (
        f"the loss of label {', '.join(map(str, labels))}, "
        f"{' or '.join(counts)} points; a window stands on the mean image of "
        "that label"
    )


def _build_relation_figures(
    data: ReportData, network: NetworkPreset, epochs: tuple[int, ...]
) -> list[ReportFigure]:
    figures = []
    for domain in list_domains(data):
        points = {
            measure: {
                n: (x.value, x.low, x.high)
                for n in epochs
                if (x := estimate_uncertainty(data, network, n, measure, domain))
            }
            for measure in _RELATION_MEASURES
        }
        if not points["sigma_p"]:
            continue
        title = f"{network.title} on {network.dataset}, {domain}"
        figures.append(
            ReportFigure(
                f"uncertainty-{domain.replace(':', '-')}",
                products.plot_uncertainty_products(points, title),
                f"sigma_x, sigma_p and their product over epochs: {title}.",
                f"Left: sigma_p; right: the product and its bound: {title}. Bars: 95 % intervals.",
            )
        )
    return figures
