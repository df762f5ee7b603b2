"""Eqs. 14 and 19: sigma_x, sigma_p, their product and its bound; translators and temperature."""

from collections.abc import Iterator

from qup.reproduction.presets import NetworkPreset
from qup.reproduction.report import document, queries, sections
from qup.reproduction.report.data import AccuracyKind, ReportData, estimate_accuracy
from qup.reproduction.report.document import Block, Cell, Paragraph, ReportFigure, Table
from qup.reproduction.report.figures import controls
from qup.reproduction.report.queries import RELATION_MEASURES
from qup.reproduction.report.statistics import IntervalEstimate, average_over_seeds, compute_change
from qup.uncertainty.importance import MIN_EFFECTIVE_SAMPLES

_ACCURACY_KINDS = (AccuracyKind.CLEAN, AccuracyKind.PGD4_CLIPPED)
_MEASURE_TITLES = tuple(measure.replace("_", " ") for measure in RELATION_MEASURES)


@sections.register(order=100, title="Eqs. 14 and 19: the uncertainty relation")
def uncertainty(data: ReportData) -> Iterator[Block]:
    """Yields the relation of a classifier's packet over epochs, per domain."""
    network = data.main_network
    domains = queries.list_domains(data)
    lines = (
        _build_relation_cells(data, network, epochs, domain)
        for domain in domains
        for epochs in data.main_epochs
    )
    body = tuple(cells for cells in lines if cells)
    if not body:
        return
    yield Table(
        ("domain", "epochs", "TA", AccuracyKind.PGD4_CLIPPED.value, *_MEASURE_TITLES, "refused"),
        body,
        f"{document.format_network(network)}; {_describe_packet(data)}. {document.INTERVAL_NOTE} "
        "Refused: seeds whose effective sample size is below "
        f"{MIN_EFFECTIVE_SAMPLES:.0f}, with that size; the means exclude them, so they are not of "
        "all trainings.",
    )
    for domain in domains:
        points = {
            measure: {
                n: estimate.point
                for n in data.main_epochs
                if (estimate := queries.estimate_uncertainty(data, network, n, measure, domain))
            }
            for measure in RELATION_MEASURES
        }
        if points["sigma_p"]:
            title = f"{document.format_network(network)}, {domain}"
            yield ReportFigure(
                f"uncertainty-{domain.replace(':', '-')}",
                controls.plot_uncertainty_products(points, title),
                f"sigma_x, sigma_p and their product over epochs: {title}.",
                f"Left: sigma_p; right: the product and its bound: {title}. Bars: 95 % intervals.",
            )


def _build_relation_cells(
    data: ReportData, network: NetworkPreset, epochs: int, domain: str
) -> tuple[Cell, ...] | None:
    estimates = [
        queries.estimate_uncertainty(data, network, epochs, measure, domain)
        for measure in RELATION_MEASURES
    ]
    refused_rows = queries.find_refused_rows(data, network, epochs, domain)
    if not any(estimates) and not refused_rows:
        return None
    refused_text = ", ".join(f"seed {row.seed}: {row.value:.0f}" for row in refused_rows)
    return (
        Cell(domain),
        Cell(str(epochs)),
        *(
            document.format_cell(estimate_accuracy(data, network, "CL", epochs, kind))
            for kind in _ACCURACY_KINDS
        ),
        *(_format_relation_cell(estimate, bool(refused_rows)) for estimate in estimates),
        Cell(refused_text or "-", tuple(refused_rows), "muted"),
    )


def _format_relation_cell(estimate: IntervalEstimate | None, is_refused: bool) -> Cell:
    if estimate is None and is_refused:
        return Cell("refused", tone="muted")
    return document.format_cell(estimate, 5)


def _describe_packet(data: ReportData) -> str:
    """Returns the label of the packet and the number of points."""
    frame = queries.select_sigma_p(data)
    frame = frame[(frame["estimator"] == "importance") & (frame["over"] == "pixels")]
    frame = frame[frame["statistic"] == "mean"]
    labels = ", ".join(map(str, sorted(frame["label"].unique())))
    counts = " or ".join(sorted(f"{n:,}" for n in frame["n"].unique()))
    return (
        f"the loss of label {labels}, {counts} points; a window is around the mean image of that "
        "label"
    )


@sections.register(order=102, title="The uncertainty relation of the translator")
def generators(data: ReportData) -> Iterator[Block]:
    """Yields the relation of a translator's own loss, per domain."""
    estimates = {
        measure: queries.estimate_generator(data, measure) for measure in RELATION_MEASURES
    }
    domains = sorted(set().union(*estimates.values()))
    if not domains:
        return
    title = document.format_network(data.main_network, data.main_epochs[0])
    yield Table(
        ("domain", *_MEASURE_TITLES),
        tuple(
            (
                Cell(domain),
                *(document.format_cell(values.get(domain), 5) for values in estimates.values()),
            )
            for domain in domains
        ),
        f"Translator before {title}; means over pixels. {document.INTERVAL_NOTE}",
    )


@sections.register(order=64, title="Temperature: same decisions, another sigma_p")
def temperature(data: ReportData) -> Iterator[Block]:
    """Yields TA, RA and sigma_p of one network at several temperatures."""
    network, domains = data.main_network, queries.list_domains(data)
    body, details = [], []
    for epochs in data.main_epochs:
        temperatures = sorted(queries.find_comparable_seeds(data, network, epochs))
        if not temperatures:
            continue
        accuracies = {
            kind: {
                t: average_over_seeds(
                    queries.find_rows_at_temperature(data, network, epochs, kind, t)
                )
                for t in temperatures
            }
            for kind in _ACCURACY_KINDS
        }
        deviations = {
            domain: {
                t: queries.estimate_sigma_p(data, network, epochs, domain, t) for t in temperatures
            }
            for domain in domains
        }
        refused = {
            (domain, t): bool(queries.find_refused_rows(data, network, epochs, domain, t))
            for domain in domains
            for t in temperatures
        }
        for t in temperatures:
            cells = [
                document.format_cell(by_temperature[t]) for by_temperature in accuracies.values()
            ]
            cells += [
                _format_relation_cell(deviations[domain][t], refused[domain, t])
                for domain in domains
            ]
            body.append((Cell(str(epochs)), Cell(f"{t:g}"), *cells))
        title = document.format_network(network, epochs)
        changes_text = " ".join(
            _describe_changes(accuracies, deviations, refused, t) for t in temperatures if t != 1
        )
        details.append(Paragraph(f"{title}, against T = 1. {changes_text}"))
        details.append(
            ReportFigure(
                f"temperature-{network.dataset}-{network.model}-{epochs}",
                controls.plot_temperatures(
                    {kind.value: _list_points(x) for kind, x in accuracies.items()},
                    {domain: _list_points(x) for domain, x in deviations.items()},
                    title,
                ),
                f"TA, RA and sigma_p over the temperature of the logits: {title}.",
                f"Left: TA and RA under the paper's attack; right: sigma_p, if measured: {title}.",
            )
        )
    if body:
        head = ("epochs", "T", "TA", AccuracyKind.PGD4_CLIPPED.value)
        yield Table(
            (*head, *(f"sigma_p, {domain}" for domain in domains)),
            tuple(body),
            f"{document.format_network(network)}, percent. {document.INTERVAL_NOTE}",
        )
        yield from details


_ByTemperature = dict[float, IntervalEstimate | None]


def _list_points(estimates: _ByTemperature) -> dict[float, tuple[float, float, float]]:
    return {t: estimate.point for t, estimate in estimates.items() if estimate is not None}


def _describe_changes(
    accuracies: dict[AccuracyKind, _ByTemperature],
    deviations: dict[str, _ByTemperature],
    refused: dict[tuple[str, float], bool],
    t: float,
) -> str:
    """Returns "T = 4: TA is the same within 0.05 points, of 5 seeds; ..."."""
    clean, robust = (accuracies[kind] for kind in _ACCURACY_KINDS)
    seeds_text = document.format_count(clean[t].num_seeds if clean[t] else 0, "seed")
    robust_rows = [estimate.rows if estimate else () for estimate in (robust[1.0], robust[t])]
    difference = compute_change(*robust_rows)
    robust_text = document.NOT_RUN
    if difference is not None:
        robust_text = f"differs by {document.format_estimate(difference)} points"
    texts = [
        f"TA is the same within {queries.ACCURACY_TOLERANCE:g} points, of {seeds_text}",
        f"{AccuracyKind.PGD4_CLIPPED.value} {robust_text}",
    ]
    for domain, estimates in deviations.items():
        ratio = _compute_mean_ratio(estimates[1.0], estimates[t])
        text = f"was {document.NOT_RUN}"
        if ratio is not None:
            text = f"is {ratio:.2f} times as large"
        elif refused[domain, t]:
            text = "was refused"
        texts.append(f"sigma_p ({domain}) {text}")
    return f"T = {t:g}: {'; '.join(texts)}."


def _compute_mean_ratio(
    before: IntervalEstimate | None, after: IntervalEstimate | None
) -> float | None:
    """Returns the mean of after / before over the seeds of both; None without a common seed."""
    if before is None or after is None:
        return None
    first = {row.seed: row.value for row in before.rows}
    ratios = [row.value / first[row.seed] for row in after.rows if first.get(row.seed)]
    return sum(ratios) / len(ratios) if ratios else None
