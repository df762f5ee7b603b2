"""A report as files: report.html, report.md, tables.tex, and its figures.

```python
write(Material.read(folder), folder / "report")
```
"""

import base64
import html
import io
import json
import pathlib
import re
import urllib.parse
from collections.abc import Iterable, Sequence

import matplotlib as mpl
from PIL import Image

from qup.core import files
from qup.core.measurements import Row
from qup.reproduction.report import document as report_document
from qup.reproduction.report import sections
from qup.reproduction.report.data import ReportData, compute_row_digest
from qup.reproduction.report.document import Document

# How the page looks: light and dark, on a phone, on paper.


REPORT_CSS = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a;
  --line: #d0d7de; --page: #ffffff; --band: #f5f7f9; --link: #005a8c;
  --good: #0a6b4f; --bad: #a63c00; --paper: #5b4b8a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec;
  --soft: #a0a8b0; --line: #3a424b; --page: #14171a; --band: #1e2328;
  --link: #6cb8e6; --good: #5cc9a0; --bad: #f0965a; --paper: #b6a6ec; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem; max-width: 62rem; color: var(--ink);
  background: var(--page); font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; }
h2 { font-size: 1.25rem; margin-top: 2.6rem; padding-top: .6rem;
  border-top: 1px solid var(--line); }
p, li { max-width: 46rem; overflow-wrap: break-word; }
a { color: var(--link); }
nav ul { columns: 2 16rem; padding-left: 1.1rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .87rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .45rem;
  caption-side: top; }
th, td { border-bottom: 1px solid var(--line); padding: .32rem .6rem;
  text-align: left; vertical-align: top; }
thead th { background: var(--band); }
td a { color: inherit; text-decoration-color: var(--line); }
.good { color: var(--good); } .bad { color: var(--bad); }
.muted { color: var(--soft); } .paper { color: var(--paper); }
figure { margin: 1.4rem 0; }
figure img { display: block; max-width: 100%; height: auto; padding: .4rem;
  background: #fff; border-radius: 4px; }
figcaption { color: var(--soft); font-size: .87rem; margin-top: .4rem;
  max-width: 46rem; }
pre { overflow-x: auto; background: var(--band); padding: .6rem .8rem;
  font-size: .84rem; }
details summary { cursor: pointer; color: var(--link); }
tr:target { outline: 2px solid var(--link); }
.sources { font-size: .75rem; table-layout: fixed; width: 100%; }
.sources td { overflow-wrap: anywhere; }
@media print { body { max-width: none; font-size: 11px; }
  figure, tr { break-inside: avoid; } nav { display: none; }
  .scroll { overflow: visible; } }
"""


# A document as one HTML file: no script, nothing from outside.
#
# ```python
# text = page(document, material)
# ```


_CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
# What stands as it is in a data URI and in an attribute.
_URI_SAFE = " !$'()*+,-./:;=?@[]^_`{|}~"
_SOURCE_COLUMNS = ("measurement", "value", "standard error", "n", "seed", "parameters", "made by")


def render_html(document: report_document.Document, data: ReportData) -> str:
    """Returns the page, to be written as UTF-8.

    Args:
      document: What it says.
      data: What it was made of; every row that a cell links to is
        listed with its source.
    """
    title = _escape_html(document.title)
    contents = "".join(
        f'<li><a href="#{_escape_html(s.name)}">{_escape_html(s.title)}</a></li>'
        for s in document.sections
    )
    body = "\n".join(_render_html_section(section) for section in document.sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_CONTENT_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{REPORT_CSS}</style>
</head>
<body>
<h1>{title}</h1>
<nav aria-label="Contents"><ul>{contents}
<li><a href="#sources">Where each number comes from</a></li></ul></nav>
<main>
{body}
{_render_sources(document, data)}
</main>
</body>
</html>
"""


def _escape_html(value: str) -> str:
    """Escapes text; control characters, which no page may hold, go."""
    characters = (c for c in str(value) if c in "\n\t" or c.isprintable())
    return html.escape("".join(characters), quote=True)


def _render_html_section(section: report_document.Section) -> str:
    content = "\n".join(_render_html_block(block) for block in section.blocks)
    name, title = _escape_html(section.name), _escape_html(section.title)
    return f'<section id="{name}"><h2>{title}</h2>\n{content}</section>'


def _render_html_block(block: report_document.Block) -> str:
    match block:
        case report_document.Paragraph(text):
            return f"<p>{_escape_html(text)}</p>"
        case report_document.BulletList(texts):
            items = "".join(f"<li>{_escape_html(text)}</li>" for text in texts)
            return f"<ul>{items}</ul>"
        case report_document.Command(text):
            return f"<pre><code>{_escape_html(text)}</code></pre>"
        case report_document.Table():
            return _render_html_table(block)
    return _render_html_figure(block)


def _render_html_table(table: report_document.Table) -> str:
    head = "".join(f'<th scope="col">{_escape_html(h)}</th>' for h in table.head)
    body = "\n".join(
        "<tr>" + "".join(_render_html_cell(cell) for cell in row) + "</tr>" for row in table.body
    )
    caption = f"<caption>{_escape_html(table.caption)}</caption>"
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="Table">'
        f"<table>{caption if table.caption else ''}<thead><tr>{head}</tr>"
        f"</thead><tbody>{body}</tbody></table></div>"
    )


def _render_html_cell(cell: report_document.Cell) -> str:
    text = _escape_html(cell.text)
    if cell.rows:
        text = f'<a href="#m-{compute_row_digest(cell.rows[0])}">{text}</a>'
    tone = f' class="{_escape_html(cell.tone)}"' if cell.tone else ""
    return f"<td{tone}>{text}</td>"


def _render_html_figure(figure: report_document.ReportFigure) -> str:
    return (
        f'<figure id="{_escape_html(figure.name)}">'
        f'<img src="{_encode_data_uri(figure)}" alt="{_escape_html(figure.alt)}">'
        f"<figcaption>{_escape_html(figure.caption)}</figcaption></figure>"
    )


def _encode_data_uri(figure: report_document.ReportFigure) -> str:
    """Returns a picture as a data URI to stand between double quotes."""
    if figure.raster:
        data = base64.b64encode(_reduce_colours(figure.render("png"))).decode()
        return f"data:image/png;base64,{data}"
    # Half of what base64 adds to text; glyphs are paths, so that no white
    # space means anything.
    text = " ".join(figure.render("svg").decode().split())
    if "'" not in text:
        text = text.replace('"', "'")
    return f"data:image/svg+xml,{urllib.parse.quote(text, safe=_URI_SAFE)}"


def _reduce_colours(png: bytes) -> bytes:
    """Returns a PNG of 256 colours: a third as large, to the eye the same."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    palette_image = image.quantize(256, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    palette_image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def find_linked_rows(document: report_document.Document) -> list[Row]:
    """Returns every row behind a cell, each once."""
    rows_by_digest: dict[str, Row] = {}
    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, report_document.Table):
                for table_row in block.body:
                    for cell in table_row:
                        rows_by_digest |= {compute_row_digest(row): row for row in cell.rows}
    return list(rows_by_digest.values())


def _render_sources(document: report_document.Document, data: ReportData) -> str:
    head = "".join(f'<th scope="col">{_escape_html(h)}</th>' for h in _SOURCE_COLUMNS)
    body = "\n".join(_render_source(row, data) for row in find_linked_rows(document))
    return f"""<section id="sources"><h2>Where each number comes from</h2>
<p>Each number in a table leads to the measurement behind it, the first one
where it is a mean over seeds; the others follow it. The artifact's ancestry,
back to the images, is told by <code>python -m bin.show_lineage
--pipeline_root=FOLDER --artifact=NUMBER</code>, where FOLDER holds the
metadata.sqlite beside these results.</p>
<div class="scroll"><table class="sources"><thead><tr>{head}</tr></thead>
<tbody>{body}</tbody></table></div></section>"""


def _render_source(row: Row, data: ReportData) -> str:
    digest_text = compute_row_digest(row)
    source = data.sources.get(digest_text, {})
    origin = "not known"
    if source:
        origin = f"{source['node']}, artifact {source['artifact']}"
    attack = f" under {row.attack}" if row.attack else ""
    budget = "" if row.epsilon is None else f", epsilon {row.epsilon:.4g}"
    description = (
        f"{row.dataset} {row.model} {row.classifier}, {row.epochs} epochs: "
        f"{row.measure}{attack}{budget}"
    )
    error = "" if row.stderr is None else f"{row.stderr:.3g}"
    parameters = json.dumps(dict(row.parameters), sort_keys=True)
    cells = (description, f"{row.value:.6g}", error, row.n, row.seed, parameters, origin)
    return f'<tr id="m-{digest_text}">{_render_html_cells(cells)}</tr>'


def _render_html_cells(values: Sequence | Iterable) -> str:
    return "".join(f"<td>{_escape_html(value)}</td>" for value in values)


# A document as Markdown, its figures as files beside it.
#
# ```python
# text = page(document, figures="figures")
# ```


# What Markdown, or HTML within it, would take for markup.
_MARKDOWN_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def render_markdown(document: report_document.Document, figures: str = "figures") -> str:
    """Returns the text.

    Args:
      document: What it says.
      figures: Folder of the figures' PNG files, from where it is read.
    """
    paragraphs = [f"# {_escape_markdown(document.title)}"]
    for section in document.sections:
        paragraphs.append(f"## {_escape_markdown(section.title)}")
        paragraphs += [_render_markdown_block(block, figures) for block in section.blocks]
    return "\n\n".join(paragraphs) + "\n"


def _escape_markdown(value: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    return _MARKDOWN_SPECIAL.sub(r"\\\1", line)


def _render_markdown_block(block: report_document.Block, figures: str) -> str:
    match block:
        case report_document.Paragraph(text):
            return _escape_markdown(text)
        case report_document.BulletList(texts):
            return "\n".join(f"- {_escape_markdown(text)}" for text in texts)
        case report_document.Command(text):
            return "\n".join(f"    {line}" for line in text.splitlines())
        case report_document.Table():
            return _render_markdown_table(block)
    link = f"![{_escape_markdown(block.alt)}]({figures}/{block.name}.png)"
    return f"{link}\n\n{_escape_markdown(block.caption)}"


def _render_markdown_table(table: report_document.Table) -> str:
    def format_line(cells) -> str:
        return f"| {' | '.join(_escape_markdown(cell) for cell in cells)} |"

    lines = [format_line(table.head), f"|{' --- |' * len(table.head)}"]
    lines += [format_line(cell.text for cell in row) for row in table.body]
    text = "\n".join(lines)
    return f"{_escape_markdown(table.caption)}\n\n{text}" if table.caption else text


# A report's tables as LaTeX, to copy into a paper.
#
# ```python
# text = tables(document)  # needs \usepackage{booktabs} alone
# ```


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


def render_latex_tables(document: report_document.Document) -> str:
    """Returns all tables of a report, each with its section as a comment.

    Args:
      document: The report; of its cells the texts are taken, not the links.
    """
    texts = ["% Needs booktabs."]
    for section in document.sections:
        section_tables = [b for b in section.blocks if isinstance(b, report_document.Table)]
        for number, table in enumerate(section_tables, 1):
            label = section.name if len(section_tables) == 1 else f"{section.name}-{number}"
            texts.append(f"% {_join_printable(section.title)}\n{_render_latex_table(table, label)}")
    return "\n\n".join(texts) + "\n"


def _join_printable(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _escape_latex(text: str) -> str:
    return _LATEX_SPECIAL.sub(lambda m: _LATEX_ESCAPES[m[0]], _join_printable(text))


def _format_latex_row(texts) -> str:
    # Braces, lest a bracket after \\ should be taken for an option.
    return " & ".join(f"{{{_escape_latex(text)}}}" for text in texts) + r" \\"


def _render_latex_table(table: report_document.Table, label: str) -> str:
    lines = [
        r"\begin{table}",
        rf"\caption{{{_escape_latex(table.caption)}}}",
        rf"\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{{'l' * len(table.head)}}}",
        r"\toprule",
        _format_latex_row(table.head),
        r"\midrule",
        *(_format_latex_row(cell.text for cell in row) for row in table.body),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


# All sections in their order.
#
# ```python
# document = compose(Material.read(folder))
# ```


def build_document(data: ReportData) -> Document:
    """Returns the report."""
    title = (
        "Do accuracy and robustness exclude each other? The uncertainty "
        "principle of neural networks, measured"
    )
    all_sections = tuple(sections.get(name)(data) for name in sections.names())
    return Document(title, all_sections)


PAGE_NAMES = ("report.html", "report.md", "tables.tex")
_FIGURES_FOLDER = "figures"
# Ids within SVG files are the same each time.
_SVG_SETTINGS = {"svg.hashsalt": "qup", "svg.fonttype": "path"}


def write_report(data: ReportData, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes the report.

    Args:
      data: What was measured.
      folder: For report.html, report.md, tables.tex (to copy from) and
        figures/ (PNG, SVG and PDF).

    Returns:
      The pages.

    Raises:
      InputError: The folder cannot be written, or an array is damaged.
    """
    with mpl.rc_context(_SVG_SETTINGS):
        document = build_document(data)
        names = set()
        for figure in document.list_figures():
            for file_format in ("png", "svg", "pdf"):
                name = f"{figure.name}.{file_format}"
                names.add(name)
                files.write_bytes(folder / _FIGURES_FOLDER / name, figure.render(file_format))
        _remove_stale_figures(folder / _FIGURES_FOLDER, names)
        pages = (
            render_html(document, data),
            render_markdown(document, _FIGURES_FOLDER),
            render_latex_tables(document),
        )
    for name, text in zip(PAGE_NAMES, pages, strict=True):
        files.write_text(folder / name, text)
    return [folder / name for name in PAGE_NAMES]


def _remove_stale_figures(folder: pathlib.Path, names: set[str]) -> None:
    """Removes figures of an earlier report that this one does not have."""
    for path in folder.glob("*.*"):
        if path.suffix in (".png", ".svg", ".pdf") and path.name not in names:
            files.remove_path(path)
