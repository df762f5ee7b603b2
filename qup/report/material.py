"""What a report is made of: rows, arrays, and where they came from.

A folder of a reproduction holds measurements.csv, arrays/ (the .npz files
that rows name), reproduction.json (scale, seeds, versions, what failed) and
sources.json (of each row, which execution made it).

```python
material = Material.read(folder)
rows = material.find(dataset="mnist", measure="test_accuracy", control=None)
```
"""

import collections
import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qup import errors, measurements, scales
from qup.core import hashing
from qup.measurements import Row
from qup.report import class_names

MEASUREMENTS_FILE, SOURCES_FILE, RUN_INFO_FILE = (
    "measurements.csv",
    "sources.json",
    "reproduction.json",
)
# Of reproduction.json, and of which type it is.
_RUN_INFO_TYPES = {
    "scale": str,
    "seeds": list,
    "seconds": float,
    "versions": dict,
    "class_names": dict,
    "failed": dict,
}
_ROW_COLUMNS = set(measurements.HEADER) - {"parameters"}


def compute_row_digest(row: Row) -> str:
    """Returns a short name of a row, made of its key."""
    text = json.dumps(row.key(), default=str)
    return hashing.text_digest(text)[:12]


@dataclasses.dataclass(frozen=True)
class ReportData:
    """Everything measured.

    Attributes:
      folder: Where arrays lie.
      rows: The rows.
      scale: How much was computed.
      run_info: "seeds", "versions", "seconds", "class_names", "failed", ...
      sources: Digest of a row to {"node", "artifact", "execution", ...}.
    """

    folder: pathlib.Path
    rows: tuple[Row, ...]
    scale: scales.Scale
    run_info: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sources: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, folder: pathlib.Path) -> "ReportData":
        """Reads the folder of a reproduction.

        Raises:
          InputError: It holds none, or is damaged.
        """
        rows = measurements.read_rows(folder / MEASUREMENTS_FILE)
        _check_unique(folder / MEASUREMENTS_FILE, rows)
        run_info = read_run_info(folder / RUN_INFO_FILE)
        sources = read_json(folder / SOURCES_FILE)
        scale = scales.get_scale(run_info["scale"])
        return cls(folder, tuple(rows), scale, run_info, sources)

    def find(self, **filters: Any) -> list[Row]:
        """Returns the rows with these columns or parameters.

        Args:
          **filters: A column's or a parameter's name to its value; None
            matches what is absent or empty.
        """
        rows: Sequence[Row] = self.rows
        if isinstance(filters.get("measure"), str):
            rows = self._rows_by_measure.get(filters["measure"], ())
        return [row for row in rows if _matches(row, filters)]

    def get_class_name(self, dataset: str, label: int) -> str:
        """Returns the name of a class, or its label where none is known."""
        names = self.run_info.get("class_names", {}).get(dataset, ())
        names = class_names.resolve_class_names(dataset, names)
        return str(names[label]) if label < len(names) else str(label)

    @functools.cached_property
    def _rows_by_measure(self) -> dict[str, list[Row]]:
        """The rows by measure: reports look for most of them many times."""
        rows_by_measure: dict[str, list[Row]] = {}
        for row in self.rows:
            rows_by_measure.setdefault(row.measure, []).append(row)
        return rows_by_measure

    def load_arrays(self, row: Row) -> dict[str, np.ndarray] | None:
        """Returns the arrays that a row names; None where they are missing.

        Raises:
          InputError: The file is damaged.
        """
        path = (self.folder / row.artifact).resolve()
        is_inside_folder = path.is_relative_to(self.folder.resolve())
        if not (row.artifact and is_inside_folder and path.is_file()):
            return None
        try:
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (OSError, ValueError) as error:
            raise errors.InputError(
                f"{path} is damaged: {error}. Remove it; the same command puts it there again."
            ) from error


def _check_unique(path: pathlib.Path, rows: Sequence[Row]) -> None:
    keys = collections.Counter(json.dumps(r.key(), default=str) for r in rows)
    duplicates = [key for key, count in keys.items() if count > 1]
    if duplicates:
        raise errors.InputError(
            f"{path} is damaged: {len(duplicates)} measurements stand in it more "
            f"than once, such as {duplicates[0]}. Leave one line of each."
        )


def _matches(row: Row, filters: Mapping[str, Any]) -> bool:
    for name, value in filters.items():
        actual = getattr(row, name) if name in _ROW_COLUMNS else row.parameters.get(name)
        if value is None:
            if actual not in (None, ""):
                return False
        elif actual != value:
            return False
    return True


def read_run_info(path: pathlib.Path) -> dict[str, Any]:
    """Returns what a reproduction tells of itself beside its rows.

    Raises:
      InputError: It is missing or damaged.
    """
    run_info = read_json(path)
    for name, expected_type in _RUN_INFO_TYPES.items():
        value = run_info.get(name, expected_type())
        if not isinstance(value, (expected_type, int) if expected_type is float else expected_type):
            raise errors.InputError(
                f"{path} is damaged: {name!r} must be of JSON's kind of "
                f"{json.dumps(expected_type())}; got {json.dumps(value)[:60]}. Put the "
                "file back as it was."
            )
    for dataset, names in run_info.get("class_names", {}).items():
        if not isinstance(names, list):
            raise errors.InputError(
                f"{path} is damaged: the class names of {dataset} must be a "
                f"list; got {json.dumps(names)[:60]}."
            )
    try:
        scales.get_scale(run_info.get("scale", ""))
    except errors.InputError as error:
        raise errors.InputError(f"{path} is damaged: {error}") from error
    return run_info


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Returns the object in a file of a reproduction.

    Raises:
      InputError: It is missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise errors.InputError(
            f"Cannot read {path}: {error}. Name the folder of a reproduction: "
            f"it holds {MEASUREMENTS_FILE}, {SOURCES_FILE} and {RUN_INFO_FILE}."
        ) from error
    if not isinstance(content, dict):
        raise errors.InputError(f"{path} is damaged: no JSON object.")
    return content
