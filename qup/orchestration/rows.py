"""Rows of ML Metadata's tables, within a transaction of the caller.

`kind` is `schema.EXECUTION`, `schema.ARTIFACT` or `schema.CONTEXT`.
"""

import sqlite3
import time
from collections.abc import Iterable, Mapping
from typing import Any

from qup.orchestration import schema

_TABLES = ("Execution", "Artifact", "Context")
_VALUE_COLUMNS = {bool: "bool_value", int: "int_value", float: "double_value"}
_EMPTY: Mapping[str, Any] = {}


def insert_record(
    cursor: sqlite3.Cursor,
    kind: int,
    type_name: str,
    columns: Mapping[str, Any],
    declared: Mapping[str, Any] = _EMPTY,
    custom: Mapping[str, Any] = _EMPTY,
) -> int:
    """Adds what `kind` says with its properties, and returns its id.

    Args:
      cursor: Of the transaction.
      kind: What to add.
      type_name: Its type, which is made if it is new.
      columns: Values of its own table.
      declared: Properties in `schema.PROPERTIES`.
      custom: Other properties; what is no scalar is left out.
    """
    values = {
        "type_id": _get_or_create_type(cursor, kind, type_name),
        "create_time_since_epoch": _get_time_ms(),
        **columns,
    }
    cursor.execute(
        f"INSERT INTO {_TABLES[kind]} ({', '.join(values)}) "
        f"VALUES ({', '.join('?' * len(values))})",
        tuple(values.values()),
    )
    record_id = cursor.lastrowid
    update_record(cursor, kind, record_id, declared=declared)
    _write_properties(cursor, kind, record_id, custom, custom=True)
    return record_id


def update_record(
    cursor: sqlite3.Cursor,
    kind: int,
    record_id: int,
    columns: Mapping[str, Any] = _EMPTY,
    declared: Mapping[str, Any] = _EMPTY,
) -> None:
    """Sets columns and declared properties of what was added before."""
    values = {"last_update_time_since_epoch": _get_time_ms(), **columns}
    cursor.execute(
        f"UPDATE {_TABLES[kind]} SET {' = ?, '.join(values)} = ? WHERE id = ?",
        (*values.values(), record_id),
    )
    _write_properties(cursor, kind, record_id, declared)


def read_properties(
    cursor: sqlite3.Cursor, kind: int, record_id: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns (declared, custom) properties."""
    table, by_custom = _TABLES[kind], ({}, {})
    for name, custom, flag, *values in cursor.execute(
        "SELECT name, is_custom_property, bool_value, int_value, "
        f"double_value, string_value FROM {table}Property "
        f"WHERE {table}_id = ?",
        (record_id,),
    ):
        values.append(None if flag is None else bool(flag))
        by_custom[custom][name] = next((v for v in values if v is not None), None)
    return by_custom


def get_or_create_context(cursor: sqlite3.Cursor, type_name: str, name: str) -> int:
    """Returns the id of a context, which is made if it is new."""
    row = cursor.execute(
        "SELECT id FROM Context WHERE type_id = ? AND name = ?",
        (_get_or_create_type(cursor, schema.CONTEXT, type_name), name),
    ).fetchone()
    if row:
        return row[0]
    return insert_record(cursor, schema.CONTEXT, type_name, {"name": name})


def link_contexts(
    cursor: sqlite3.Cursor, kind: int, contexts: Iterable[int], record_id: int
) -> None:
    """Puts an execution or an artifact into contexts."""
    table = "Association" if kind == schema.EXECUTION else "Attribution"
    cursor.executemany(
        f"INSERT OR IGNORE INTO {table} (context_id, {_TABLES[kind]}_id) VALUES (?, ?)",
        [(context_id, record_id) for context_id in contexts],
    )


def insert_events(
    cursor: sqlite3.Cursor, execution: int, direction: int, artifacts: Mapping[str, list[int]]
) -> None:
    """Connects an execution with artifacts.

    Args:
      cursor: Of the transaction.
      execution: Its id.
      direction: `schema.INPUT` or `schema.OUTPUT`.
      artifacts: Ids by key. One under several keys or indexes has one event
        with a longer path.
    """
    paths: dict[int, list[tuple]] = {}
    for key, numbers in artifacts.items():
        for index, number in enumerate(numbers):
            steps = ((False, None, key), (True, index, None))
            paths.setdefault(number, []).extend(steps)
    for number, path in paths.items():
        cursor.execute(
            "INSERT INTO Event (artifact_id, execution_id, type, "
            "milliseconds_since_epoch) VALUES (?, ?, ?, ?)",
            (number, execution, direction, _get_time_ms()),
        )
        event = cursor.lastrowid
        cursor.executemany(
            "INSERT INTO EventPath VALUES (?, ?, ?, ?)", [(event, *step) for step in path]
        )


def read_events(cursor: sqlite3.Cursor, execution: int, direction: int) -> dict[str, list[int]]:
    """Returns the ids of an execution's artifacts by key, in order."""
    steps = cursor.execute(
        "SELECT artifact_id, step_key, step_index FROM Event "
        "JOIN EventPath ON event_id = Event.id "
        "WHERE execution_id = ? AND type = ? "
        "ORDER BY event_id, EventPath.rowid",
        (execution, direction),
    ).fetchall()
    # Steps come in pairs: a key, then an index.
    pairs = zip(steps[::2], steps[1::2], strict=True)
    ids_by_key: dict[str, list[int]] = {}
    for key, _, artifact in sorted((k[1], i[2], k[0]) for k, i in pairs):
        ids_by_key.setdefault(key, []).append(artifact)
    return ids_by_key


def _get_time_ms() -> int:
    return time.time_ns() // 1_000_000


def _get_or_create_type(cursor: sqlite3.Cursor, kind: int, name: str) -> int:
    row = cursor.execute(
        "SELECT id FROM Type WHERE name = ? AND type_kind = ?", (name, kind)
    ).fetchone()
    if row:
        return row[0]
    cursor.execute("INSERT INTO Type (name, type_kind) VALUES (?, ?)", (name, kind))
    type_id = cursor.lastrowid
    cursor.executemany(
        "INSERT INTO TypeProperty VALUES (?, ?, ?)",
        [(type_id, key, data) for key, data in schema.DECLARED_PROPERTIES[kind].items()],
    )
    return type_id


def _write_properties(
    cursor: sqlite3.Cursor,
    kind: int,
    record_id: int,
    values: Mapping[str, Any],
    *,
    custom: bool = False,
) -> None:
    table = _TABLES[kind]
    for name, value in values.items():
        if not isinstance(value, bool | int | float | str):
            continue
        column = _VALUE_COLUMNS.get(type(value), "string_value")
        if column == "int_value" and abs(value) >= 2**63:
            column, value = "string_value", str(value)
        cursor.execute(
            f"INSERT OR REPLACE INTO {table}Property "
            f"({table}_id, name, is_custom_property, {column}) "
            "VALUES (?, ?, ?, ?)",
            (record_id, name, custom, value),
        )
