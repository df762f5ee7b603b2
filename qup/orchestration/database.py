"""An SQLite database in ML Metadata's schema, version 10: schema, records, transactions.

The names of the tables, columns and indexes, the numbers and the nine simple types are a file
format (ML Metadata, Apache License 2.0, https://github.com/google/ml-metadata). ML Metadata's own
tools can read the database.

Transactions use a rollback journal, synchronous=FULL, BEGIN IMMEDIATE and a connection of their
own, so threads and forked processes share nothing.
"""

import contextlib
import os
import pathlib
import shlex
import sqlite3
import time
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from qup.core import files
from qup.core.errors import InputError
from qup.orchestration import errors

SCHEMA_VERSION = 10

# Type.type_kind.
EXECUTION, ARTIFACT, CONTEXT = 0, 1, 2
# Event.type.
INPUT_EVENT, OUTPUT_EVENT = 3, 4
# With those that are declared before an execution, and internal ones.
_EVENT_TYPES = {INPUT_EVENT: (3, 2, 5), OUTPUT_EVENT: (4, 1, 6)}
# TypeProperty.data_type.
_INT_TYPE, _STRING_TYPE = 1, 3

# Properties that every type of a kind declares; all others are custom properties.
_OWNER_PROPERTIES = {"host": _STRING_TYPE, "process": _INT_TYPE, "process_start": _STRING_TYPE}
DECLARED_PROPERTIES = {
    EXECUTION: {
        "node": _STRING_TYPE,
        "fingerprint": _STRING_TYPE,
        "code": _STRING_TYPE,
        "parameters": _STRING_TYPE,
        "error": _STRING_TYPE,
        **_OWNER_PROPERTIES,
    },
    ARTIFACT: {"digest": _STRING_TYPE, "manifest": _STRING_TYPE, "damage": _STRING_TYPE},
    CONTEXT: {
        "pipeline": _STRING_TYPE,
        "state": _INT_TYPE,
        "parameters": _STRING_TYPE,
        **_OWNER_PROPERTIES,
    },
}

_SIMPLE_TYPES = {
    ARTIFACT: ("Dataset", "Model", "Metrics", "Statistics"),
    EXECUTION: ("Train", "Transform", "Process", "Evaluate", "Deploy"),
}

_ID = "id INTEGER PRIMARY KEY AUTOINCREMENT"
_NAME = "name VARCHAR(255)"
_EXTERNAL = "external_id VARCHAR(255) UNIQUE"
_TIMESTAMP_COLUMNS = ("create_time_since_epoch", "last_update_time_since_epoch")
_DATED = f"""{_EXTERNAL},
    {_TIMESTAMP_COLUMNS[0]} INT NOT NULL DEFAULT 0,
    {_TIMESTAMP_COLUMNS[1]} INT NOT NULL DEFAULT 0,
    UNIQUE (type_id, name)"""

_TABLE_COLUMNS = {
    "MLMDEnv": "schema_version INTEGER PRIMARY KEY",
    "Type": f"""{_ID}, {_NAME} NOT NULL, version VARCHAR(255),
    type_kind TINYINT(1) NOT NULL, description TEXT, input_type TEXT,
    output_type TEXT, {_EXTERNAL}""",
    "ParentType": """type_id INT NOT NULL, parent_type_id INT NOT NULL,
    PRIMARY KEY (type_id, parent_type_id)""",
    "TypeProperty": f"""type_id INT NOT NULL, {_NAME} NOT NULL, data_type INT,
    PRIMARY KEY (type_id, name)""",
    "Artifact": f"""{_ID}, type_id INT NOT NULL, uri TEXT, state INT, {_NAME},
    {_DATED}""",
    "Execution": f"""{_ID}, type_id INT NOT NULL, last_known_state INT,
    {_NAME}, {_DATED}""",
    "Context": f"{_ID}, type_id INT NOT NULL, {_NAME} NOT NULL, {_DATED}",
    "ParentContext": """context_id INT NOT NULL,
    parent_context_id INT NOT NULL,
    PRIMARY KEY (context_id, parent_context_id)""",
    "Event": f"""{_ID}, artifact_id INT NOT NULL, execution_id INT NOT NULL,
    type INT NOT NULL, milliseconds_since_epoch INT,
    UNIQUE (artifact_id, execution_id, type)""",
    "EventPath": """event_id INT NOT NULL, is_index_step TINYINT(1) NOT NULL,
    step_index INT, step_key TEXT""",
    "Association": f"""{_ID}, context_id INT NOT NULL,
    execution_id INT NOT NULL, UNIQUE (context_id, execution_id)""",
    "Attribution": f"""{_ID}, context_id INT NOT NULL,
    artifact_id INT NOT NULL, UNIQUE (context_id, artifact_id)""",
}
_PROPERTY = f"""{{0}}_id INT NOT NULL, {_NAME} NOT NULL,
    is_custom_property TINYINT(1) NOT NULL, int_value INT,
    double_value DOUBLE, string_value TEXT, byte_value BLOB,
    proto_value BLOB, bool_value BOOLEAN,
    PRIMARY KEY ({{0}}_id, name, is_custom_property)"""
# The names of indexes are idx_TABLE_COLUMN.
_INDEXES = {
    "Artifact": ("uri", "external_id", *_TIMESTAMP_COLUMNS),
    "Execution": ("external_id", *_TIMESTAMP_COLUMNS),
    "Context": ("external_id", *_TIMESTAMP_COLUMNS),
    "Event": ("execution_id",),
    "EventPath": ("event_id",),
    "ParentContext": ("parent_context_id",),
    "Type": ("name", "external_id"),
}


def build_schema_statements() -> list[str]:
    """Returns the SQL that creates an empty database."""
    statements = [f"CREATE TABLE {table} ({sql})" for table, sql in _TABLE_COLUMNS.items()]
    for table, columns in _INDEXES.items():
        for column in columns:
            name = f"idx_{table}_{column}".lower()
            statements.append(f"CREATE INDEX {name} ON {table} ({column})")
    for owner in ("artifact", "execution", "context"):
        table = f"{owner.capitalize()}Property"
        statements.append(f"CREATE TABLE {table} ({_PROPERTY.format(owner)})")
        for kind in ("int", "double", "string"):
            statements.append(
                f"CREATE INDEX idx_{owner}_property_{kind} ON {table} "
                f"(name, is_custom_property, {kind}_value) "
                f"WHERE {kind}_value IS NOT NULL"
            )
    statements.append(f"INSERT INTO MLMDEnv VALUES ({SCHEMA_VERSION})")
    for kind, names in _SIMPLE_TYPES.items():
        for name in names:
            values = f"('mlmd.{name}', {kind})"
            statements.append(f"INSERT INTO Type (name, type_kind) VALUES {values}")
    return statements


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
    """Adds an execution, artifact or context, and returns its id.

    Args:
      cursor: A cursor in a transaction.
      kind: EXECUTION, ARTIFACT or CONTEXT.
      type_name: Its type, created if it is new.
      columns: Values of the columns of its table.
      declared: Properties in `DECLARED_PROPERTIES`.
      custom: Other properties; values that are not scalars are skipped.
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
    """Sets columns and declared properties of an existing record."""
    values = {"last_update_time_since_epoch": _get_time_ms(), **columns}
    cursor.execute(
        f"UPDATE {_TABLES[kind]} SET {' = ?, '.join(values)} = ? WHERE id = ?",
        (*values.values(), record_id),
    )
    _write_properties(cursor, kind, record_id, declared)


def read_properties(
    cursor: sqlite3.Cursor, kind: int, record_id: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the (declared, custom) properties of a record."""
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
    """Returns the id of a context, created if it is new."""
    row = cursor.execute(
        "SELECT id FROM Context WHERE type_id = ? AND name = ?",
        (_get_or_create_type(cursor, CONTEXT, type_name), name),
    ).fetchone()
    if row:
        return row[0]
    return insert_record(cursor, CONTEXT, type_name, {"name": name})


def link_contexts(
    cursor: sqlite3.Cursor, kind: int, contexts: Iterable[int], record_id: int
) -> None:
    """Adds an execution or an artifact to contexts."""
    table = "Association" if kind == EXECUTION else "Attribution"
    cursor.executemany(
        f"INSERT OR IGNORE INTO {table} (context_id, {_TABLES[kind]}_id) VALUES (?, ?)",
        [(context_id, record_id) for context_id in contexts],
    )


def insert_events(
    cursor: sqlite3.Cursor, execution: int, direction: int, artifacts: Mapping[str, list[int]]
) -> None:
    """Connects an execution with its artifacts.

    Args:
      cursor: A cursor in a transaction.
      execution: Id of the execution.
      direction: INPUT_EVENT or OUTPUT_EVENT.
      artifacts: Ids by key. An artifact under several keys or indexes has one event with a longer
        path.
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
    """Returns the ids of an execution's artifacts by key, in order.

    Other programs may write events without a key, which are under "", and without an index.

    Args:
      cursor: A cursor in a transaction.
      execution: Id of the execution.
      direction: INPUT_EVENT or OUTPUT_EVENT; declared and internal events are included.
    """
    kinds = get_event_types(direction)
    steps = cursor.execute(
        "SELECT Event.id, artifact_id, step_key, step_index FROM Event "
        "LEFT JOIN EventPath ON event_id = Event.id "
        f"WHERE execution_id = ? AND type IN ({', '.join('?' * len(kinds))}) "
        "ORDER BY Event.id, EventPath.rowid",
        (execution, *kinds),
    ).fetchall()
    places: list[tuple[str, int, int]] = []
    previous_event = key = None
    for event, artifact, step_key, index in steps:
        is_first, previous_event = event != previous_event, event
        # Steps are pairs: a key, then an index.
        if step_key is not None or is_first:
            key = step_key or ""
            places.append((key, 0, artifact))
        if index is not None:
            if places[-1] == (key, 0, artifact):
                places.pop()
            places.append((key, index, artifact))
    ids_by_key: dict[str, list[int]] = {}
    for key, _, artifact in sorted(places):
        ids_by_key.setdefault(key, []).append(artifact)
    return ids_by_key


def get_event_types(direction: int) -> tuple[int, ...]:
    """Returns the numbers of Event.type that mean INPUT_EVENT or OUTPUT_EVENT."""
    return _EVENT_TYPES[direction]


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
        [(type_id, key, data) for key, data in DECLARED_PROPERTIES[kind].items()],
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


_TIMEOUT_S = 60
# Of the names of SQLite's files: the database, and the journal that belongs to it.
_SUFFIXES = ("", "-journal")
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_ADVICE = {
    sqlite3.SQLITE_FULL: "Free some space",
    sqlite3.SQLITE_IOERR: "Check the disk",
    sqlite3.SQLITE_READONLY: "Choose a folder that you can write to",
    sqlite3.SQLITE_CANTOPEN: "Choose a folder that you can write to",
    sqlite3.SQLITE_BUSY: "Wait until other processes have ended",
}


class Database:
    """An ML Metadata database.

    Attributes:
      path: The file.
    """

    def __init__(
        self, path: str | os.PathLike, *, create: bool = False, rename_if_damaged: bool = False
    ):
        """Opens and checks a database.

        Args:
          path: The file.
          create: Create it, and its folder, if it does not exist.
          rename_if_damaged: Rename a damaged file, so that the next run can create a new one.

        Raises:
          MetadataError: The file is missing or damaged, or does not have ML Metadata's schema
            version 10.
          StorageError: The folder cannot be created, or the file to write is a symbolic link.
        """
        if create:
            _check_not_links(path)
        self.path = pathlib.Path(path).resolve()
        if create:
            with errors.wrap_os_errors(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
        elif not self.path.exists():
            raise errors.MetadataError(
                f"There is no metadata database {self.path}. Name the folder of a pipeline that "
                "has run."
            )
        with self._wrap_sqlite_errors():
            damage = self._find_damage("rwc" if create else "rw")
        if damage:
            raise self._build_damage_error(damage, rename_if_damaged)
        with self.transaction(write=create) as cursor:
            self._create_or_check_tables(cursor, create)

    @contextlib.contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[sqlite3.Cursor]:
        """Runs one transaction, and rolls it back if the block raises.

        Args:
          write: Whether the transaction writes.

        Yields:
          A cursor.

        Raises:
          MetadataError: The database cannot be read or written.
        """
        with self._wrap_sqlite_errors(), self._connect("rw") as connection:
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            # An open cursor, for example in a traceback, would keep the transaction open.
            with contextlib.closing(connection.cursor()) as cursor:
                yield cursor
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def _connect(self, mode: str) -> Iterator[sqlite3.Connection]:
        quoted_path = urllib.parse.quote(os.fsencode(self.path))
        connection = sqlite3.connect(
            f"file:{quoted_path}?mode={mode}", uri=True, timeout=_TIMEOUT_S, isolation_level=None
        )
        try:
            connection.execute("PRAGMA synchronous=FULL")
            if mode == "rwc":
                connection.execute("PRAGMA journal_mode=DELETE")
            yield connection
        finally:
            connection.close()

    @contextlib.contextmanager
    def _wrap_sqlite_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            advice = _ADVICE.get(code, "Check the file")
            raise errors.MetadataError(
                f"Cannot use the metadata database {self.path}: {error}. {advice}, then run the "
                "same command to resume."
            ) from error

    def _find_damage(self, mode: str) -> str:
        """Returns a description of the damage of the file, or ""."""
        try:
            with self._connect(mode) as connection:
                rows = connection.execute("PRAGMA quick_check(1)").fetchall()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT:
                return str(error)
            raise
        return "" if rows == [("ok",)] else str(rows[0][0])

    def _build_damage_error(self, damage: str, rename_if_damaged: bool) -> errors.MetadataError:
        database_path, outcome = self.path, "Nothing was changed; move it aside to start"
        if rename_if_damaged:
            database_path = _find_free_path(self.path)
            with errors.wrap_os_errors(self.path):
                # A journal belongs to its database, under the same name.
                for suffix in reversed(_SUFFIXES):
                    if os.path.exists(f"{self.path}{suffix}"):
                        os.rename(f"{self.path}{suffix}", f"{database_path}{suffix}")
            outcome = f"It was renamed to {database_path.name}; the next run starts"
        return errors.MetadataError(
            f"The metadata database {self.path} is damaged ({damage}). {outcome} with an empty "
            "database. All files of the pipeline root stay, but are computed again. To recover "
            f"the records, first try: sqlite3 {shlex.quote(str(database_path))} .recover | "
            f"sqlite3 {shlex.quote(str(self.path))}"
        )

    def _create_or_check_tables(self, cursor: sqlite3.Cursor, create: bool) -> None:
        """Creates the tables of a new file; checks the schema of an existing file."""
        tables = {
            name
            for (name,) in cursor.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        if create and not tables:
            for statement in build_schema_statements():
                cursor.execute(statement)
            return
        version = (
            cursor.execute("SELECT schema_version FROM MLMDEnv").fetchone()
            if "MLMDEnv" in tables
            else None
        )
        if version != (SCHEMA_VERSION,):
            received = f"version {version[0]}" if version else "another schema"
            raise errors.MetadataError(
                f"{self.path} must have ML Metadata's schema version {SCHEMA_VERSION}; it has "
                f"{received}. Name another file, or upgrade it with ml-metadata 1.17.1."
            )


def _check_not_links(path: str | os.PathLike) -> None:
    """Raises a StorageError if a file of a database to write is a symbolic link."""
    for suffix in _SUFFIXES:
        try:
            files.check_not_link(f"{os.fspath(path)}{suffix}")
        except InputError as error:
            raise errors.StorageError(str(error)) from error


def _find_free_path(path: pathlib.Path) -> pathlib.Path:
    number = 1
    while os.path.lexists(candidate := path.with_name(f"{path.name}.corrupt-{number}")):
        number += 1
    return candidate
