"""The capacity sweep: what larger translators learn of Delta, and what for."""

from qup.evidence_figures import capacity as drawing
from qup.report import numbers, sections, translators
from qup.report.blocks import Block, Cell, Paragraph, ReportFigure, Section, Table
from qup.report.estimates import IntervalEstimate, average_over_seeds, compute_change
from qup.report.material import ReportData
from qup.report.selection import AccuracyKind, estimate_accuracy
from qup.report.translators import TranslatorResults
from qup.scales import NetworkPreset

_CAPACITY_INTRO = (
    "The supplement holds that no Pix2Pix learns Delta_N. Here is the mean "
    "error of Delta on test images, as a share of the mean |Delta|: 1 is what "
    "no translation at all would miss. The line of the class template is a "
    "fixed pattern for the true class; a translator above it knows less of "
    "Delta than the class alone tells. If a larger network, or Delta_1 instead "
    "of Delta_N, brings the error down, it is a matter of capacity or of the "
    "target, and no principle; if the accuracies do not follow the error, "
    "they are made of something else."
)
_CAPACITY_COLUMNS = (
    "translator",
    "parameters",
    "error of Delta",
    "of the class template",
    "ACL: TA",
    f"ACL: {AccuracyKind.PGD4_CLIPPED.value}",
    "images",
)
_CAPACITY_TITLE = "Capacity: translators of other sizes, and Delta_1"


@sections.register(order=66)
def capacity(data: ReportData) -> Section:
    """Returns the section."""
    table = data.scale.tables["table2"]
    network, epochs = table.networks[0], table.epochs[0]
    blocks: list[Block] = [Paragraph(_CAPACITY_INTRO)]
    sizes = translators.find_translators_by_size(data, network, epochs)
    if not sizes:
        blocks.append(Paragraph(f"It was {numbers.NOT_RUN}."))
        return Section("capacity", _CAPACITY_TITLE, tuple(blocks))
    body = tuple(_build_capacity_cells(data, network, epochs, translator) for translator in sizes)
    title = numbers.format_network(network.title, network.dataset, epochs)
    caption = (
        f"Errors as shares of the mean |Delta|, accuracies in percent: {title}."
        f" {numbers.INTERVAL_NOTE}"
    )
    blocks += [
        Table(_CAPACITY_COLUMNS, body, caption),
        Paragraph(_describe_size_effect(sizes)),
        _build_capacity_figure(data, network, epochs, sizes),
    ]
    return Section("capacity", _CAPACITY_TITLE, tuple(blocks))


def _estimate_pair(
    data: ReportData,
    network: NetworkPreset,
    epochs: int,
    translator: TranslatorResults,
    kind: AccuracyKind,
) -> IntervalEstimate | None:
    return estimate_accuracy(data, network, "ACL", epochs, kind, control=translator.control)


def _build_capacity_cells(
    data: ReportData, network: NetworkPreset, epochs: int, translator: TranslatorResults
) -> tuple[Cell, ...]:
    error = average_over_seeds(translator.error_rows)
    template = average_over_seeds(
        translators.find_translation_errors(
            data, network, epochs, translator.control, "class_template"
        )
    )
    return (
        Cell(translator.title),
        Cell(f"{translator.num_parameters:,}"),
        numbers.format_cell(error, 4),
        numbers.format_cell(template, 4),
        *(
            numbers.format_cell(_estimate_pair(data, network, epochs, translator, kind))
            for kind in (AccuracyKind.CLEAN, AccuracyKind.PGD4_CLIPPED)
        ),
        Cell(f"{error.n:,}"),
    )


def _describe_size_effect(sizes: list[TranslatorResults]) -> str:
    """Says whether the error falls with the size, and for Delta_1."""
    delta_n_sizes = [translator for translator in sizes if translator.predicts_delta_n]
    text = f"Sizes of Delta_N: {len(delta_n_sizes)}. "
    gain = None
    if len(delta_n_sizes) > 1:
        gain = compute_change(delta_n_sizes[0].error_rows, delta_n_sizes[-1].error_rows)
    if gain is None:
        text += "Whether the error falls with the size is undecided: at "
        text += "least two sizes of the same seeds are needed."
    else:
        conclusion = {
            -1: "the error falls with the size",
            0: "no change with the size can be told from chance",
            1: "the error grows with the size",
        }[gain.sign]
        text += (
            f"From {delta_n_sizes[0].num_parameters:,} to {delta_n_sizes[-1].num_parameters:,} "
            f"parameters the error changes by {numbers.format_estimate(gain, 4)}: {conclusion}."
        )
    delta_1 = next((translator for translator in sizes if translator.control == "delta_1"), None)
    delta_n = next((translator for translator in sizes if translator.control is None), None)
    if delta_1 is None or delta_n is None:
        return f"{text} Delta_1 against Delta_N: {numbers.NOT_RUN}."
    gain = compute_change(delta_n.error_rows, delta_1.error_rows)
    if gain is None:
        return f"{text} Delta_1 against Delta_N: no seed has both."
    conclusion = {
        -1: "Delta_1 is learnt better",
        1: "Delta_1 is learnt worse",
        0: "which is learnt better is undecided",
    }[gain.sign]
    return (
        f"{text} Error of Delta_1 less that of Delta_N, by translators of "
        f"one size: {numbers.format_estimate(gain, 4)}: {conclusion}."
    )


def _build_capacity_figure(
    data: ReportData, network: NetworkPreset, epochs: int, sizes: list[TranslatorResults]
) -> ReportFigure:
    series: dict[str, dict[int, tuple]] = {}
    accuracies: dict[str, dict[int, tuple]] = {}
    for translator in sizes:
        name = "Delta_N" if translator.predicts_delta_n else "Delta_1"
        error = average_over_seeds(translator.error_rows)
        series.setdefault(name, {})[translator.num_parameters] = error.point
        for kind in (AccuracyKind.CLEAN, AccuracyKind.PGD4_CLIPPED):
            estimate = _estimate_pair(data, network, epochs, translator, kind)
            if estimate is not None and translator.predicts_delta_n:
                curve = accuracies.setdefault(f"ACL, {kind.value}", {})
                curve[translator.num_parameters] = estimate.point
    references = {
        f"CL, {kind.value}": x.point
        for kind in (AccuracyKind.CLEAN, AccuracyKind.PGD4_CLIPPED)
        if (x := estimate_accuracy(data, network, "CL", epochs, kind))
    }
    reference = next((translator for translator in sizes if translator.predicts_delta_n), sizes[0])
    template_error = average_over_seeds(
        translators.find_translation_errors(
            data, network, epochs, reference.control, "class_template"
        )
    )
    title = numbers.format_network(network.title, network.dataset, epochs)
    return ReportFigure(
        "capacity",
        drawing.plot_capacity(
            series,
            accuracies,
            references,
            title=title,
            template_error=template_error and template_error.point,
        ),
        "Error of Delta, and TA and RA of the pair, over the number of "
        f"parameters of the translator: {title}.",
        "Above: the error of Delta on test images; below: TA and RA of the "
        f"pairs, and of the classifier alone across: {title}.",
    )
