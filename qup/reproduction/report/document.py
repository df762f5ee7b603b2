"""What a report is built of, before it is HTML or Markdown.

Texts are plain; whoever renders them escapes them.
"""

import dataclasses
import io
import math
from typing import TypeAlias

from matplotlib.figure import Figure

from qup.core.measurements import Row
from qup.reproduction.report.statistics import IntervalEstimate


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
      text: What it shows.
      rows: The measurements behind it, for its link.
      tone: "", "good", "bad", "muted" or "paper".
    """

    text: str
    rows: tuple[Row, ...] = ()
    tone: str = ""


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    text: str


@dataclasses.dataclass(frozen=True)
class BulletList:
    """A list of paragraphs."""

    texts: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Command:
    """Something to type."""

    text: str


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
      head: Titles of the columns.
      body: Rows of cells.
      caption: What it is.
    """

    head: tuple[str, ...]
    body: tuple[tuple[Cell, ...], ...]
    caption: str = ""


@dataclasses.dataclass(frozen=True)
class ReportFigure:
    """A figure.

    Attributes:
      name: Of its files.
      figure: The figure.
      alt: What it shows, for who does not see it.
      caption: What to look at.
      raster: It has many dots: PNG in the page instead of SVG.
    """

    name: str
    figure: Figure
    alt: str
    caption: str
    raster: bool = False
    _cache: dict[str, bytes] = dataclasses.field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def render(self, file_format: str) -> bytes:
        """Returns the file, "svg", "png" or "pdf", the same each time."""
        if file_format not in self._cache:
            buffer = io.BytesIO()
            metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
            self.figure.savefig(
                buffer, format=file_format, dpi=130, metadata=metadata.get(file_format)
            )
            # Where things stand has been found; another kind need not again.
            self.figure.set_layout_engine(None)
            self._cache[file_format] = buffer.getvalue()
        return self._cache[file_format]


Block: TypeAlias = Paragraph | BulletList | Command | Table | ReportFigure


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
      name: In links.
      title: Its heading.
      blocks: What it holds.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]


@dataclasses.dataclass(frozen=True)
class Document:
    """A report.

    Attributes:
      title: Its heading.
      sections: Its parts.
    """

    title: str
    sections: tuple[Section, ...]

    def list_figures(self) -> list[ReportFigure]:
        """Returns all figures."""
        return [
            block
            for section in self.sections
            for block in section.blocks
            if isinstance(block, ReportFigure)
        ]


# Numbers as a reader meets them: with their errors, or "not run".


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
