r"""A report's tables as LaTeX, to copy into a paper.

```python
text = tables(document)  # needs \usepackage{booktabs} alone
```
"""

import re

from qup.report import blocks

_SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "±": r"$\pm$", "≥": r"$\geq$",
    "≤": r"$\leq$", "\N{EN DASH}": "--", "\N{MINUS SIGN}": "$-$",
    "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    **{c: f"\\{c}" for c in "{}#$%&_"},
}  # fmt: skip
_CHARACTERS = re.compile("|".join(map(re.escape, _SPECIAL)))


def tables(document: blocks.Document) -> str:
    """Returns all tables of a report, each with its section as a comment.

    Args:
      document: The report; of its cells the texts are taken, not the links.
    """
    parts = ["% Needs booktabs."]
    for section in document.sections:
        held = [b for b in section.blocks if isinstance(b, blocks.Table)]
        for number, table in enumerate(held, 1):
            label = (
                section.name if len(held) == 1 else f"{section.name}-{number}"
            )
            parts.append(f"% {_line(section.title)}\n{_table(table, label)}")
    return "\n\n".join(parts) + "\n"


def _line(text: str) -> str:
    return " ".join(
        "".join(c if c.isprintable() else " " for c in text).split()
    )


def _text(text: str) -> str:
    return _CHARACTERS.sub(lambda m: _SPECIAL[m[0]], _line(text))


def _row(texts) -> str:
    # Braces, lest a bracket after \\ should be taken for an option.
    return " & ".join(f"{{{_text(text)}}}" for text in texts) + r" \\"


def _table(table: blocks.Table, label: str) -> str:
    lines = [
        r"\begin{table}",
        rf"\caption{{{_text(table.caption)}}}",
        rf"\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{{'l' * len(table.head)}}}",
        r"\toprule",
        _row(table.head),
        r"\midrule",
        *(_row(cell.text for cell in row) for row in table.body),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)
