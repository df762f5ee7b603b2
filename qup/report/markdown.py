"""A document as Markdown, its figures as files beside it.

```python
text = page(document, figures="figures")
```
"""

import re

from qup.report import blocks

# What Markdown, or HTML within it, would take for markup.
_MARKDOWN_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def render_markdown(document: blocks.Document, figures: str = "figures") -> str:
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


def _render_markdown_block(block: blocks.Block, figures: str) -> str:
    match block:
        case blocks.Paragraph(text):
            return _escape_markdown(text)
        case blocks.BulletList(texts):
            return "\n".join(f"- {_escape_markdown(text)}" for text in texts)
        case blocks.Command(text):
            return "\n".join(f"    {line}" for line in text.splitlines())
        case blocks.Table():
            return _render_markdown_table(block)
    link = f"![{_escape_markdown(block.alt)}]({figures}/{block.name}.png)"
    return f"{link}\n\n{_escape_markdown(block.caption)}"


def _render_markdown_table(table: blocks.Table) -> str:
    def format_line(cells) -> str:
        return f"| {' | '.join(_escape_markdown(cell) for cell in cells)} |"

    lines = [format_line(table.head), f"|{' --- |' * len(table.head)}"]
    lines += [format_line(cell.text for cell in row) for row in table.body]
    text = "\n".join(lines)
    return f"{_escape_markdown(table.caption)}\n\n{text}" if table.caption else text
