"""Measurements of a reproduction with their sources, collected in its folder.

```python
results = ResultsStore(folder)
results.add(node, execution, producer=execution)
results.write(run_info)
```
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from qup.core import errors, files, measurements
from qup.core.measurements import Row
from qup.orchestration import Execution, Node
from qup.reproduction.report import data
from qup.reproduction.report.data import MEASUREMENTS_FILE, RUN_INFO_FILE, SOURCES_FILE

# Outputs with rows.
_ROW_OUTPUTS = ("evaluation", "analysis")
# Output with one value per attacked image.
_RECORDS_OUTPUT, _RECORDS_FILE = "records", "records.npz"
ARRAYS_FOLDER = "arrays"


class ResultsStore:
    """Rows with their sources; a new row replaces one with the same key.

    Attributes:
      rows: By their keys.
      sources: By the digests of the rows.
    """

    def __init__(self, folder: pathlib.Path):
        """Loads the results of earlier runs.

        Raises:
          InputError: The folder's files are damaged, or have an older format.
        """
        self.folder = folder
        self.rows: dict[tuple, Row] = {}
        self.sources: dict[str, Any] = {}
        self._load_existing()

    def _load_existing(self) -> None:
        """Adds the folder's results; rows of this run take precedence."""
        rows_path, sources_path = self.folder / MEASUREMENTS_FILE, self.folder / SOURCES_FILE
        if sources_path.exists():
            stored_sources = data.read_json(sources_path)
            self.sources = stored_sources | self.sources
            if stored_sources and not rows_path.exists():
                raise errors.InputError(
                    f"{rows_path} is missing, but {sources_path.name} lists {len(stored_sources)} "
                    f"of its measurements. Restore it, or remove {sources_path.name} to start over."
                )
        if rows_path.exists():
            self.rows = {row.key(): row for row in measurements.read_rows(rows_path)} | self.rows

    def add(self, node: Node, execution: Execution, producer: Execution) -> None:
        """Adds the rows of a node.

        Args:
          node: The node.
          execution: Of this run; its outputs may come from the cache.
          producer: The execution that computed the outputs.
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
                    if row.artifact:
                        row = self._link_arrays(row, execution)
                    elif row.measure == "robust_accuracy":
                        row = self._add_class_counts(row, execution)
                    self.rows[row.key()] = row
                    self.sources[data.compute_row_digest(row)] = source

    def _link_arrays(self, row: Row, execution: Execution) -> Row:
        """Links the arrays of a row into the folder."""
        array_path = pathlib.Path(ARRAYS_FOLDER, execution.node, row.artifact)
        for artifacts in execution.outputs.values():
            for output in artifacts:
                if (output.path / row.artifact).is_file():
                    _link_file(output.path / row.artifact, self.folder / array_path)
        return dataclasses.replace(row, artifact=array_path.as_posix())

    def _add_class_counts(self, row: Row, execution: Execution) -> Row:
        """Saves the counts per class of an attack with records.

        The records of all images stay in the pipeline root: they are too large for a report.
        """
        for artifact in execution.outputs.get(_RECORDS_OUTPUT, ())[:1]:
            array_path = pathlib.Path(ARRAYS_FOLDER, execution.node, data.PER_CLASS_FILE)
            with np.load(artifact.path / _RECORDS_FILE, allow_pickle=False) as records:
                counts = data.count_per_class(
                    records["label"], records["right"], ~records["success"]
                )
            with files.atomic_write(self.folder / array_path) as partial:
                np.savez(partial, **counts)
            row = dataclasses.replace(row, artifact=array_path.as_posix())
        return row

    def write(self, run_info: Mapping[str, Any]) -> None:
        """Writes measurements.csv, sources.json and reproduction.json.

        Raises:
          InputError: The folder cannot be written.
        """
        # Another run may have added rows since.
        self._load_existing()
        measurements.write_rows(self.folder / MEASUREMENTS_FILE, self.rows.values())
        digests = {data.compute_row_digest(row) for row in self.rows.values()}
        sources = {digest: s for digest, s in self.sources.items() if digest in digests}
        files.write_text(self.folder / SOURCES_FILE, format_json(sources))
        files.write_text(self.folder / RUN_INFO_FILE, format_json(run_info))


def format_json(content: Mapping[str, Any]) -> str:
    """Returns the text of a JSON file of a reproduction."""
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def _link_file(source: pathlib.Path, target: pathlib.Path) -> None:
    if target.exists() and target.samefile(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_write(target) as partial:
        files.link_or_copy(source, partial)
