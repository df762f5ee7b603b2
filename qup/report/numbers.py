"""Numbers as a reader meets them: with their errors, or "not run"."""

import math

from qup.report.blocks import Cell
from qup.report.estimates import IntervalEstimate

NOT_RUN = "not run"
INTERVAL_NOTE = (
    "± is half of a 95 % interval, [low, high] one that is lopsided: "
    "Student's over the seeds, whose number stands in brackets, and at least "
    "that of the images, or of the points, that were measured; of one seed "
    "(marked ^) that alone, which knows nothing of how trainings differ."
)
# Sides that differ by more of the interval are told one by one.
_ASYMMETRY_THRESHOLD = 0.2


def format_cell(estimate: IntervalEstimate | None, digits: int = 2) -> Cell:
    """Returns an estimate as a cell that leads to its rows."""
    if estimate is None:
        return Cell(NOT_RUN, tone="muted")
    return Cell(format_estimate(estimate, digits), estimate.rows)


def format_estimate(estimate: IntervalEstimate, digits: int = 2) -> str:
    """Returns "97.05 ± 0.12 (5)", "0.03 [0.01, 0.14] (3)", "97.1 ± 0.3 ^"."""
    value = f"{estimate.value:.{digits}f}"
    if not math.isfinite(estimate.value):
        return "not estimated"
    if not math.isfinite(estimate.half_width):
        return value
    seeds_mark = "^" if estimate.num_seeds == 1 else f"({estimate.num_seeds})"
    midpoint = (estimate.low + estimate.high) / 2
    if abs(midpoint - estimate.value) > _ASYMMETRY_THRESHOLD * estimate.half_width:
        interval = f"{estimate.low:.{digits}f}, {estimate.high:.{digits}f}"
        return f"{value} [{interval}] {seeds_mark}"
    return f"{value} ± {estimate.half_width:.{digits}f} {seeds_mark}"


def format_published(value: float | None) -> Cell:
    """Returns a number of the paper as a cell."""
    if value is None:
        return Cell("-", tone="muted")
    return Cell(f"{value:.2f}", tone="paper")


def format_count(number: int, noun: str) -> str:
    """Returns "1 epoch" or "30 epochs"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def format_network(title: str, dataset: str, epochs: int) -> str:
    """Returns "ConvNet on mnist, 30 epochs"."""
    return f"{title} on {dataset}, {format_count(epochs, 'epoch')}"
