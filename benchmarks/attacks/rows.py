"""One line of the benchmark: what was measured, and what it should be."""

import csv
import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence

from qup.core import files

TIMES = "times as fast"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A number beside its target.

    Attributes:
      part: Which part of the benchmark, a value of its flag --parts.
      what: The attack, the network, the batch.
      rival: Whom it is compared with.
      measured: None where the rival does not run.
      target: None where none was set.
      least: Whether the target is the least that will do, or the most.
      unit: Of `measured` and `target`.
      seconds: Ours and the rival's, medians of a run.
      success: Ours and the rival's, percent of images.
      note: What else there is to know, or why the rival does not run.
    """

    part: str
    what: str
    rival: str
    measured: float | None = None
    target: float | None = None
    least: bool = True
    unit: str = TIMES
    seconds: tuple[float, float] = (math.nan, math.nan)
    success: tuple[float, float] = (math.nan, math.nan)
    note: str = ""

    @property
    def verdict(self) -> str:
        """Returns "reached", "missed", "does not run" or nothing."""
        if self.measured is None:
            return "does not run"
        if self.target is None or math.isnan(self.measured):
            return ""
        ahead = self.measured - self.target
        return "reached" if (ahead if self.least else -ahead) >= 0 else "missed"

    @property
    def bound(self) -> str:
        """Returns the target in words."""
        if self.target is None:
            return ""
        return f"{'at least' if self.least else 'at most'} {self.target:g}"

    def columns(self) -> dict[str, object]:
        """Returns everything by name, for a file."""
        return {
            "part": self.part,
            "what": self.what,
            "against": self.rival,
            "measured": self.measured,
            "unit": self.unit,
            "target": self.bound,
            "verdict": self.verdict,
            "our_seconds": self.seconds[0],
            "their_seconds": self.seconds[1],
            "our_success": self.success[0],
            "their_success": self.success[1],
            "note": self.note,
        }

    @classmethod
    def of(cls, columns: Mapping[str, str]) -> "Row":
        """Returns the row that was written as `columns`."""

        def number(key: str) -> float:
            return float(columns[key] or math.nan)

        words = columns["target"].split()
        return cls(
            part=columns["part"],
            what=columns["what"],
            rival=columns["against"],
            measured=number("measured") if columns["measured"] else None,
            target=float(words[-1]) if words else None,
            least=words[1] == "least" if words else True,
            unit=columns["unit"],
            seconds=(number("our_seconds"), number("their_seconds")),
            success=(number("our_success"), number("their_success")),
            note=columns["note"],
        )


def shown(value: object) -> str:
    """Returns three or four digits of a number, nothing for none.

    More of a ratio that is not quite 1.
    """
    if not isinstance(value, float | int):
        return value or ""
    if math.isnan(value):
        return ""
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 20 else 2
    if 0 < abs(value - 1) < 0.005:
        digits = 4
    return f"{value:,.{digits}f}" if value else "0"


def table(rows: Sequence[Row]) -> str:
    """Returns the rows as a table that Markdown understands."""
    lines = [{key: shown(value) for key, value in row.columns().items()} for row in rows]
    head = {key: key.replace("_", " ") for key in lines[0]}
    widths = {key: max(len(line[key]) for line in [head, *lines]) for key in head}
    rule = {key: "-" * width for key, width in widths.items()}
    return "\n".join(
        "| " + " | ".join(line[key].ljust(width) for key, width in widths.items()) + " |"
        for line in [head, rule, *lines]
    )


def write(
    rows: Sequence[Row],
    path: pathlib.Path,
    circumstances: Mapping[str, str],
    *,
    parts: Sequence[str] = (),
) -> None:
    """Writes the rows as CSV; each ends with the circumstances.

    Args:
      rows: At least one.
      path: The file.
      circumstances: Added to each row.
      parts: Parts in their order, of which rows that the file holds already
        stay there unless they are measured anew.
    """
    kept = _records(path) if parts and path.exists() else []
    named = {_key(record): record for record in kept}
    for row in rows:
        columns = {key: _text(value) for key, value in row.columns().items()}
        named[_key(columns)] = columns | circumstances
    records = list(named.values())
    if parts:
        records.sort(key=lambda record: parts.index(record["part"]))
    with (
        files.atomic_write(path) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)


def _text(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.5g}"
    return "" if value is None else str(value)


def read(path: pathlib.Path) -> list[Row]:
    """Returns the rows of a file that `write` has written."""
    return [Row.of(record) for record in _records(path)]


def _records(path: pathlib.Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _key(record: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(record[key] for key in ("part", "what", "against", "unit"))
