"""The parts of a report before it is HTML, Markdown or LaTeX, and the format of its numbers.

Texts are plain; the renderers escape them. Fixed prose is in templates/sections/.
"""

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any, ClassVar, TypeAlias

import jinja2
from matplotlib.figure import Figure

from qup.core import plotting
from qup.core.measurements import Row
from qup.reproduction.presets import NetworkPreset
from qup.reproduction.report.statistics import IntervalEstimate

NOT_RUN = "not run"
INTERVAL_NOTE = (
    "± is half of a 95 % interval; [low, high] is an asymmetric one. The interval is Student's "
    "over the seeds, whose number is in parentheses, and at least that of the images or points "
    "that were measured. A single seed (marked ^) has the latter alone, without the variation "
    "between trainings."
)
# An interval is asymmetric if its middle is off by more than this share of its half-width.
_ASYMMETRY_THRESHOLD = 0.2
# Methods of adversarial training.
METHOD_TITLES = {"pgd_at": "PGD-AT", "trades": "TRADES"}
_DATASET_TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10", "fashion_mnist": "Fashion-MNIST"}


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
      text: Its content.
      rows: The measurements that it links to.
      tone: "", "good", "bad", "muted" or "paper".
    """

    text: str
    rows: tuple[Row, ...] = ()
    tone: str = ""


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclasses.dataclass(frozen=True)
class BulletList:
    """A list of paragraphs."""

    kind: ClassVar[str] = "list"
    texts: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Command:
    """Commands of a shell, a line each."""

    kind: ClassVar[str] = "command"
    text: str


@dataclasses.dataclass(frozen=True)
class Table:
    """A table with the titles of its columns, and rows of cells."""

    kind: ClassVar[str] = "table"
    head: tuple[str, ...]
    body: tuple[tuple[Cell, ...], ...]
    caption: str = ""


@dataclasses.dataclass(frozen=True)
class ReportFigure:
    """A figure.

    Attributes:
      name: Of its files.
      figure: The figure.
      alt: Alternative text.
      caption: What to see in it.
      raster: Whether the page has it as PNG instead of SVG, for figures with many dots.
    """

    kind: ClassVar[str] = "figure"
    name: str
    figure: Figure
    alt: str
    caption: str
    raster: bool = False
    _cache: dict[str, bytes] = dataclasses.field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def render(self, file_format: str) -> bytes:
        """Returns the file, "svg", "png" or "pdf"."""
        if file_format not in self._cache:
            self._cache[file_format] = plotting.render_figure(self.figure, file_format)
        return self._cache[file_format]


Block: TypeAlias = Paragraph | BulletList | Command | Table | ReportFigure


@dataclasses.dataclass(frozen=True)
class Section:
    """A section: its name in links, its heading, its content."""

    name: str
    title: str
    blocks: tuple[Block, ...]


@dataclasses.dataclass(frozen=True)
class Document:
    """A report."""

    title: str
    sections: tuple[Section, ...]

    def list_figures(self) -> list[ReportFigure]:
        """Returns all figures."""
        blocks = (block for section in self.sections for block in section.blocks)
        return [block for block in blocks if isinstance(block, ReportFigure)]

    def iterate_linked_rows(self) -> Iterator[Row]:
        """Yields the rows of all cells; a row of several cells several times."""
        for section in self.sections:
            for block in section.blocks:
                if isinstance(block, Table):
                    for cells in block.body:
                        for cell in cells:
                            yield from cell.rows


_prose_environment = jinja2.Environment(
    loader=jinja2.PackageLoader("qup.reproduction.report", "templates/sections"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_prose(name: str, **values: Any) -> Iterator[Block]:
    """Yields the blocks of templates/sections/NAME.txt.j2; none without this file.

    Empty lines separate blocks. A block of lines that begin with "- " is a list, an indented
    one is a command, any other is a paragraph.

    Args:
      name: Of the file.
      **values: The variables of the template.
    """
    try:
        text = _prose_environment.get_template(f"{name}.txt.j2").render(values)
    except jinja2.TemplateNotFound:
        return
    for block in filter(str.strip, re.split(r"\n\s*\n", text)):
        if block.startswith("- "):
            items = re.split(r"(?m)^- ", block)[1:]
            yield BulletList(tuple(" ".join(item.split()) for item in items))
        elif block.startswith("    "):
            yield Command("\n".join(line.strip() for line in block.splitlines()))
        else:
            yield Paragraph(" ".join(block.split()))


def format_cell(estimate: IntervalEstimate | None, digits: int = 2) -> Cell:
    """Returns an estimate as a cell that links to its rows."""
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


def format_signed(estimate: IntervalEstimate) -> str:
    """Returns "+1.90 ± 0.30 (5)"."""
    text = format_estimate(estimate)
    return text if text.startswith("-") else f"+{text}"


def format_published(value: float | None) -> Cell:
    """Returns a number of the paper as a cell."""
    if value is None:
        return Cell("-", tone="muted")
    return Cell(f"{value:.2f}", tone="paper")


def format_count(number: int, noun: str) -> str:
    """Returns "1 epoch" or "30 epochs"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def format_dataset(name: str) -> str:
    """Returns "MNIST" for "mnist"."""
    return _DATASET_TITLES.get(name, name)


def format_short_network(network: NetworkPreset) -> str:
    """Returns "MNIST ConvNet"."""
    return f"{format_dataset(network.dataset)} {network.title}"


def format_network(network: NetworkPreset, epochs: int | None = None) -> str:
    """Returns "ConvNet on MNIST, 30 epochs"."""
    title = f"{network.title} on {format_dataset(network.dataset)}"
    return title if epochs is None else f"{title}, {format_count(epochs, 'epoch')}"
