"""Copies the results of a reproduction into a folder for publication.

The copy has rows, arrays, the report and the lineage, but no artifacts, host names or absolute
paths.

```python
publish(pathlib.Path("runs/reproduce-cpu"), pathlib.Path("docs/results/cpu"))
```
"""

import contextlib
import json
import pathlib
import shutil
import sqlite3

from qup.core import errors, files, measurements
from qup.orchestration.lineage import graph
from qup.orchestration.lineage.redaction import Redaction
from qup.reproduction.report import render
from qup.reproduction.report.data import MEASUREMENTS_FILE, RUN_INFO_FILE, SOURCES_FILE, ReportData
from qup.reproduction.results import ARRAYS_FOLDER, format_json

_METADATA_PATH = pathlib.Path("pipeline", "metadata.sqlite")
_PROPERTY_TABLES = ("ArtifactProperty", "ExecutionProperty", "ContextProperty")
# Checksums and file names, without information on the machine.
_UNREDACTED_PROPERTIES = ("manifest", "digest", "content", "fingerprint", "code", "node")
_MACHINE_PROPERTIES = ("host", "process_start")


def copy_redacted(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies an ML Metadata database without absolute paths, hosts and processes.

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
        # Free pages of the file still contain the replaced text.
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


def publish(folder: pathlib.Path, target: pathlib.Path) -> list[pathlib.Path]:
    """Copies the results of a reproduction, and writes their report.

    Args:
      folder: A reproduction.
      target: A new folder, or an earlier publication.

    Returns:
      The pages of the report in `target`.

    Raises:
      InputError: `folder` is not a reproduction, or `target` is neither empty nor a publication or
        has measurements that `folder` does not have.
      MetadataError: The lineage is missing.
    """
    report_data = ReportData.read(folder)
    metadata_path = graph.find_database(folder)
    _check_target(folder, target)
    _check_nothing_is_lost(report_data, target)
    description = Redaction(folder.resolve()).redact_value(dict(report_data.run_info))
    # Written first: it marks the folder as a publication, even after an interruption.
    files.write_text(target / RUN_INFO_FILE, format_json(description))
    # Arrays before rows: after an interruption all rows have their arrays.
    _copy_arrays(report_data, target)
    for name in (MEASUREMENTS_FILE, SOURCES_FILE, "config.json", "versions.json"):
        with files.wrap_os_errors(folder / name):
            files.write_bytes(target / name, (folder / name).read_bytes())
    try:
        copy_redacted(metadata_path, target / _METADATA_PATH)
    except sqlite3.Error as error:
        raise errors.InputError(
            f"Cannot copy {metadata_path}: {error}. Wait for other processes, and try again."
        ) from error
    return render.write_report(ReportData.read(target), target / "report")


def _check_target(folder: pathlib.Path, target: pathlib.Path) -> None:
    with files.wrap_os_errors(target):
        target_files = sorted(target.iterdir()) if target.exists() else []
    if target_files and not (target / RUN_INFO_FILE).is_file():
        raise errors.InputError(
            f"{target} contains files but is not a published reproduction "
            f"({target_files[0].name}, ...). Name an empty or a new folder."
        )
    if target.resolve() == folder.resolve():
        raise errors.InputError(f"{target} is the reproduction itself. Name another folder.")
    pipeline_folder = target / _METADATA_PATH.parent
    if pipeline_folder.is_dir() and any(path.is_dir() for path in pipeline_folder.iterdir()):
        raise errors.InputError(
            f"{target} is a reproduction with its networks, not a published one. Name an empty or "
            "a new folder."
        )


def _check_nothing_is_lost(report_data: ReportData, target: pathlib.Path) -> None:
    """Raises an InputError if published results would be lost."""
    published = target / MEASUREMENTS_FILE
    rows = measurements.read_rows(published) if published.is_file() else []
    kept_keys = {row.key() for row in report_data.rows}
    lost_rows = [row for row in rows if row.key() not in kept_keys]
    if lost_rows:
        raise errors.InputError(
            f"{target} has {len(lost_rows)} measurements that {report_data.folder} does not have, "
            f"such as {lost_rows[0].measure} of {lost_rows[0].model}, {lost_rows[0].dataset}, "
            f"{lost_rows[0].epochs} epochs, seed {lost_rows[0].seed}: they would be lost. Continue "
            "from a copy of it (qup reproduce --workdir=COPY), or name a new folder."
        )
    named_paths = {target / row.artifact for row in (*rows, *report_data.rows)}
    for path in sorted((target / ARRAYS_FOLDER).rglob("*")):
        if path.is_file() and path not in named_paths:
            raise errors.InputError(
                f"{path} belongs to no measurement and would be lost. Move it out of "
                f"{target / ARRAYS_FOLDER}, or name a new folder."
            )


def _copy_arrays(report_data: ReportData, target: pathlib.Path) -> None:
    """Copies the arrays of the rows."""
    with files.atomic_write(target / ARRAYS_FOLDER) as partial:
        partial.mkdir()
        arrays_folder = (report_data.folder / ARRAYS_FOLDER).resolve()
        for name in sorted({row.artifact for row in report_data.rows}):
            source = (report_data.folder / name).resolve()
            if source.is_file() and source.is_relative_to(arrays_folder):
                copied = partial / source.relative_to(arrays_folder)
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copied)
