"""The SQLite file of the metadata: opened, checked, written safely.

Rollback journal, synchronous=FULL, BEGIN IMMEDIATE, and a connection for
each transaction, so nothing is shared between threads or forked processes.
"""

import contextlib
import os
import pathlib
import shlex
import sqlite3
import urllib.parse
from collections.abc import Iterator

from qup.orchestration import errors, schema

_TIMEOUT_S = 60
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_ADVICE = {
    sqlite3.SQLITE_FULL: "Free some space",
    sqlite3.SQLITE_IOERR: "Look after the disk",
    sqlite3.SQLITE_READONLY: "Choose a folder that you may write to",
    sqlite3.SQLITE_CANTOPEN: "Choose a folder that you may write to",
    sqlite3.SQLITE_BUSY: "Let the other processes end",
}


class Database:
    """An ML Metadata database.

    Attributes:
      path: The file.
    """

    def __init__(
        self, path: str | os.PathLike, *, create: bool = False, rename_if_damaged: bool = False
    ):
        """Opens a database and checks it.

        Args:
          path: The file.
          create: Make it, and its folder, if it is not there.
          rename_if_damaged: Rename a damaged file, so that the next start can make
            a new one. It keeps its bytes.

        Raises:
          MetadataError: The file is missing, damaged, or no database of ML
            Metadata's schema version 10.
          StorageError: The folder cannot be made.
        """
        self.path = pathlib.Path(path).resolve()
        if create:
            with errors.wrap_os_errors(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
        elif not self.path.exists():
            raise errors.MetadataError(
                f"There is no metadata database {self.path}. Name the folder "
                "of a pipeline that has run."
            )
        with self._wrap_sqlite_errors():
            damage = self._find_damage("rwc" if create else "rw")
        if damage:
            raise self._build_damage_error(damage, rename_if_damaged)
        with self.transaction(write=create) as cursor:
            self._create_or_check_tables(cursor, create)

    @contextlib.contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[sqlite3.Cursor]:
        """Runs one transaction; what does not end well is rolled back.

        Args:
          write: Whether it writes.

        Yields:
          A cursor within it.

        Raises:
          MetadataError: The database cannot be read or written.
        """
        with self._wrap_sqlite_errors(), self._connect("rw") as connection:
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            # A cursor left open, in a traceback say, keeps the transaction.
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
            advice = _ADVICE.get(code, "Open it again to have it checked")
            raise errors.MetadataError(
                f"Cannot use the metadata database {self.path}: {error}. "
                f"{advice}; the next run goes on from here."
            ) from error

    def _find_damage(self, mode: str) -> str:
        """Returns what is wrong with the file, or ""."""
        try:
            with self._connect(mode) as connection:
                rows = connection.execute("PRAGMA quick_check(1)").fetchall()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT:
                return str(error)
            raise
        return "" if rows == [("ok",)] else str(rows[0][0])

    def _build_damage_error(self, damage: str, rename_if_damaged: bool) -> errors.MetadataError:
        text = f"The metadata database {self.path} is damaged ({damage})."
        database_path, outcome = self.path, "Nothing was changed; move it aside to begin"
        if rename_if_damaged:
            database_path = _find_free_path(self.path)
            with errors.wrap_os_errors(self.path):
                # A journal belongs to its database, whatever it is called.
                for suffix in ("-journal", ""):
                    if os.path.exists(f"{self.path}{suffix}"):
                        os.rename(f"{self.path}{suffix}", f"{database_path}{suffix}")
            outcome = f"It is kept as {database_path.name}; the next start begins"
        return errors.MetadataError(
            f"{text} {outcome} with an empty one. All files of the pipeline "
            "root stay, but will be computed again. To save what was known, "
            f"try first: sqlite3 {shlex.quote(str(database_path))} .recover | "
            f"sqlite3 {shlex.quote(str(self.path))}"
        )

    def _create_or_check_tables(self, cursor: sqlite3.Cursor, create: bool) -> None:
        """Makes the tables of a new file; checks those of an old one."""
        tables = {
            name
            for (name,) in cursor.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        if create and not tables:
            for statement in schema.build_schema_statements():
                cursor.execute(statement)
            return
        version = (
            cursor.execute("SELECT schema_version FROM MLMDEnv").fetchone()
            if "MLMDEnv" in tables
            else None
        )
        if version != (schema.SCHEMA_VERSION,):
            received = f"version {version[0]}" if version else "something else"
            raise errors.MetadataError(
                f"{self.path} must hold ML Metadata's schema version "
                f"{schema.SCHEMA_VERSION}; it holds {received}. Name another file, "
                "or let ml-metadata 1.17.1 upgrade it."
            )


def _find_free_path(path: pathlib.Path) -> pathlib.Path:
    number = 1
    while (candidate := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    return candidate
