r"""A report's tables as LaTeX, to copy into a paper.

```python
text = tables(document)  # needs \usepackage{booktabs} alone
```
"""

import re

from qup.report import blocks

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


def render_latex_tables(document: blocks.Document) -> str:
    """Returns all tables of a report, each with its section as a comment.

    Args:
      document: The report; of its cells the texts are taken, not the links.
    """
    texts = ["% Needs booktabs."]
    for section in document.sections:
        section_tables = [b for b in section.blocks if isinstance(b, blocks.Table)]
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


def _render_latex_table(table: blocks.Table, label: str) -> str:
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
