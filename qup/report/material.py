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

ROWS, SOURCES, ABOUT = "measurements.csv", "sources.json", "reproduction.json"
# Of reproduction.json, and of which type it is.
_ABOUT = {
    "scale": str, "seeds": list, "seconds": float, "versions": dict,
    "class_names": dict, "failed": dict,
}  # fmt: skip
_FIELDS = set(measurements.HEADER) - {"parameters"}


def digest(row: Row) -> str:
    """Returns a short name of a row, made of its key."""
    text = json.dumps(row.key(), default=str)
    return hashing.text_digest(text)[:12]


@dataclasses.dataclass(frozen=True)
class Material:
    """Everything measured.

    Attributes:
      folder: Where arrays lie.
      rows: The rows.
      scale: How much was computed.
      about: "seeds", "versions", "seconds", "class_names", "failed", ...
      sources: Digest of a row to {"node", "artifact", "execution", ...}.
    """

    folder: pathlib.Path
    rows: tuple[Row, ...]
    scale: scales.Scale
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sources: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, folder: pathlib.Path) -> "Material":
        """Reads the folder of a reproduction.

        Raises:
          InputError: It holds none, or is damaged.
        """
        rows = measurements.read(folder / ROWS)
        _check_once(folder / ROWS, rows)
        about = read_about(folder / ABOUT)
        sources = read_json(folder / SOURCES)
        scale = scales.get(about["scale"])
        return cls(folder, tuple(rows), scale, about, sources)

    def find(self, **wanted: Any) -> list[Row]:
        """Returns the rows with these columns or parameters.

        Args:
          **wanted: A column's or a parameter's name to its value; None
            matches what is absent or empty.
        """
        held: Sequence[Row] = self.rows
        if isinstance(wanted.get("measure"), str):
            held = self._of_measure.get(wanted["measure"], ())
        return [row for row in held if _fits(row, wanted)]

    def class_name(self, dataset: str, label: int) -> str:
        """Returns the name of a class, or its label where none is known."""
        names = self.about.get("class_names", {}).get(dataset, ())
        names = class_names.named(dataset, names)
        return str(names[label]) if label < len(names) else str(label)

    @functools.cached_property
    def _of_measure(self) -> dict[str, list[Row]]:
        """The rows by measure: reports look for most of them many times."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.measure, []).append(row)
        return found

    def arrays(self, row: Row) -> dict[str, np.ndarray] | None:
        """Returns the arrays that a row names; None where they are missing.

        Raises:
          InputError: The file is damaged.
        """
        path = (self.folder / row.artifact).resolve()
        within = path.is_relative_to(self.folder.resolve())
        if not (row.artifact and within and path.is_file()):
            return None
        try:
            with np.load(path, allow_pickle=False) as held:
                return {name: held[name] for name in held.files}
        except (OSError, ValueError) as error:
            raise errors.InputError(
                f"{path} is damaged: {error}. Remove it; the same command "
                "puts it there again."
            ) from error


def _check_once(path: pathlib.Path, rows: Sequence[Row]) -> None:
    keys = collections.Counter(json.dumps(r.key(), default=str) for r in rows)
    twice = [key for key, count in keys.items() if count > 1]
    if twice:
        raise errors.InputError(
            f"{path} is damaged: {len(twice)} measurements stand in it more "
            f"than once, such as {twice[0]}. Leave one line of each."
        )


def _fits(row: Row, wanted: Mapping[str, Any]) -> bool:
    for name, value in wanted.items():
        held = (
            getattr(row, name) if name in _FIELDS else row.parameters.get(name)
        )
        if value is None:
            if held not in (None, ""):
                return False
        elif held != value:
            return False
    return True


def read_about(path: pathlib.Path) -> dict[str, Any]:
    """Returns what a reproduction tells of itself beside its rows.

    Raises:
      InputError: It is missing or damaged.
    """
    about = read_json(path)
    for name, kind in _ABOUT.items():
        value = about.get(name, kind())
        if not isinstance(value, (kind, int) if kind is float else kind):
            raise errors.InputError(
                f"{path} is damaged: {name!r} must be of JSON's kind of "
                f"{json.dumps(kind())}; got {json.dumps(value)[:60]}. Put the "
                "file back as it was."
            )
    for dataset, names in about.get("class_names", {}).items():
        if not isinstance(names, list):
            raise errors.InputError(
                f"{path} is damaged: the class names of {dataset} must be a "
                f"list; got {json.dumps(names)[:60]}."
            )
    try:
        scales.get(about.get("scale", ""))
    except errors.InputError as error:
        raise errors.InputError(f"{path} is damaged: {error}") from error
    return about


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Returns the object in a file of a reproduction.

    Raises:
      InputError: It is missing or damaged.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise errors.InputError(
            f"Cannot read {path}: {error}. Name the folder of a reproduction: "
            f"it holds {ROWS}, {SOURCES} and {ABOUT}."
        ) from error
    if not isinstance(tree, dict):
        raise errors.InputError(f"{path} is damaged: no JSON object.")
    return tree
