"""A report as files: report.html, report.md, tables.tex, and its figures.

```python
write(Material.read(folder), folder / "report")
```
"""

import pathlib

import matplotlib as mpl

from qup import files
from qup.report import html, latex, markdown
from qup.report.composing import compose
from qup.report.material import Material

PAGES = ("report.html", "report.md", "tables.tex")
_FIGURES = "figures"
# Ids within SVG files are the same each time.
_SVG = {"svg.hashsalt": "qup", "svg.fonttype": "path"}


def write(material: Material, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes the report.

    Args:
      material: What was measured.
      folder: For report.html, report.md, tables.tex (to copy from) and
        figures/ (PNG, SVG and PDF).

    Returns:
      The pages.

    Raises:
      InputError: The folder cannot be written, or an array is damaged.
    """
    with mpl.rc_context(_SVG):
        document = compose(material)
        names = set()
        for picture in document.pictures():
            for kind in ("png", "svg", "pdf"):
                name = f"{picture.name}.{kind}"
                names.add(name)
                files.write_bytes(folder / _FIGURES / name, picture.bytes(kind))
        _sweep(folder / _FIGURES, names)
        texts = (
            html.page(document, material),
            markdown.page(document, _FIGURES),
            latex.tables(document),
        )
    for name, text in zip(PAGES, texts, strict=True):
        files.write_text(folder / name, text)
    return [folder / name for name in PAGES]


def _sweep(folder: pathlib.Path, names: set[str]) -> None:
    """Removes figures of an earlier report that this one does not have."""
    for path in folder.glob("*.*"):
        if path.suffix in (".png", ".svg", ".pdf") and path.name not in names:
            files.remove(path)
