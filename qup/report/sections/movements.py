"""Supplement, Fig. 1: points of two classes under FGSM and its opposite."""

from collections.abc import Iterator

from qup.binary_toy import movements
from qup.measurements import Row
from qup.report import numbers, sections
from qup.report.blocks import Block, Cell, Paragraph, ReportFigure, Section, Table
from qup.report.estimates import average_over_seeds
from qup.report.material import ReportData

_TRAJECTORIES_INTRO = (
    "The supplement's Fig. 1 is a drawing too: FGSM moves points out of the "
    "region of their class, its opposite, iterated with the true label, into "
    "it. Here are points that a network of the unit square has not seen."
)


@sections.register(order=35)
def supp_fig1(data: ReportData) -> Section:
    """Returns the supplement's Fig. 1."""
    rows = data.find(figure="supp_fig1")
    blocks: list[Block] = [Paragraph(_TRAJECTORIES_INTRO)]
    if rows:
        blocks += _iter_movement_blocks(data, rows)
    else:
        blocks.append(Paragraph(f"It was {numbers.NOT_RUN}."))
    title = "Supplement, Fig. 1: FGSM and its opposite"
    return Section("supp_fig1", title, tuple(blocks))


def _iter_movement_blocks(data: ReportData, rows: list[Row]) -> Iterator[Block]:
    columns = {
        "as drawn": ("test_accuracy", None),
        "after FGSM": ("robust_accuracy", None),
        "after the opposite steps": ("test_accuracy", "X_n"),
    }
    body = tuple(
        (
            Cell(str(n)),
            *(
                numbers.format_cell(
                    average_over_seeds(
                        [
                            row
                            for row in rows
                            if (row.epochs, row.measure, row.parameters.get("images"))
                            == (n, *filters)
                        ]
                    )
                )
                for filters in columns.values()
            ),
        )
        for n in sorted({row.epochs for row in rows})
    )
    yield Table(
        ("epochs", *columns),
        body,
        f"Percent of points that are classified rightly. {numbers.INTERVAL_NOTE}",
    )
    first_row = min(rows, key=lambda row: row.seed)
    arrays = data.load_arrays(first_row)
    if arrays is not None:
        epochs_text = numbers.format_count(int(arrays["epochs"]), "epoch")
        yield ReportFigure(
            "supp-fig1",
            movements.plot_trajectories(arrays, f"The network after {epochs_text}"),
            "Points of two classes over the regions of the network: as "
            "drawn, after FGSM, and after opposite steps.",
            f"The network after {epochs_text}, seed {first_row.seed}: points as drawn, "
            "attacked, and walked the opposite way.",
            raster=True,
        )
