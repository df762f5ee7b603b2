"""A document as Markdown, its figures as files beside it.

```python
text = page(document, figures="figures")
```
"""

import re

from qup.report import blocks

# What Markdown, or HTML within it, would take for markup.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~])")


def page(document: blocks.Document, figures: str = "figures") -> str:
    """Returns the text.

    Args:
      document: What it says.
      figures: Folder of the figures' PNG files, from where it is read.
    """
    parts = [f"# {_text(document.title)}"]
    for section in document.sections:
        parts.append(f"## {_text(section.title)}")
        parts += [_block(block, figures) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def _text(value: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in value)
                    .split())  # fmt: skip
    return _MARKUP.sub(r"\\\1", line)


def _block(block: blocks.Block, figures: str) -> str:
    match block:
        case blocks.Words(text):
            return _text(text)
        case blocks.Points(texts):
            return "\n".join(f"- {_text(text)}" for text in texts)
        case blocks.Command(text):
            return "\n".join(f"    {line}" for line in text.splitlines())
        case blocks.Table():
            return _table(block)
    link = f"![{_text(block.alt)}]({figures}/{block.name}.png)"
    return f"{link}\n\n{_text(block.caption)}"


def _table(table: blocks.Table) -> str:
    def line(cells) -> str:
        return f"| {' | '.join(_text(cell) for cell in cells)} |"

    lines = [line(table.head), f"|{' --- |' * len(table.head)}"]
    lines += [line(cell.text for cell in row) for row in table.body]
    text = "\n".join(lines)
    return f"{_text(table.caption)}\n\n{text}" if table.caption else text
