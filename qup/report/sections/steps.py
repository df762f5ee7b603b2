"""Eqs. 21 and 22: RA by sign steps and by gradient steps."""

from qup.evidence_figures import steps
from qup.evidence_figures.steps import StepCurve
from qup.measurements import Row
from qup.report import numbers, sections
from qup.report.blocks import Block, Cell, Paragraph, ReportFigure, Section, Table
from qup.report.estimates import average_over_seeds
from qup.report.material import ReportData
from qup.scales import NetworkPreset

STEP_EVALUATION = "gradient_steps"
STEP_LOSSES = ("cross_entropy", "squared", "margin")
_STEPS_INTRO = (
    "Eq. 21 replaces the sign of the gradient by the gradient itself. Here "
    "steps along both have the same length, in L2 or in L-inf, image by "
    "image; the cosine between a gradient and its sign would be 0.798 for "
    "independent Gaussian entries, and is smaller where few pixels carry the "
    "gradient. Attacks of the same L-inf size are weaker along the gradient, "
    "because most of its entries are smaller than its largest."
)


@sections.register(order=70)
def eq21(data: ReportData) -> Section:
    """Returns the section."""
    blocks: list[Block] = [Paragraph(_STEPS_INTRO)]
    head = ("network", "epochs", *(f"cosine, {loss}" for loss in STEP_LOSSES))
    body = []
    for table in data.scale.tables.values():
        network = table.networks[0]
        for epochs in table.epochs:
            rows = data.find(
                dataset=network.dataset,
                model=network.model,
                epochs=epochs,
                evaluation=STEP_EVALUATION,
            )
            if rows:
                body.append(_build_cosine_cells(network, epochs, rows))
                blocks.append(_build_steps_figure(network, epochs, rows))
    if not body:
        blocks.append(Paragraph(f"It was {numbers.NOT_RUN}."))
    else:
        blocks.insert(1, Table(head, tuple(body), numbers.INTERVAL_NOTE))
    return Section("eq21", "Eqs. 21 and 22: sign or gradient", tuple(blocks))


def _build_cosine_cells(network: NetworkPreset, epochs: int, rows: list[Row]) -> tuple:
    cells = [
        numbers.format_cell(
            average_over_seeds(
                [
                    row
                    for row in rows
                    if row.measure == "gradient_sign_cosine" and row.parameters["loss"] == loss
                ]
            ),
            3,
        )
        for loss in STEP_LOSSES
    ]
    title = f"{network.title}, {network.dataset}"
    return (Cell(title), Cell(str(epochs)), *cells)


def _build_steps_figure(network: NetworkPreset, epochs: int, rows: list[Row]) -> ReportFigure:
    rows_by_curve: dict[tuple, dict[float, list[Row]]] = {}
    for row in rows:
        if row.measure == "robust_accuracy":
            parameters = row.parameters
            key = (parameters["direction"], parameters["loss"], parameters["num_steps"])
            rows_by_curve.setdefault(key, {}).setdefault(row.epsilon, []).append(row)
    curves = []
    for key, by_epsilon in rows_by_curve.items():
        points = {}
        for epsilon, epsilon_rows in by_epsilon.items():
            estimate = average_over_seeds(epsilon_rows)
            points[epsilon] = (estimate.value, estimate.low, estimate.high)
        curves.append(StepCurve(*key, points))
    title = numbers.format_network(network.title, network.dataset, epochs)
    return ReportFigure(
        f"eq21-{network.dataset}-{network.model}-{epochs}",
        steps.plot_gradient_steps(curves, title=title, note="bars: 95 % intervals"),
        f"Robust accuracy over epsilon by direction and loss: {title}.",
        f"RA by steps along the sign and along the gradient: {title}.",
    )
