"""A report as files: report.html, report.md, tables.tex, and its figures.

```python
write(Material.read(folder), folder / "report")
```
"""

import pathlib

import matplotlib as mpl

from qup import files
from qup.report import html, latex, markdown
from qup.report.composing import build_document
from qup.report.material import ReportData

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
            html.render_html(document, data),
            markdown.render_markdown(document, _FIGURES_FOLDER),
            latex.render_latex_tables(document),
        )
    for name, text in zip(PAGE_NAMES, pages, strict=True):
        files.write_text(folder / name, text)
    return [folder / name for name in PAGE_NAMES]


def _remove_stale_figures(folder: pathlib.Path, names: set[str]) -> None:
    """Removes figures of an earlier report that this one does not have."""
    for path in folder.glob("*.*"):
        if path.suffix in (".png", ".svg", ".pdf") and path.name not in names:
            files.remove_path(path)
