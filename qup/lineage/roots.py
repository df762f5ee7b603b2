"""Pipeline roots: found from any path within, read, never changed.

```python
records = Records(find("runs/mnist"))
records.runs()[-1].parameters
```
"""

import contextlib
import os
import pathlib
import sqlite3
from collections.abc import Iterator

from qup.orchestration import errors, reading
from qup.orchestration.executions import State

_DB_NAME = "metadata.sqlite"
_ROOT_NAME = "pipeline"
_ROOT_PATTERNS = (".", _ROOT_NAME, "*", f"*/{_ROOT_NAME}", f"*/*/{_ROOT_NAME}")


def resolve_path(path: str | os.PathLike) -> pathlib.Path:
    """Returns the path without links, whether or not anything is there.

    Raises:
      MetadataError: The links lead in a circle.
    """
    try:
        return pathlib.Path(path).resolve()
    except RuntimeError as error:
        raise errors.MetadataError(
            f"The links of {str(path)!r} lead in a circle. Name another path."
        ) from error


def find_database(path: str | os.PathLike) -> pathlib.Path:
    """Returns the metadata database that a path belongs to.

    Args:
      path: A working directory, a pipeline root, or something in one.

    Raises:
      MetadataError: There is none.
    """
    start = resolve_path(path)
    for folder in (start, *start.parents):
        for candidate in (folder, folder / _ROOT_NAME):
            if (candidate / _DB_NAME).is_file():
                return candidate / _DB_NAME
    fault = f"There is no file or folder {str(path)!r}."
    if start.exists():
        fault = (
            f"There is no {_DB_NAME} in {str(path)!r}, in its {_ROOT_NAME!r} folder or above it."
        )
    raise errors.MetadataError(
        f"{fault} Name a working directory, or a file that a pipeline has made."
    )


def find_databases_below(path: str | os.PathLike) -> list[pathlib.Path]:
    """Returns the databases in a folder and in the working directories in it.

    Raises:
      MetadataError: There is none.
    """
    folder = pathlib.Path(path)
    databases = {
        database.resolve(): database
        for pattern in _ROOT_PATTERNS
        for database in sorted(folder.glob(f"{pattern}/{_DB_NAME}"))
        if database.is_file()
    }
    if not databases:
        fault = "no pipeline in" if folder.is_dir() else "no folder"
        raise errors.MetadataError(
            f"There is {fault} {str(path)!r}. Name a working directory, or a folder of them."
        )
    return sorted(databases.values())


class ReadOnlyMetadata(reading.MetadataReader):
    """An ML Metadata database, opened so that it cannot be written."""

    def count_executions(self) -> dict[str, tuple[int, int]]:
        """Returns (executed, reused) executions of every run, by its id."""
        with self.transaction() as cursor:
            rows = cursor.execute(
                "SELECT Context.name, sum(last_known_state != ?1), "
                "sum(last_known_state = ?1) FROM Type "
                "JOIN Context ON Context.type_id = Type.id "
                "JOIN Association ON context_id = Context.id "
                "JOIN Execution ON execution_id = Execution.id "
                "WHERE Type.name = 'pipeline_run' GROUP BY Context.id",
                (int(State.CACHED),),
            )
            return {run: (new, old) for run, new, old in rows}

    @contextlib.contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[sqlite3.Cursor]:
        """Runs one transaction that reads; see `Database`.

        Raises:
          MetadataError: The database cannot be read, or another program
            than this one has filled it.
        """
        with super().transaction(write=False) as cursor:
            try:
                yield cursor
            except (KeyError, TypeError, ValueError) as error:
                if isinstance(error, errors.OrchestrationError):
                    raise
                raise errors.MetadataError(
                    f"{self.path} holds records that this program did not "
                    f"write ({type(error).__name__}: {error}). Name the "
                    "folder of one of its pipelines."
                ) from error

    @contextlib.contextmanager
    def _connect(self, mode: str) -> Iterator[sqlite3.Connection]:
        with super()._connect("ro") as connection:
            yield connection

    @contextlib.contextmanager
    def _wrap_sqlite_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise errors.MetadataError(
                f"Cannot read the metadata database {self.path}: {error}. "
                "Give access, or let its pipeline run once more: that mends "
                "what a killed process has left."
            ) from error
