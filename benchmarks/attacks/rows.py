"""The rows of the benchmark: a value, its target, and the table and CSV file of all rows."""

import csv
import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence

from qup.core import files

TIMES = "times as fast"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A value and its target.

    Attributes:
      part: The part of the benchmark, a value of its flag --parts.
      title: The attack, the network, the batch.
      competitor: What qup is compared with.
      value: None if the competitor does not run.
      target: None without a target.
      target_is_minimum: Whether the value must be at least the target, or at most.
      unit: The unit of `value` and `target`.
      seconds: qup's and the competitor's, medians of a run.
      success: qup's and the competitor's, percent of images.
      note: Further information, or why the competitor does not run.
    """

    part: str
    title: str
    competitor: str
    value: float | None = None
    target: float | None = None
    target_is_minimum: bool = True
    unit: str = TIMES
    seconds: tuple[float, float] = (math.nan, math.nan)
    success: tuple[float, float] = (math.nan, math.nan)
    note: str = ""

    @property
    def verdict(self) -> str:
        """Returns "reached", "missed", "does not run" or an empty string."""
        if self.value is None:
            return "does not run"
        if self.target is None or math.isnan(self.value):
            return ""
        margin = self.value - self.target
        return "reached" if (margin if self.target_is_minimum else -margin) >= 0 else "missed"

    @property
    def target_text(self) -> str:
        """Returns the target in words."""
        if self.target is None:
            return ""
        return f"{'at least' if self.target_is_minimum else 'at most'} {self.target:g}"

    def columns(self) -> dict[str, object]:
        """Returns the columns of a file."""
        return {
            "part": self.part,
            "what": self.title,
            "against": self.competitor,
            "measured": self.value,
            "unit": self.unit,
            "target": self.target_text,
            "verdict": self.verdict,
            "our_seconds": self.seconds[0],
            "their_seconds": self.seconds[1],
            "our_success": self.success[0],
            "their_success": self.success[1],
            "note": self.note,
        }

    @classmethod
    def from_columns(cls, columns: Mapping[str, str]) -> "Row":
        """Returns the row of these columns."""

        def read_number(key: str) -> float:
            return float(columns[key] or math.nan)

        words = columns["target"].split()
        return cls(
            part=columns["part"],
            title=columns["what"],
            competitor=columns["against"],
            value=read_number("measured") if columns["measured"] else None,
            target=float(words[-1]) if words else None,
            target_is_minimum=words[1] == "least" if words else True,
            unit=columns["unit"],
            seconds=(read_number("our_seconds"), read_number("their_seconds")),
            success=(read_number("our_success"), read_number("their_success")),
            note=columns["note"],
        )


def format_number(value: object) -> str:
    """Returns three or four digits of a number, more of a ratio close to 1; "" for NaN or None."""
    if not isinstance(value, float | int):
        return value or ""
    if math.isnan(value):
        return ""
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 20 else 2
    if 0 < abs(value - 1) < 0.005:
        digits = 4
    return f"{value:,.{digits}f}" if value else "0"


def format_table(rows: Sequence[Row]) -> str:
    """Returns the rows as a Markdown table."""
    lines = [{key: format_number(value) for key, value in row.columns().items()} for row in rows]
    head = {key: key.replace("_", " ") for key in lines[0]}
    widths = {key: max(len(line[key]) for line in [head, *lines]) for key in head}
    rule = {key: "-" * width for key, width in widths.items()}
    return "\n".join(
        "| " + " | ".join(line[key].ljust(width) for key, width in widths.items()) + " |"
        for line in [head, rule, *lines]
    )


def write_csv(
    rows: Sequence[Row],
    path: pathlib.Path,
    environment: Mapping[str, str],
    *,
    parts: Sequence[str] = (),
) -> None:
    """Writes the rows as CSV.

    Args:
      rows: At least one row.
      path: The file.
      environment: Further columns of each row.
      parts: All parts in order, to keep the existing rows of the file that are not measured again;
        empty to replace the file.
    """
    records = {}
    if parts and path.exists():
        records = {_get_key(record): record for record in _read_records(path)}
    for row in rows:
        columns = {key: _format_cell(value) for key, value in row.columns().items()}
        records[_get_key(columns)] = columns | environment
    ordered = list(records.values())
    if parts:
        ordered.sort(key=lambda record: parts.index(record["part"]))
    with (
        files.atomic_write(path) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, list(ordered[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(ordered)


def _format_cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.5g}"
    return "" if value is None else str(value)


def read_csv(path: pathlib.Path) -> list[Row]:
    """Returns the rows of a file that `write_csv` has written."""
    return [Row.from_columns(record) for record in _read_records(path)]


def _read_records(path: pathlib.Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _get_key(record: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(record[key] for key in ("part", "what", "against", "unit"))
