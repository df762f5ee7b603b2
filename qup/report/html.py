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
from qup.report.material import Material, digest
from qup.report.style import CSS

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
# What stands as it is in a data URI and in an attribute.
_PLAIN = " !$'()*+,-./:;=?@[]^_`{|}~"
_HEAD = (
    "measurement", "value", "standard error", "n", "seed", "parameters",
    "made by",
)  # fmt: skip


def page(document: blocks.Document, material: Material) -> str:
    """Returns the page, to be written as UTF-8.

    Args:
      document: What it says.
      material: What it was made of; every row that a cell links to is
        listed with its source.
    """
    title = _text(document.title)
    contents = "".join(
        f'<li><a href="#{_text(s.name)}">{_text(s.title)}</a></li>'
        for s in document.sections
    )
    body = "\n".join(_section(section) for section in document.sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{CSS}</style>
</head>
<body>
<h1>{title}</h1>
<nav aria-label="Contents"><ul>{contents}
<li><a href="#sources">Where each number comes from</a></li></ul></nav>
<main>
{body}
{_sources(document, material)}
</main>
</body>
</html>
"""


def _text(value: str) -> str:
    """Escapes text; control characters, which no page may hold, go."""
    kept = (c for c in str(value) if c in "\n\t" or c.isprintable())
    return html.escape("".join(kept), quote=True)


def _section(section: blocks.Section) -> str:
    parts = "\n".join(_block(block) for block in section.blocks)
    name, title = _text(section.name), _text(section.title)
    return f'<section id="{name}"><h2>{title}</h2>\n{parts}</section>'


def _block(block: blocks.Block) -> str:
    match block:
        case blocks.Words(text):
            return f"<p>{_text(text)}</p>"
        case blocks.Points(texts):
            items = "".join(f"<li>{_text(text)}</li>" for text in texts)
            return f"<ul>{items}</ul>"
        case blocks.Command(text):
            return f"<pre><code>{_text(text)}</code></pre>"
        case blocks.Table():
            return _table(block)
    return _picture(block)


def _table(table: blocks.Table) -> str:
    head = "".join(f'<th scope="col">{_text(h)}</th>' for h in table.head)
    body = "\n".join(
        "<tr>" + "".join(_cell(cell) for cell in row) + "</tr>"
        for row in table.body
    )
    caption = f"<caption>{_text(table.caption)}</caption>"
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="Table">'
        f"<table>{caption if table.caption else ''}<thead><tr>{head}</tr>"
        f"</thead><tbody>{body}</tbody></table></div>"
    )


def _cell(cell: blocks.Cell) -> str:
    text = _text(cell.text)
    if cell.rows:
        text = f'<a href="#m-{digest(cell.rows[0])}">{text}</a>'
    tone = f' class="{_text(cell.tone)}"' if cell.tone else ""
    return f"<td{tone}>{text}</td>"


def _picture(picture: blocks.Picture) -> str:
    return (
        f'<figure id="{_text(picture.name)}">'
        f'<img src="{_uri(picture)}" alt="{_text(picture.alt)}">'
        f"<figcaption>{_text(picture.caption)}</figcaption></figure>"
    )


def _uri(picture: blocks.Picture) -> str:
    """Returns a picture as a data URI to stand between double quotes."""
    if picture.raster:
        data = base64.b64encode(_small(picture.bytes("png"))).decode()
        return f"data:image/png;base64,{data}"
    # Half of what base64 adds to text; glyphs are paths, so that no white
    # space means anything.
    text = " ".join(picture.bytes("svg").decode().split())
    if "'" not in text:
        text = text.replace('"', "'")
    return f"data:image/svg+xml,{urllib.parse.quote(text, safe=_PLAIN)}"


def _small(png: bytes) -> bytes:
    """Returns a PNG of 256 colours: a third as large, to the eye the same."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    few = image.quantize(256, dither=Image.Dither.NONE)
    held = io.BytesIO()
    few.save(held, "PNG", optimize=True)
    return held.getvalue()


def linked(document: blocks.Document) -> list[Row]:
    """Returns every row behind a cell, each once."""
    found: dict[str, Row] = {}
    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, blocks.Table):
                for line in block.body:
                    for cell in line:
                        found |= {digest(row): row for row in cell.rows}
    return list(found.values())


def _sources(document: blocks.Document, material: Material) -> str:
    head = "".join(f'<th scope="col">{_text(h)}</th>' for h in _HEAD)
    lines = "\n".join(_source(row, material) for row in linked(document))
    return f"""<section id="sources"><h2>Where each number comes from</h2>
<p>Each number in a table leads to the measurement behind it, the first one
where it is a mean over seeds; the others follow it. The artifact's ancestry,
back to the images, is told by <code>python -m bin.show_lineage
--pipeline_root=FOLDER --artifact=NUMBER</code>, where FOLDER holds the
metadata.sqlite beside these results.</p>
<div class="scroll"><table class="sources"><thead><tr>{head}</tr></thead>
<tbody>{lines}</tbody></table></div></section>"""


def _source(row: Row, material: Material) -> str:
    name = digest(row)
    made = material.sources.get(name, {})
    by = "not known"
    if made:
        by = f"{made['node']}, artifact {made['artifact']}"
    attack = f" under {row.attack}" if row.attack else ""
    budget = "" if row.epsilon is None else f", epsilon {row.epsilon:.4g}"
    what = (
        f"{row.dataset} {row.model} {row.classifier}, {row.epochs} epochs: "
        f"{row.measure}{attack}{budget}"
    )
    error = "" if row.stderr is None else f"{row.stderr:.3g}"
    told = json.dumps(dict(row.parameters), sort_keys=True)
    cells = (what, f"{row.value:.6g}", error, row.n, row.seed, told, by)
    return f'<tr id="m-{name}">{_cells(cells)}</tr>'


def _cells(values: Sequence | Iterable) -> str:
    return "".join(f"<td>{_text(value)}</td>" for value in values)
