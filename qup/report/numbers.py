"""Numbers as a reader meets them: with their errors, or "not run"."""

import math

from qup.report.blocks import Cell
from qup.report.estimates import Estimate

NOT_RUN = "not run"
KEY = (
    "± is half of a 95 % interval, [low, high] one that is lopsided: "
    "Student's over the seeds, whose number stands in brackets, and at least "
    "that of the images, or of the points, that were measured; of one seed "
    "(marked ^) that alone, which knows nothing of how trainings differ."
)
# Sides that differ by more of the interval are told one by one.
_LOPSIDED = 0.2


def cell(estimate: Estimate | None, digits: int = 2) -> Cell:
    """Returns an estimate as a cell that leads to its rows."""
    if estimate is None:
        return Cell(NOT_RUN, tone="muted")
    return Cell(text(estimate, digits), estimate.rows)


def text(estimate: Estimate, digits: int = 2) -> str:
    """Returns "97.05 ± 0.12 (5)", "0.03 [0.01, 0.14] (3)", "97.1 ± 0.3 ^"."""
    value = f"{estimate.value:.{digits}f}"
    if not math.isfinite(estimate.value):
        return "not estimated"
    if not math.isfinite(estimate.half):
        return value
    mark = "^" if estimate.seeds == 1 else f"({estimate.seeds})"
    middle = (estimate.low + estimate.high) / 2
    if abs(middle - estimate.value) > _LOPSIDED * estimate.half:
        ends = f"{estimate.low:.{digits}f}, {estimate.high:.{digits}f}"
        return f"{value} [{ends}] {mark}"
    return f"{value} ± {estimate.half:.{digits}f} {mark}"


def published(value: float | None) -> Cell:
    """Returns a number of the paper as a cell."""
    if value is None:
        return Cell("-", tone="muted")
    return Cell(f"{value:.2f}", tone="paper")


def count(number: int, what: str) -> str:
    """Returns "1 epoch" or "30 epochs"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def named(title: str, dataset: str, epochs: int) -> str:
    """Returns "ConvNet on mnist, 30 epochs"."""
    return f"{title} on {dataset}, {count(epochs, 'epoch')}"
