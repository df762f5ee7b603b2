"""What a report is built of, before it is HTML or Markdown.

Texts are plain; whoever renders them escapes them.
"""

import dataclasses
import io
from typing import TypeAlias

from matplotlib.figure import Figure

from qup.measurements import Row


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
