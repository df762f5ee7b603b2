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
from qup.report.material import ABOUT, ROWS, SOURCES, digest, read_json

# Outputs that hold rows.
_KEYS = ("evaluation", "analysis")
_ARRAYS = "arrays"
# Of an attack, image by image.
_KEPT, _RECORDS = "records", "records.npz"


class Gathered:
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
        self._read()

    def _read(self) -> None:
        """Adds what the folder holds; our own rows count more."""
        rows, sources = self.folder / ROWS, self.folder / SOURCES
        if sources.exists():
            held = read_json(sources)
            self.sources = held | self.sources
            if held and not rows.exists():
                raise errors.InputError(
                    f"{rows} is missing, and {sources.name} tells of "
                    f"{len(held)} measurements in it. Put it back, or remove "
                    f"{sources.name} to begin anew."
                )
        if rows.exists():
            known = measurements.read(rows)
            self.rows = {row.key(): row for row in known} | self.rows

    def add(self, node: Node, execution: Execution, maker: Execution) -> None:
        """Takes in what a node measured.

        Args:
          node: The node.
          execution: Of now; its outputs may have been found.
          maker: The execution that made them.
        """
        for key in _KEYS:
            for held in execution.outputs.get(key, ()):
                source = {
                    "node": node.id, "artifact": held.id,
                    "execution": maker.id, "code": maker.code,
                }  # fmt: skip
                for row in measurements.read(held.path / ROWS):
                    self._take(self._placed(row, execution), source)

    def _take(self, row: Row, source: Mapping[str, Any]) -> None:
        self.rows[row.key()] = row
        self.sources[digest(row)] = dict(source)

    def _placed(self, row: Row, execution: Execution) -> Row:
        """Returns a row whose arrays, if it has any, lie in our folder."""
        if not row.artifact:
            return self._counted(row, execution)
        place = pathlib.Path(_ARRAYS, execution.node, row.artifact)
        for held in execution.outputs.values():
            for output in held:
                if (output.path / row.artifact).is_file():
                    self._link(output.path / row.artifact, self.folder / place)
        return dataclasses.replace(row, artifact=place.as_posix())

    def _counted(self, row: Row, execution: Execution) -> Row:
        """Returns a row with the counts of each class, where it has records.

        The records themselves, of each image, stay in the pipeline root: of
        all networks they are too large to stand beside a report.
        """
        records = [r.path / _RECORDS for r in execution.outputs.get(_KEPT, ())]
        if row.measure != "robust_accuracy" or not records:
            return row
        place = pathlib.Path(_ARRAYS, execution.node, per_class.FILE)
        with np.load(records[0], allow_pickle=False) as held:
            counts = per_class.counted(
                held["label"], held["right"], ~held["success"]
            )
        with files.replacing(self.folder / place) as partial:
            np.savez(partial, **counts)
        return dataclasses.replace(row, artifact=place.as_posix())

    def _link(self, source: pathlib.Path, target: pathlib.Path) -> None:
        if target.exists() and target.samefile(source):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(target) as partial:
            files.link(source, partial)

    def write(self, about: Mapping[str, Any]) -> None:
        """Writes measurements.csv, sources.json and reproduction.json.

        Raises:
          InputError: The folder cannot be written.
        """
        # Another run may have added to them meanwhile.
        self._read()
        measurements.write(self.folder / ROWS, self.rows.values())
        known = {digest(row): row for row in self.rows.values()}
        sources = {k: v for k, v in self.sources.items() if k in known}
        files.write_text(self.folder / SOURCES, _json(sources))
        files.write_text(self.folder / ABOUT, _json(about))


def _json(tree: Mapping[str, Any]) -> str:
    return json.dumps(tree, indent=1, sort_keys=True) + "\n"
