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

_PROPERTY_TABLES = ("ArtifactProperty", "ExecutionProperty", "ContextProperty")
# Sums of bytes and names of files, which tell of nothing else.
_UNREDACTED_PROPERTIES = ("manifest", "digest", "content", "fingerprint", "code", "node")
_MACHINE_PROPERTIES = ("host", "process_start")


def copy_redacted(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies a database without absolute paths, hosts and processes.

    Args:
      source: An ML Metadata database in the folder of a pipeline root.
      target: Where the copy is put; `bin.show_lineage` reads it.

    Raises:
      InputError: `target` cannot be written.
      sqlite3.Error: `source` cannot be read.
    """
    with (
        files.atomic_write(target) as partial,
        contextlib.closing(_connect_read_only(source)) as original,
        contextlib.closing(sqlite3.connect(partial)) as redacted,
    ):
        original.backup(redacted)
        _redact_tables(redacted, Redaction(source.parent.parent, _list_hosts(redacted)))
        redacted.commit()
        # What was replaced would stay in pages that are free.
        redacted.execute("VACUUM")


def _connect_read_only(path: pathlib.Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def _list_hosts(database: sqlite3.Connection) -> set[str]:
    query = "SELECT DISTINCT string_value FROM {} WHERE name = 'host'"
    return {
        name
        for table in _PROPERTY_TABLES
        for (name,) in database.execute(query.format(table))
        if name
    }


def _redact_tables(database: sqlite3.Connection, redaction: Redaction) -> None:
    for table in _PROPERTY_TABLES:
        database.execute(
            f"UPDATE {table} SET string_value = '' WHERE name IN (?, ?)", _MACHINE_PROPERTIES
        )
        database.execute(f"UPDATE {table} SET int_value = 0 WHERE name = 'process'")
        rows = database.execute(
            f"SELECT rowid, name, string_value FROM {table} WHERE string_value IS NOT NULL"
        ).fetchall()
        for row_id, name, text in rows:
            if name not in _UNREDACTED_PROPERTIES:
                database.execute(
                    f"UPDATE {table} SET string_value = ? WHERE rowid = ?",
                    (_redact_property(text, redaction), row_id),
                )


def _redact_property(text: str, redaction: Redaction) -> str:
    if not text.startswith(("{", "[")):
        return redaction.redact_text(text)
    try:
        tree = json.loads(text)
    except ValueError:
        return redaction.redact_text(text)
    return json.dumps(redaction.redact_value(tree), sort_keys=True, separators=(",", ":"))
