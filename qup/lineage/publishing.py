"""A copy of a metadata database that tells of steps, not of a machine.

```python
copy(find("runs/mnist"), pathlib.Path("results/pipeline/metadata.sqlite"))
```
"""

import contextlib
import json
import pathlib
import sqlite3

from qup import files
from qup.lineage.redaction import Redaction

_TABLES = ("ArtifactProperty", "ExecutionProperty", "ContextProperty")
# Sums of bytes and names of files, which tell of nothing else.
_PLAIN = ("manifest", "digest", "content", "fingerprint", "code", "node")
_MACHINE = ("host", "process_start")


def copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies a database without absolute paths, hosts and processes.

    Args:
      source: An ML Metadata database in the folder of a pipeline root.
      target: Where the copy is put; `bin.show_lineage` reads it.

    Raises:
      InputError: `target` cannot be written.
      sqlite3.Error: `source` cannot be read.
    """
    with (
        files.replacing(target) as partial,
        contextlib.closing(_opened(source)) as given,
        contextlib.closing(sqlite3.connect(partial)) as copied,
    ):
        given.backup(copied)
        _redact(copied, Redaction(source.parent.parent, _hosts(copied)))
        copied.commit()
        # What was replaced would stay in pages that are free.
        copied.execute("VACUUM")


def _opened(path: pathlib.Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def _hosts(database: sqlite3.Connection) -> set[str]:
    query = "SELECT DISTINCT string_value FROM {} WHERE name = 'host'"
    return {
        name
        for table in _TABLES
        for (name,) in database.execute(query.format(table))
        if name
    }


def _redact(database: sqlite3.Connection, redaction: Redaction) -> None:
    for table in _TABLES:
        database.execute(
            f"UPDATE {table} SET string_value = '' WHERE name IN (?, ?)",
            _MACHINE,
        )
        database.execute(
            f"UPDATE {table} SET int_value = 0 WHERE name = 'process'"
        )
        held = database.execute(
            f"SELECT rowid, name, string_value FROM {table} "
            "WHERE string_value IS NOT NULL"
        ).fetchall()
        for row, name, text in held:
            if name not in _PLAIN:
                database.execute(
                    f"UPDATE {table} SET string_value = ? WHERE rowid = ?",
                    (_redacted(text, redaction), row),
                )


def _redacted(text: str, redaction: Redaction) -> str:
    if not text.startswith(("{", "[")):
        return redaction.text(text)
    try:
        tree = json.loads(text)
    except ValueError:
        return redaction.text(text)
    return json.dumps(
        redaction.value(tree), sort_keys=True, separators=(",", ":")
    )
