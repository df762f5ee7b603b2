"""A document as one HTML file: no script, nothing from outside.

```python
text = page(document, material)
```
"""

import base64
import html
import io
import json
import urllib.parse
from collections.abc import Iterable, Sequence

from PIL import Image

from qup.measurements import Row
from qup.report import blocks
from qup.report.material import ReportData, compute_row_digest
from qup.report.style import REPORT_CSS

_CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
# What stands as it is in a data URI and in an attribute.
_URI_SAFE = " !$'()*+,-./:;=?@[]^_`{|}~"
_SOURCE_COLUMNS = ("measurement", "value", "standard error", "n", "seed", "parameters", "made by")


def render_html(document: blocks.Document, data: ReportData) -> str:
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


def _render_html_section(section: blocks.Section) -> str:
    content = "\n".join(_render_html_block(block) for block in section.blocks)
    name, title = _escape_html(section.name), _escape_html(section.title)
    return f'<section id="{name}"><h2>{title}</h2>\n{content}</section>'


def _render_html_block(block: blocks.Block) -> str:
    match block:
        case blocks.Paragraph(text):
            return f"<p>{_escape_html(text)}</p>"
        case blocks.BulletList(texts):
            items = "".join(f"<li>{_escape_html(text)}</li>" for text in texts)
            return f"<ul>{items}</ul>"
        case blocks.Command(text):
            return f"<pre><code>{_escape_html(text)}</code></pre>"
        case blocks.Table():
            return _render_html_table(block)
    return _render_html_figure(block)


def _render_html_table(table: blocks.Table) -> str:
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


def _render_html_cell(cell: blocks.Cell) -> str:
    text = _escape_html(cell.text)
    if cell.rows:
        text = f'<a href="#m-{compute_row_digest(cell.rows[0])}">{text}</a>'
    tone = f' class="{_escape_html(cell.tone)}"' if cell.tone else ""
    return f"<td{tone}>{text}</td>"


def _render_html_figure(figure: blocks.ReportFigure) -> str:
    return (
        f'<figure id="{_escape_html(figure.name)}">'
        f'<img src="{_encode_data_uri(figure)}" alt="{_escape_html(figure.alt)}">'
        f"<figcaption>{_escape_html(figure.caption)}</figcaption></figure>"
    )


def _encode_data_uri(figure: blocks.ReportFigure) -> str:
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


def find_linked_rows(document: blocks.Document) -> list[Row]:
    """Returns every row behind a cell, each once."""
    rows_by_digest: dict[str, Row] = {}
    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, blocks.Table):
                for table_row in block.body:
                    for cell in table_row:
                        rows_by_digest |= {compute_row_digest(row): row for row in cell.rows}
    return list(rows_by_digest.values())


def _render_sources(document: blocks.Document, data: ReportData) -> str:
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
