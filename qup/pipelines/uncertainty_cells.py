"""Cells of a table: numbers with their errors, in columns."""

import itertools
import math
from collections.abc import Iterator

from qup.measurements import Row

NOT_ESTIMATED = "not estimated"


def format_value(row: Row) -> str:
    """Returns five digits."""
    return f"{row.value:.5g}" if math.isfinite(row.value) else NOT_ESTIMATED


def format_with_error(row: Row) -> str:
    """Returns "0.50012 +- 0.00031": two digits of the error."""
    if not math.isfinite(row.value):
        return NOT_ESTIMATED
    if row.stderr is None:
        return f"{row.value:.5g} +- ?"
    if row.stderr == 0:
        return f"{row.value:.6g} +- 0"
    digits = max(0, 1 - math.floor(math.log10(row.stderr)))
    if digits < 8 or row.value == 0:
        return f"{row.value:.{digits}f} +- {row.stderr:.{digits}f}"
    digits += math.floor(math.log10(abs(row.value)))
    return f"{row.value:.{min(max(digits, 0), 6)}e} +- {row.stderr:.1e}"


def format_bound(row: Row, resolved_row: Row | None) -> str:
    """Returns the bound, an upper limit where it is mostly noise."""
    if resolved_row is not None and resolved_row.value < 50 and row.value > 0:
        return f"< {row.value:.4g}"
    return format_value(row)


def align_columns(table_rows: list[list[str]]) -> Iterator[str]:
    """Yields cells in columns: the first to the left, others to the right."""
    columns = itertools.zip_longest(*table_rows, fillvalue="")
    widths = [max(map(len, column)) for column in columns]
    for number, cells in enumerate(table_rows):
        first, *rest = zip(cells, widths, strict=False)
        yield first[0].ljust(first[1]) + "".join(f"  {cell:>{width}}" for cell, width in rest)
        if number == 0:
            yield "-" * (sum(widths) + 2 * len(widths) - 2)
