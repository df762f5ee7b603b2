"""Test images walked with true and with predicted labels: blocks of `leaks`.

What the translator is to learn can be made of a test image itself, with its
label; the gain over the same walk with the classifier's own label is what
the label is worth.
"""

from qup.evidence_figures import walks
from qup.measurements import Row
from qup.report import numbers
from qup.report.blocks import Block, Cell, Paragraph, ReportFigure, Table
from qup.report.estimates import IntervalEstimate, average_over_seeds
from qup.report.material import ReportData
from qup.report.selection import build_network_filters
from qup.scales import NetworkPreset

_TEST_TRAJECTORY_INTRO = (
    "The walk needs a label. Of test images it can be made with the true one, "
    "which nobody would know, and with the one that the classifier says. "
    "With its own label a walk can change no wrong decision into a right one "
    "but by chance; what the true label adds is information, not robustness. "
    '"X_0 attacked, then walked" is what a translator that learnt the walk '
    "exactly would defend."
)
_LABEL_TITLES = {"true": "true labels", "predicted": "predicted labels"}
# Key: measure, and which image was attacked.
_CURVE_MEASURES = {
    "clean": ("test_accuracy", None),
    "attacked_after": ("robust_accuracy", "X_n"),
    "attacked_before": ("robust_accuracy", "X_0"),
}
_TEST_TRAJECTORY_COLUMNS = (
    "walked with",
    "n",
    "TA of X_n",
    "RA, X_n attacked",
    "RA, X_0 attacked, then walked",
    "images",
)


def build_test_image_blocks(data: ReportData, network: NetworkPreset, epochs: int) -> list[Block]:
    """Returns words, a table of the walks' ends, and a figure."""
    trajectory_rows = data.find(
        classifier="CL",
        images="X_n",
        split="test",
        control=None,
        **build_network_filters(network, epochs),
    )
    curves = {
        (label, key): _average_curve(trajectory_rows, label, *_CURVE_MEASURES[key])
        for label in _LABEL_TITLES
        for key in _CURVE_MEASURES
    }
    if not any(curves.values()):
        return [Paragraph(_TEST_TRAJECTORY_INTRO), Paragraph(f"This was {numbers.NOT_RUN}.")]
    network_title = numbers.format_network(network.title, network.dataset, epochs)
    body = [
        _build_test_image_cells(curves, label, step)
        for label in _LABEL_TITLES
        for step in _get_first_and_last(curves[label, "clean"])
    ]
    panels = {
        f"walked with {label_title}": {
            key: {n: x.point for n, x in curves[label, key].items()} for key in _CURVE_MEASURES
        }
        for label, label_title in _LABEL_TITLES.items()
        if curves[label, "clean"]
    }
    return [
        Paragraph(_TEST_TRAJECTORY_INTRO),
        Table(
            _TEST_TRAJECTORY_COLUMNS,
            tuple(body),
            f"Percent: {network_title}. {numbers.INTERVAL_NOTE}",
        ),
        ReportFigure(
            "leak-walks",
            walks.plot_label_comparison(panels, network_title),
            "TA and RA of test images over the steps of the walk, with true "
            f"and with predicted labels: {network_title}.",
            "Test images walked with true (left) and with predicted labels (right).",
        ),
    ]


def _average_curve(
    trajectory_rows: list[Row], label: str, measure: str, attacked_image: str | None
) -> dict[int, IntervalEstimate]:
    """Returns n to what was found."""
    rows_by_step: dict[int, list[Row]] = {}
    for row in trajectory_rows:
        parameters = row.parameters
        if (row.measure, parameters.get("attacked_image"), parameters.get("walked_with")) == (
            measure,
            attacked_image,
            label,
        ):
            rows_by_step.setdefault(parameters["step"], []).append(row)
    return {step: average_over_seeds(rows_by_step[step]) for step in sorted(rows_by_step)}


def _get_first_and_last(curve: dict[int, IntervalEstimate]) -> list[int]:
    return list(dict.fromkeys([*list(curve)[:1], *list(curve)[-1:]]))


def _build_test_image_cells(
    curves: dict[tuple[str, str], dict[int, IntervalEstimate]], label: str, step: int
) -> tuple[Cell, ...]:
    estimates = [curves[label, key].get(step) for key in _CURVE_MEASURES]
    return (
        Cell(_LABEL_TITLES[label]),
        Cell(str(step)),
        *(numbers.format_cell(x) for x in estimates),
        Cell(f"{estimates[0].n:,}"),
    )
