"""One line of the benchmark: what was measured, and what it should be."""

import csv
import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence

from qup import files

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
        if self.target is None:
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


def shown(value: object) -> str:
    """Returns three or four digits of a number, nothing for none."""
    if not isinstance(value, float | int):
        return value or ""
    if math.isnan(value):
        return ""
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 20 else 2
    return f"{value:,.{digits}f}" if value else "0"


def table(rows: Sequence[Row]) -> str:
    """Returns the rows as a table that Markdown understands."""
    lines = [
        {key: shown(value) for key, value in row.columns().items()}
        for row in rows
    ]
    head = {key: key.replace("_", " ") for key in lines[0]}
    widths = {
        key: max(len(line[key]) for line in [head, *lines]) for key in head
    }
    rule = {key: "-" * width for key, width in widths.items()}
    return "\n".join(
        "| "
        + " | ".join(line[key].ljust(width) for key, width in widths.items())
        + " |"
        for line in [head, rule, *lines]
    )


def write(
    rows: Sequence[Row], path: pathlib.Path, circumstances: Mapping[str, str]
) -> None:
    """Writes the rows as CSV; each ends with the circumstances."""
    records = [
        {
            key: f"{value:.5g}" if isinstance(value, float) else value
            for key, value in row.columns().items()
        }
        | circumstances
        for row in rows
    ]
    with (
        files.replacing(path) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
