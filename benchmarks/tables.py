"""Rows as CSV, and tables in documents between two comments.

```python
write_csv(path, [{"attack": "pgd", "seconds": 1.5}])
text = replace_table(text, "cost", "| attack | seconds |")
```
"""

import csv
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from absl import app

from qup.core import files


def write_csv(
    path: str | pathlib.Path, rows: Sequence[Mapping[str, Any]], columns: Iterable[str] = ()
) -> None:
    """Writes rows; numbers that are not integers get six significant digits.

    Args:
      path: The file; the old one stays until the new one is complete.
      rows: At least one.
      columns: The columns; default: those of the first row.
    """
    with (
        files.atomic_write(pathlib.Path(path)) as partial,
        open(partial, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(columns) or list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def replace_table(text: str, title: str, table: str) -> str:
    """Returns a document with the table between `<!-- title: begin -->` and `<!-- title: end -->`.

    Raises:
      UsageError: The document has not both comments, in order.
    """
    begin, end = (f"<!-- {title}: {word} -->" for word in ("begin", "end"))
    before, has_begin, rest = text.partition(begin)
    _, has_end, after = rest.partition(end)
    if not has_begin or not has_end:
        raise app.UsageError(f"The document needs the lines {begin} and {end}.")
    return f"{before}{begin}\n{table}\n{end}{after}"
