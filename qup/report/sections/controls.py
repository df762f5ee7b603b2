"""The controls: whose accuracy is the pair's, and counter-examples."""

from collections.abc import Iterable

from qup.evidence_figures import controls as drawing
from qup.evidence_figures import frontier
from qup.evidence_figures.controls import Control
from qup.evidence_figures.trainings import NetworkStyle as NetworkStyle
from qup.report import numbers, sections
from qup.report.blocks import Block, Cell, Paragraph, ReportFigure, Section, Table
from qup.report.estimates import IntervalEstimate
from qup.report.material import ReportData
from qup.report.selection import AccuracyKind, estimate_accuracy
from qup.scales import NetworkPreset

_CONTROL_KINDS = (
    AccuracyKind.CLEAN,
    AccuracyKind.PGD4_CLIPPED,
    AccuracyKind.PGD4_UNCLIPPED,
    AccuracyKind.PGD_STRONG,
    AccuracyKind.WORST_CASE,
)
# What a pair with these deltas was taught, by the parameter "control".
_CONTROL_TITLES = {
    "permuted_labels": "ACL, walk with permuted labels",
    "predicted_labels": "ACL, walk with the classifier's own labels",
    "class_template": "ACL, one fixed Delta a class",
    "delta_1": "ACL, one long step instead of N",
}
_CONTROLS_INTRO = (
    "Delta_N is made with the true label, so a translator that learns it "
    "learns to classify. If the pair's gain were the paper's conjugate "
    "structure, it should vanish with permuted labels, and be greater with "
    "Delta_N than with one fixed pattern a class; if it is the translator's "
    "own knowledge of the classes, a fixed pattern does as well, and a plain "
    "classifier of the translator's size is as accurate."
)


@sections.register(order=60)
def controls(data: ReportData) -> Section:
    """Returns the section."""
    table = data.scale.tables["table2"]
    network, epochs = table.networks[0], table.epochs[0]
    table_rows = list(_iter_control_rows(data, network, epochs))
    blocks: list[Block] = [Paragraph(_CONTROLS_INTRO)]
    if any(any(estimates.values()) for _, estimates in table_rows):
        blocks.append(_build_controls_table(data, table_rows))
        blocks.append(_build_controls_figure(data, table_rows, network, epochs))
        blocks += _build_frontier_figures(data, network)
    else:
        blocks.append(Paragraph(f"They were {numbers.NOT_RUN}."))
    return Section("controls", "Controls", tuple(blocks))


def _iter_control_rows(
    data: ReportData, network: NetworkPreset, epochs: int
) -> Iterable[tuple[str, dict[AccuracyKind, IntervalEstimate | None]]]:
    """Yields titles, and what every look found."""

    def estimate_kinds(network_preset: NetworkPreset, classifier: str, num_epochs: int, **filters):
        return {
            kind: estimate_accuracy(data, network_preset, classifier, num_epochs, kind, **filters)
            for kind in _CONTROL_KINDS
        }

    yield "CL", estimate_kinds(network, "CL", epochs)
    yield "ACL", estimate_kinds(network, "ACL", epochs)
    classifier_only = estimate_kinds(network, "ACL", epochs, through="classifier")
    yield "ACL, attacked through the classifier alone", classifier_only
    for control, title in _CONTROL_TITLES.items():
        yield title, estimate_kinds(network, "ACL", epochs, control=control)
    measured_widths = {
        row.parameters.get("translator_width")
        for row in data.find(
            dataset=network.dataset,
            model=network.model,
            classifier="ACL",
            epochs=epochs,
            control=None,
        )
    }
    for width in data.scale.widths:
        if width in measured_widths:
            continue
        estimates = estimate_kinds(network, "ACL", epochs, control=f"width_{width}")
        yield f"ACL, translator of width {width}", estimates
    unet = NetworkPreset(network.dataset, "unet_classifier", "")
    for num_epochs in sorted({r.epochs for r in data.find(model=unet.model)}):
        yield "U-Net of the translator's size", estimate_kinds(unet, "CL", num_epochs)
    for method, title in (("pgd_at", "PGD-AT"), ("trades", "TRADES")):
        for num_epochs in data.scale.robust_epochs:
            estimates = estimate_kinds(network, "CL", num_epochs, method=method)
            yield f"CL by {title}, {numbers.format_count(num_epochs, 'epoch')}", estimates


def _build_controls_table(data: ReportData, table_rows: list) -> Table:
    body = tuple(
        (Cell(title), *(numbers.format_cell(estimates[kind]) for kind in _CONTROL_KINDS))
        for title, estimates in table_rows
    )
    head = ("", *(kind.format_title(data) for kind in _CONTROL_KINDS))
    return Table(head, body, f"Percent. {numbers.INTERVAL_NOTE}")


def _build_controls_figure(
    data: ReportData, table_rows: list, network: NetworkPreset, epochs: int
) -> ReportFigure:
    drawn_controls = [
        Control(
            title,
            {
                kind.title(data): (x.value, x.low, x.high)
                for kind, x in estimates.items()
                if x is not None and kind is not AccuracyKind.PGD4_UNCLIPPED
            },
        )
        for title, estimates in table_rows
        if any(estimates.values())
    ]
    title = numbers.format_network(network.title, network.dataset, epochs)
    return ReportFigure(
        "controls",
        drawing.plot_controls(drawn_controls, title=title),
        f"TA and RA of the classifier, the pair and every control: {title}.",
        f"TA and RA of CL, ACL and every control that was run: {title}. Bars: 95 % intervals.",
    )


def _build_frontier_figures(data: ReportData, network: NetworkPreset) -> list[ReportFigure]:
    """Draws every training of the network, TA against RA."""
    epochs = data.scale.tables["table2"].epochs
    trainings = (
        ("standard", None, epochs),
        ("pgd_at", "pgd_at", data.scale.robust_epochs),
        ("trades", "trades", data.scale.robust_epochs),
    )
    training_paths = []
    for training, method, epoch_counts in trainings:
        points = {}
        for n in epoch_counts:
            pair = [
                estimate_accuracy(data, network, "CL", n, kind, method=method)
                for kind in (AccuracyKind.CLEAN, AccuracyKind.WORST_CASE)
            ]
            if all(pair):
                points[n] = tuple((x.value, x.low, x.high) for x in pair)
        if points:
            style = NetworkStyle(network.title, network.model, training)
            training_paths.append(frontier.TrainingPath(style, points))
    if not training_paths:
        return []
    attack = AccuracyKind.WORST_CASE.format_title(data).removeprefix("RA, ")
    figure = frontier.plot_frontier(
        training_paths,
        title=f"{network.title} on {network.dataset}",
        attack=attack,
        note="bars: 95 % intervals; numbers: epochs",
    )
    return [
        ReportFigure(
            "frontier",
            figure,
            "Test accuracy against robust accuracy of standard and robust trainings.",
            "TA against RA: arrows go from fewer to more epochs. A strict "
            "trade-off would leave no point above and to the right of "
            "another.",
        )
    ]
