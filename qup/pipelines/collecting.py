"""What the nodes of a reproduction measured, gathered in its folder.

```python
gathered = Gathered(folder)
gathered.add(node, execution, maker=execution)
gathered.write(about)
```
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from qup import errors, files, measurements
from qup.measurements import Row
from qup.orchestration import Execution, Node
from qup.report import per_class
from qup.report.material import (
    MEASUREMENTS_FILE,
    RUN_INFO_FILE,
    SOURCES_FILE,
    compute_row_digest,
    read_json,
)

# Outputs that hold rows.
_ROW_OUTPUTS = ("evaluation", "analysis")
_ARRAYS_FOLDER = "arrays"
# Of an attack, image by image.
_RECORDS_OUTPUT, _RECORDS_FILE = "records", "records.npz"


class ResultsStore:
    """Rows with their sources; of equal keys the newest counts.

    Attributes:
      rows: By their keys.
      sources: By the rows' digests.
    """

    def __init__(self, folder: pathlib.Path):
        """Opens a folder; what an earlier run measured stays.

        Raises:
          InputError: What it holds is damaged, or of an older version.
        """
        self.folder = folder
        self.rows: dict[tuple, Row] = {}
        self.sources: dict[str, Any] = {}
        self._load_existing()

    def _load_existing(self) -> None:
        """Adds what the folder holds; our own rows count more."""
        rows, sources = self.folder / MEASUREMENTS_FILE, self.folder / SOURCES_FILE
        if sources.exists():
            stored_sources = read_json(sources)
            self.sources = stored_sources | self.sources
            if stored_sources and not rows.exists():
                raise errors.InputError(
                    f"{rows} is missing, and {sources.name} tells of "
                    f"{len(stored_sources)} measurements in it. Put it back, or remove "
                    f"{sources.name} to begin anew."
                )
        if rows.exists():
            stored_rows = measurements.read_rows(rows)
            self.rows = {row.key(): row for row in stored_rows} | self.rows

    def add(self, node: Node, execution: Execution, producer: Execution) -> None:
        """Takes in what a node measured.

        Args:
          node: The node.
          execution: Of now; its outputs may have been found.
          producer: The execution that made them.
        """
        for key in _ROW_OUTPUTS:
            for artifact in execution.outputs.get(key, ()):
                source = {
                    "node": node.id,
                    "artifact": artifact.id,
                    "execution": producer.id,
                    "code": producer.code,
                }
                for row in measurements.read_rows(artifact.path / MEASUREMENTS_FILE):
                    self._add_row(self._link_row_arrays(row, execution), source)

    def _add_row(self, row: Row, source: Mapping[str, Any]) -> None:
        self.rows[row.key()] = row
        self.sources[compute_row_digest(row)] = dict(source)

    def _link_row_arrays(self, row: Row, execution: Execution) -> Row:
        """Returns a row whose arrays, if it has any, lie in our folder."""
        if not row.artifact:
            return self._attach_class_counts(row, execution)
        array_path = pathlib.Path(_ARRAYS_FOLDER, execution.node, row.artifact)
        for artifacts in execution.outputs.values():
            for output in artifacts:
                if (output.path / row.artifact).is_file():
                    self._link_file(output.path / row.artifact, self.folder / array_path)
        return dataclasses.replace(row, artifact=array_path.as_posix())

    def _attach_class_counts(self, row: Row, execution: Execution) -> Row:
        """Returns a row with the counts of each class, where it has records.

        The records themselves, of each image, stay in the pipeline root: of
        all networks they are too large to stand beside a report.
        """
        record_paths = [
            artifact.path / _RECORDS_FILE for artifact in execution.outputs.get(_RECORDS_OUTPUT, ())
        ]
        if row.measure != "robust_accuracy" or not record_paths:
            return row
        array_path = pathlib.Path(_ARRAYS_FOLDER, execution.node, per_class.PER_CLASS_FILE)
        with np.load(record_paths[0], allow_pickle=False) as record_arrays:
            counts = per_class.count_per_class(
                record_arrays["label"], record_arrays["right"], ~record_arrays["success"]
            )
        with files.atomic_write(self.folder / array_path) as partial:
            np.savez(partial, **counts)
        return dataclasses.replace(row, artifact=array_path.as_posix())

    def _link_file(self, source: pathlib.Path, target: pathlib.Path) -> None:
        if target.exists() and target.samefile(source):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with files.atomic_write(target) as partial:
            files.link_or_copy(source, partial)

    def write(self, about: Mapping[str, Any]) -> None:
        """Writes measurements.csv, sources.json and reproduction.json.

        Raises:
          InputError: The folder cannot be written.
        """
        # Another run may have added to them meanwhile.
        self._load_existing()
        measurements.write_rows(self.folder / MEASUREMENTS_FILE, self.rows.values())
        rows_by_digest = {compute_row_digest(row): row for row in self.rows.values()}
        sources = {k: v for k, v in self.sources.items() if k in rows_by_digest}
        files.write_text(self.folder / SOURCES_FILE, _format_json(sources))
        files.write_text(self.folder / RUN_INFO_FILE, _format_json(about))


def _format_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"
