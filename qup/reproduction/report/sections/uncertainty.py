"""Eqs. 14 and 19: sigma_x, sigma_p, their product and its bound."""

from collections.abc import Iterator

from qup.core.measurements import Row
from qup.reproduction.presets import NetworkPreset
from qup.reproduction.report import document, queries, sections
from qup.reproduction.report.data import (
    AccuracyKind,
    ReportData,
    build_network_filters,
    estimate_accuracy,
)
from qup.reproduction.report.document import Block, Cell, Paragraph, ReportFigure, Section, Table
from qup.reproduction.report.figures import controls
from qup.reproduction.report.queries import (
    _UNCERTAINTY_EVALUATION,
    estimate_uncertainty,
    find_refused_rows,
    list_domains,
)
from qup.reproduction.report.statistics import IntervalEstimate, average_over_seeds, compute_change
from qup.uncertainty.importance import MIN_EFFECTIVE_SAMPLES

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
            f"{document.INTERVAL_NOTE} Refused: seeds whose points weigh as much as "
            f"fewer than {MIN_EFFECTIVE_SAMPLES:.0f} equal ones, and as how many; "
            "the means leave them out, and so are not of all trainings."
        )
        blocks.append(Table(head, tuple(body), caption))
        blocks += _build_relation_figures(data, network, table.epochs)
    else:
        blocks.append(Paragraph(f"It was {document.NOT_RUN}."))
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
        *(document.format_cell(x) for x in accuracies),
        *(
            Cell("refused", tone="muted")
            if x is None and refused_rows
            else document.format_cell(x, 5)
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
                controls.plot_uncertainty_products(points, title),
                f"sigma_x, sigma_p and their product over epochs: {title}.",
                f"Left: sigma_p; right: the product and its bound: {title}. Bars: 95 % intervals.",
            )
        )
    return figures


# The supplement's section 3: the relation of a generator's own loss.


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
        network_title = document.format_network(network.title, network.dataset, epochs)
        head = ("domain", *(m.replace("_", " ") for m in _GENERATOR_MEASURES))
        caption = f"Translator before {network_title}; means over pixels."
        blocks.append(Table(head, body, f"{caption} {document.INTERVAL_NOTE}"))
    else:
        blocks.append(Paragraph(f"It was {document.NOT_RUN}."))
    title = "The uncertainty relation of the translator"
    return Section("generators", title, tuple(blocks))


def _iter_generator_cells(data: ReportData) -> Iterator[tuple[Cell, ...]]:
    for domain in list_generator_domains(data):
        yield (
            Cell(domain),
            *(
                document.format_cell(estimate_generator(data, measure, domain), 5)
                for measure in _GENERATOR_MEASURES
            ),
        )


# The temperature control: the same decisions, and another sigma_p.


_TEMPERATURE_INTRO = (
    "Logits divided by a temperature T decide every image as before, so TA is "
    "the same to the last image, and so is every adversarial image: RA under "
    "an attack that finds them all cannot move. sigma_p is of the loss, and "
    "does move. RA under four steps of cross-entropy may move as well, because "
    "its gradient weighs the other classes by their probabilities, and is "
    "rounded to zero where the network is sure: then the attack is weaker, "
    "and not the network more robust."
)
_TEMPERATURE_TITLE = "Temperature: same decisions, another sigma_p"
_TEMPERATURE_KINDS = (AccuracyKind.CLEAN, AccuracyKind.PGD4_CLIPPED)
_TEMPERATURE_COLUMNS = ("epochs", "T", "TA", AccuracyKind.PGD4_CLIPPED.value)


@sections.register(order=64)
def temperature(data: ReportData) -> Section:
    """Returns the section."""
    network = data.scale.tables["table2"].networks[0]
    blocks: list[Block] = [Paragraph(_TEMPERATURE_INTRO)]
    domains = queries.list_domains(data)
    body, details = [], []
    for epochs in data.scale.tables["table2"].epochs:
        temperature_values = sorted(queries.find_comparable_seeds(data, network, epochs))
        for temperature_value in temperature_values:
            body.append(_build_temperature_cells(data, network, epochs, temperature_value, domains))
        if temperature_values:
            details += _iter_temperature_blocks(data, network, epochs, temperature_values)
    if not body:
        blocks.append(Paragraph(f"It was {document.NOT_RUN}."))
        return Section("temperature", _TEMPERATURE_TITLE, tuple(blocks))
    head = (*_TEMPERATURE_COLUMNS, *(f"sigma_p, {domain}" for domain in domains))
    caption = f"{network.title} on {network.dataset}, percent. {document.INTERVAL_NOTE}"
    blocks += [Table(head, tuple(body), caption), *details]
    return Section("temperature", _TEMPERATURE_TITLE, tuple(blocks))


def _build_temperature_cells(
    data: ReportData,
    network: NetworkPreset,
    epochs: int,
    temperature_value: float,
    domains: list[str],
) -> tuple[Cell, ...]:
    accuracies = (
        average_over_seeds(
            queries.find_rows_at_temperature(data, network, epochs, kind, temperature_value)
        )
        for kind in _TEMPERATURE_KINDS
    )
    deviations = (
        _format_sigma_p(data, network, epochs, domain, temperature_value) for domain in domains
    )
    return (
        Cell(str(epochs)),
        Cell(f"{temperature_value:g}"),
        *(document.format_cell(x) for x in accuracies),
        *deviations,
    )


def _format_sigma_p(
    data: ReportData, network: NetworkPreset, epochs: int, domain: str, temperature_value: float
) -> Cell:
    arguments = (data, network, epochs, domain, temperature_value)
    estimate = queries.estimate_sigma_p(*arguments)
    if estimate is None and queries.find_refused_rows(*arguments):
        return Cell("refused", tone="muted")
    return document.format_cell(estimate, 5)


def _iter_temperature_blocks(
    data: ReportData, network: NetworkPreset, epochs: int, temperature_values: list[float]
) -> Iterator[Block]:
    """Yields what moved, in words, and the figure."""
    title = document.format_network(network.title, network.dataset, epochs)
    accuracies = {
        kind.value: _collect_points(
            {
                temperature_value: average_over_seeds(
                    queries.find_rows_at_temperature(data, network, epochs, kind, temperature_value)
                )
                for temperature_value in temperature_values
            }
        )
        for kind in _TEMPERATURE_KINDS
    }
    deviations = {
        domain: _collect_points(
            {
                temperature_value: queries.estimate_sigma_p(
                    data, network, epochs, domain, temperature_value
                )
                for temperature_value in temperature_values
            }
        )
        for domain in queries.list_domains(data)
    }
    changes_text = " ".join(
        _describe_changes(data, network, epochs, temperature_value)
        for temperature_value in temperature_values
        if temperature_value != 1
    )
    yield Paragraph(f"{title}, against T = 1. {changes_text}")
    yield ReportFigure(
        f"temperature-{network.dataset}-{network.model}-{epochs}",
        controls.plot_temperatures(accuracies, deviations, title),
        f"TA, RA and sigma_p over the temperature of the logits: {title}.",
        "Left: TA and RA under the paper's attack; right: sigma_p, where it "
        f"was measured: {title}.",
    )


def _collect_points(
    estimates: dict[float, IntervalEstimate | None],
) -> dict[float, tuple[float, float, float]]:
    return {
        temperature_value: x.point for temperature_value, x in estimates.items() if x is not None
    }


def _describe_changes(
    data: ReportData, network: NetworkPreset, epochs: int, temperature_value: float
) -> str:
    """Returns "T = 4: TA differs by 0.00 ± 0.00 (5) points, ..."."""
    texts = []
    for kind in _TEMPERATURE_KINDS:
        before, after = (
            queries.find_rows_at_temperature(data, network, epochs, kind, t)
            for t in (1.0, temperature_value)
        )
        if kind is AccuracyKind.CLEAN:
            seeds_text = document.format_count(len(after), "seed")
            texts.append(
                f"TA is the same within {queries.ACCURACY_TOLERANCE:g} points, of {seeds_text}"
            )
            continue
        difference = compute_change(before, after)
        text = document.NOT_RUN
        if difference is not None:
            text = f"differs by {document.format_estimate(difference)} points"
        texts.append(f"{kind.value} {text}")
    for domain in queries.list_domains(data):
        ratio = queries.compute_mean_ratio(
            *(
                queries.estimate_sigma_p(data, network, epochs, domain, t)
                for t in (1.0, temperature_value)
            )
        )
        text = f"was {document.NOT_RUN}"
        if ratio is None and queries.find_refused_rows(
            data, network, epochs, domain, temperature_value
        ):
            text = "was refused"
        if ratio is not None:
            text = f"is {ratio:.2f} times as large"
        texts.append(f"sigma_p ({domain}) {text}")
    return f"T = {temperature_value:g}: {'; '.join(texts)}."
