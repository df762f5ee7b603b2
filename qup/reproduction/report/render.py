"""A report as files: report.html, report.md, tables.tex, and its figures.

```python
write_report(ReportData.read(folder), folder / "report")
```
"""

import base64
import io
import json
import pathlib
import re
import urllib.parse
from collections.abc import Iterable

import matplotlib as mpl
from markupsafe import Markup
from PIL import Image

from qup.core import files
from qup.core.measurements import Row
from qup.core.templates import create_environment, join_lines
from qup.reproduction.report import sections
from qup.reproduction.report.data import ReportData, compute_row_digest
from qup.reproduction.report.document import Document, ReportFigure

PAGE_NAMES = ("report.html", "report.md", "tables.tex")
_TITLE = (
    "Do accuracy and robustness exclude each other? The uncertainty principle of neural networks, "
    "measured"
)
_SOURCE_COLUMNS = ("measurement", "value", "standard error", "n", "seed", "parameters", "made by")
_FIGURES_FOLDER = "figures"
_FIGURE_FORMATS = ("png", "svg", "pdf")
# Identifiers within SVG files are the same each time.
_SVG_SETTINGS = {"svg.hashsalt": "qup", "svg.fonttype": "path"}
# Characters that need no escape in a data URI within a double-quoted attribute.
_URI_SAFE = " !$'()*+,-./:;=?@[]^_`{|}~"
_LATEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "\N{EN DASH}": "--",
    "\N{MINUS SIGN}": "$-$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    **{c: f"\\{c}" for c in "{}#$%&_"},
}
_LATEX_SPECIAL = re.compile("|".join(map(re.escape, _LATEX_ESCAPES)))


def build_document(data: ReportData) -> Document:
    """Returns the report: all sections in their order."""
    return Document(_TITLE, tuple(sections.get(name)(data) for name in sections.names()))


def write_report(data: ReportData, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes the report and returns the paths of its pages.

    Args:
      data: The measurements.
      folder: For report.html, report.md, tables.tex (to copy from) and figures/ (PNG, SVG, PDF).

    Raises:
      InputError: The folder cannot be written, or an array is damaged.
    """
    figures_folder, names = folder / _FIGURES_FOLDER, set()
    with mpl.rc_context(_SVG_SETTINGS):
        document = build_document(data)
        for figure in document.list_figures():
            for file_format in _FIGURE_FORMATS:
                names.add(f"{figure.name}.{file_format}")
                content = figure.render(file_format)
                files.write_bytes(figures_folder / f"{figure.name}.{file_format}", content)
        pages = (
            render_html(document, data),
            render_markdown(document, _FIGURES_FOLDER),
            render_latex_tables(document),
        )
    # Figures of an earlier report.
    for path in figures_folder.glob("*.*"):
        if path.suffix[1:] in _FIGURE_FORMATS and path.name not in names:
            files.remove_path(path)
    for name, text in zip(PAGE_NAMES, pages, strict=True):
        files.write_text(folder / name, text)
    return [folder / name for name in PAGE_NAMES]


def render_html(document: Document, data: ReportData) -> str:
    """Returns the page for UTF-8, with the sources of every linked row.

    The page has no script and loads nothing.
    """
    linked_rows = {compute_row_digest(row): row for row in document.iterate_linked_rows()}
    return _environment.get_template("report.html.j2").render(
        document=document,
        source_columns=_SOURCE_COLUMNS,
        sources={
            digest: _describe_source(row, data.sources.get(digest))
            for digest, row in linked_rows.items()
        },
    )


def render_markdown(document: Document, figures: str = "figures") -> str:
    """Returns the text; `figures` is the folder of the PNG files relative to it."""
    template = _environment.get_template("report.md.j2")
    return template.render(document=document, figures=figures)


def render_latex_tables(document: Document) -> str:
    """Returns all tables, each after a comment with its section, without links."""
    tables = []
    for section in document.sections:
        section_tables = [block for block in section.blocks if block.kind == "table"]
        for number, table in enumerate(section_tables, 1):
            label = section.name if len(section_tables) == 1 else f"{section.name}-{number}"
            tables.append((section, label, table))
    return _latex_environment.get_template("tables.tex.j2").render(tables=tables)


def _describe_source(row: Row, source: dict | None) -> tuple:
    """Returns the values of `_SOURCE_COLUMNS`."""
    attack = f" under {row.attack}" if row.attack else ""
    budget = "" if row.epsilon is None else f", epsilon {row.epsilon:.4g}"
    return (
        f"{row.dataset} {row.model} {row.classifier}, {row.epochs} epochs: "
        f"{row.measure}{attack}{budget}",
        f"{row.value:.6g}",
        "" if row.stderr is None else f"{row.stderr:.3g}",
        row.n,
        row.seed,
        json.dumps(dict(row.parameters), sort_keys=True),
        f"{source['node']}, artifact {source['artifact']}" if source else "not known",
    )


def _escape_latex(text: str) -> str:
    return _LATEX_SPECIAL.sub(lambda match: _LATEX_ESCAPES[match[0]], join_lines(text))


def _format_latex_row(texts: Iterable[str]) -> str:
    # In braces, because LaTeX reads a bracket after \\ as an option.
    return " & ".join(f"{{{_escape_latex(text)}}}" for text in texts) + r" \\"


def _encode_data_uri(figure: ReportFigure) -> Markup:
    """Returns a figure as a data URI for a double-quoted attribute."""
    if figure.raster:
        content = base64.b64encode(_reduce_colours(figure.render("png"))).decode()
        return Markup(f"data:image/png;base64,{content}")
    # Percent escapes add half of what base64 adds. Glyphs are paths: no white space is needed.
    text = " ".join(figure.render("svg").decode().split())
    if "'" not in text:
        text = text.replace('"', "'")
    return Markup(f"data:image/svg+xml,{urllib.parse.quote(text, safe=_URI_SAFE)}")


def _reduce_colours(png: bytes) -> bytes:
    """Returns a PNG of 256 colours, a third as large without a visible difference."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    palette_image = image.quantize(256, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    palette_image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


_environment = create_environment("qup.reproduction.report")
_environment.filters |= {
    "digest": compute_row_digest,
    "data_uri": _encode_data_uri,
    "latex": _escape_latex,
    "latex_row": _format_latex_row,
}
# Other delimiters, because {{ and }} are common in LaTeX.
_latex_environment = _environment.overlay(
    block_start_string="<%",
    block_end_string="%>",
    variable_start_string="<<",
    variable_end_string=">>",
)
