"""The temperature control: the same decisions, and another sigma_p."""

from collections.abc import Iterator

from qup.evidence_figures import temperatures
from qup.report import heated, numbers, sections
from qup.report.blocks import Block, Cell, Paragraph, ReportFigure, Section, Table
from qup.report.estimates import IntervalEstimate, average_over_seeds, compute_change
from qup.report.material import ReportData
from qup.report.sections import uncertainty
from qup.report.selection import AccuracyKind
from qup.scales import NetworkPreset

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
    domains = uncertainty.list_domains(data)
    body, details = [], []
    for epochs in data.scale.tables["table2"].epochs:
        temperature_values = sorted(heated.find_comparable_seeds(data, network, epochs))
        for temperature_value in temperature_values:
            body.append(_build_temperature_cells(data, network, epochs, temperature_value, domains))
        if temperature_values:
            details += _iter_temperature_blocks(data, network, epochs, temperature_values)
    if not body:
        blocks.append(Paragraph(f"It was {numbers.NOT_RUN}."))
        return Section("temperature", _TEMPERATURE_TITLE, tuple(blocks))
    head = (*_TEMPERATURE_COLUMNS, *(f"sigma_p, {domain}" for domain in domains))
    caption = f"{network.title} on {network.dataset}, percent. {numbers.INTERVAL_NOTE}"
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
            heated.find_rows_at_temperature(data, network, epochs, kind, temperature_value)
        )
        for kind in _TEMPERATURE_KINDS
    )
    deviations = (
        _format_sigma_p(data, network, epochs, domain, temperature_value) for domain in domains
    )
    return (
        Cell(str(epochs)),
        Cell(f"{temperature_value:g}"),
        *(numbers.format_cell(x) for x in accuracies),
        *deviations,
    )


def _format_sigma_p(
    data: ReportData, network: NetworkPreset, epochs: int, domain: str, temperature_value: float
) -> Cell:
    arguments = (data, network, epochs, domain, temperature_value)
    estimate = heated.estimate_sigma_p(*arguments)
    if estimate is None and uncertainty.find_refused_rows(*arguments):
        return Cell("refused", tone="muted")
    return numbers.format_cell(estimate, 5)


def _iter_temperature_blocks(
    data: ReportData, network: NetworkPreset, epochs: int, temperature_values: list[float]
) -> Iterator[Block]:
    """Yields what moved, in words, and the figure."""
    title = numbers.format_network(network.title, network.dataset, epochs)
    accuracies = {
        kind.value: _collect_points(
            {
                temperature_value: average_over_seeds(
                    heated.find_rows_at_temperature(data, network, epochs, kind, temperature_value)
                )
                for temperature_value in temperature_values
            }
        )
        for kind in _TEMPERATURE_KINDS
    }
    deviations = {
        domain: _collect_points(
            {
                temperature_value: heated.estimate_sigma_p(
                    data, network, epochs, domain, temperature_value
                )
                for temperature_value in temperature_values
            }
        )
        for domain in uncertainty.list_domains(data)
    }
    changes_text = " ".join(
        _describe_changes(data, network, epochs, temperature_value)
        for temperature_value in temperature_values
        if temperature_value != 1
    )
    yield Paragraph(f"{title}, against T = 1. {changes_text}")
    yield ReportFigure(
        f"temperature-{network.dataset}-{network.model}-{epochs}",
        temperatures.plot_temperatures(accuracies, deviations, title),
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
            heated.find_rows_at_temperature(data, network, epochs, kind, t)
            for t in (1.0, temperature_value)
        )
        if kind is AccuracyKind.CLEAN:
            seeds_text = numbers.format_count(len(after), "seed")
            texts.append(
                f"TA is the same within {heated.ACCURACY_TOLERANCE:g} points, of {seeds_text}"
            )
            continue
        difference = compute_change(before, after)
        text = numbers.NOT_RUN
        if difference is not None:
            text = f"differs by {numbers.format_estimate(difference)} points"
        texts.append(f"{kind.value} {text}")
    for domain in uncertainty.list_domains(data):
        ratio = heated.compute_mean_ratio(
            *(
                heated.estimate_sigma_p(data, network, epochs, domain, t)
                for t in (1.0, temperature_value)
            )
        )
        text = f"was {numbers.NOT_RUN}"
        if ratio is None and uncertainty.find_refused_rows(
            data, network, epochs, domain, temperature_value
        ):
            text = "was refused"
        if ratio is not None:
            text = f"is {ratio:.2f} times as large"
        texts.append(f"sigma_p ({domain}) {text}")
    return f"T = {temperature_value:g}: {'; '.join(texts)}."
