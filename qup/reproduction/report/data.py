"""The data of a report: measurements as a table, arrays, and the sources of both.

The folder of a reproduction has measurements.csv, arrays/ (the .npz files that rows name),
reproduction.json (scale, seeds, versions, failures) and sources.json (the execution of each row).

```python
data = ReportData.read(folder)
rows = data.find(dataset="mnist", measure="test_accuracy", control=None)
```
"""

import collections
import dataclasses
import enum
import functools
import json
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from qup.core import errors, hashing, measurements
from qup.core.measurements import Row
from qup.reproduction import presets
from qup.reproduction.presets import NetworkPreset
from qup.reproduction.report.statistics import IntervalEstimate, average_over_seeds

MEASUREMENTS_FILE = "measurements.csv"
SOURCES_FILE = "sources.json"
RUN_INFO_FILE = "reproduction.json"
PER_CLASS_FILE = "per_class.npz"
# The fields of reproduction.json and their types.
_RUN_INFO_TYPES = {
    "scale": str,
    "seeds": list,
    "seconds": float,
    "versions": dict,
    "class_names": dict,
    "failed": dict,
}
_ROW_COLUMNS = tuple(name for name in measurements.HEADER if name != "parameters")
# Krizhevsky 2009, batches.meta.txt, in the order of the labels. A copy of the images may lack
# this file; then the classes are numbers.
_KNOWN_CLASS_NAMES = {
    "cifar10": tuple(
        ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    )
}


def resolve_class_names(dataset: str, names: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of classes by label, the known ones instead of numbers."""
    stored_names = tuple(str(name) for name in names)
    known_names = _KNOWN_CLASS_NAMES.get(dataset, ())
    numbers = tuple(str(label) for label in range(len(known_names)))
    return known_names if stored_names == numbers else stored_names


def compute_row_digest(row: Row) -> str:
    """Returns a short identifier of a row, a digest of its key."""
    return hashing.hash_text(json.dumps(row.key(), default=str))[:12]


@dataclasses.dataclass(frozen=True)
class ReportData:
    """All measurements of a reproduction.

    Attributes:
      folder: The folder that artifacts of rows are relative to.
      rows: The measurements.
      scale: How much was computed.
      run_info: reproduction.json: "seeds", "versions", "seconds", "class_names", "failed", ...
      sources: Digest of a row to {"node", "artifact", "execution", ...}.
    """

    folder: pathlib.Path
    rows: tuple[Row, ...]
    scale: presets.Scale
    run_info: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sources: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, folder: pathlib.Path) -> "ReportData":
        """Reads the folder of a reproduction.

        Raises:
          InputError: A file is missing or damaged.
        """
        rows = measurements.read_rows(folder / MEASUREMENTS_FILE)
        _check_unique(folder / MEASUREMENTS_FILE, rows)
        run_info = read_run_info(folder / RUN_INFO_FILE)
        sources = read_json(folder / SOURCES_FILE)
        return cls(folder, tuple(rows), presets.get_scale(run_info["scale"]), run_info, sources)

    @functools.cached_property
    def frame(self) -> pd.DataFrame:
        """The measurements: a column per column and parameter, None where absent or empty.

        The column "row" has the measurement as a `Row`.
        """
        records = [
            {**row.parameters, **{name: getattr(row, name) for name in _ROW_COLUMNS}, "row": row}
            for row in self.rows
        ]
        parameters = dict.fromkeys(name for row in self.rows for name in row.parameters)
        columns = dict.fromkeys((*_ROW_COLUMNS, *parameters, "row"))
        frame = pd.DataFrame(records, columns=list(columns), dtype=object)
        return frame.where(frame.notna() & (frame != ""), None)

    def select(self, **filters: Any) -> pd.DataFrame:
        """Returns the lines of `frame` with these columns or parameters.

        Args:
          **filters: Name of a column or parameter to its value; None matches an absent one.
        """
        positions = np.arange(len(self.frame))
        for name, value in filters.items():
            if name in self.frame:
                column = self.frame[name].to_numpy()[positions]
                positions = positions[pd.isna(column) if value is None else column == value]
            elif value is not None:
                return self.frame.iloc[:0]
        return self.frame.iloc[positions]

    def find(self, **filters: Any) -> list[Row]:
        """Returns the rows with these columns or parameters, see `select`."""
        return list(self.select(**filters)["row"])

    def estimate(self, **filters: Any) -> IntervalEstimate | None:
        """Returns the mean over seeds of the rows with these columns or parameters."""
        return average_over_seeds(self.find(**filters))

    def list_networks(self) -> list[tuple[NetworkPreset, tuple[int, ...]]]:
        """Returns the networks of Tables 2 and 3, each with its numbers of epochs."""
        tables = self.scale.tables.values()
        return [(network, table.epochs) for table in tables for network in table.networks]

    def list_checkpoints(self) -> list[tuple[NetworkPreset, int]]:
        """Returns every network of Tables 2 and 3 with every number of its epochs."""
        return [(network, n) for network, epochs in self.list_networks() for n in epochs]

    @property
    def main_network(self) -> NetworkPreset:
        """The network of the controls: the first of Table 2."""
        return self.scale.tables["table2"].networks[0]

    @property
    def main_epochs(self) -> tuple[int, ...]:
        """The numbers of epochs of Table 2; controls are measured after the first."""
        return self.scale.tables["table2"].epochs

    def get_class_name(self, dataset: str, label: int) -> str:
        """Returns the name of a class; its label if no name is known."""
        names = self.run_info.get("class_names", {}).get(dataset, ())
        names = resolve_class_names(dataset, names)
        return str(names[label]) if label < len(names) else str(label)

    def load_arrays(self, row: Row) -> dict[str, np.ndarray] | None:
        """Returns the arrays that a row names; None if they are missing.

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
                f"{path} is damaged: {error}. Remove it and run the same command again."
            ) from error


def _check_unique(path: pathlib.Path, rows: Sequence[Row]) -> None:
    keys = collections.Counter(json.dumps(r.key(), default=str) for r in rows)
    duplicates = [key for key, count in keys.items() if count > 1]
    if duplicates:
        raise errors.InputError(
            f"{path} is damaged: expected each measurement once, received {len(duplicates)} "
            f"duplicates, such as {duplicates[0]}. Keep one line of each."
        )


def read_run_info(path: pathlib.Path) -> dict[str, Any]:
    """Returns the description of a reproduction, its reproduction.json.

    Raises:
      InputError: The file is missing or damaged.
    """
    run_info = read_json(path)
    for name, expected_type in _RUN_INFO_TYPES.items():
        value = run_info.get(name, expected_type())
        if not isinstance(value, (expected_type, int) if expected_type is float else expected_type):
            raise errors.InputError(
                f"{path} is damaged: expected {name!r} of the JSON type of "
                f"{json.dumps(expected_type())}; received {json.dumps(value)[:60]}. Restore the "
                "file."
            )
    for dataset, names in run_info.get("class_names", {}).items():
        if not isinstance(names, list):
            raise errors.InputError(
                f"{path} is damaged: expected a list of class names of {dataset}; received "
                f"{json.dumps(names)[:60]}."
            )
    try:
        presets.get_scale(run_info.get("scale", ""))
    except errors.InputError as error:
        raise errors.InputError(f"{path} is damaged: {error}") from error
    return run_info


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Returns the object in a JSON file of a reproduction.

    Raises:
      InputError: The file is missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        page = path.parent / "robustness.html"
        if page.exists() and not path.exists():
            raise errors.InputError(
                f"{path.parent} holds results of qup attack, which has written their page: {page}. "
                "The same qup attack command writes it again. This program needs the folder of a "
                "reproduction."
            ) from error
        raise errors.InputError(
            f"Cannot read {path}: {error}. Expected the folder of a reproduction with "
            f"{MEASUREMENTS_FILE}, {SOURCES_FILE} and {RUN_INFO_FILE}."
        ) from error
    if not isinstance(content, dict):
        raise errors.InputError(f"{path} is damaged: expected a JSON object.")
    return content


def estimate_groups(frame: pd.DataFrame, *columns: str) -> dict[Any, IntervalEstimate]:
    """Returns the mean over seeds of each group of lines of `ReportData.frame`.

    Args:
      frame: The lines.
      *columns: The columns that define the groups.

    Returns:
      The values of the columns, a tuple if there are several and None for an absent one, to the
      mean; sorted if there is one column.
    """
    if frame.empty or any(name not in frame for name in columns):
        return {}
    groups = frame.groupby(list(columns), dropna=False, sort=len(columns) == 1)
    estimates = {}
    for values, group in groups["row"]:
        key = tuple(None if pd.isna(value) else value for value in values)
        estimates[key if len(columns) > 1 else key[0]] = average_over_seeds(list(group))
    return estimates


class AccuracyKind(enum.Enum):
    """TA, or RA under an attack; the value is the title of a column."""

    CLEAN = "TA"
    PGD4_CLIPPED = "RA, PGD-4, clipped"
    PGD4_UNCLIPPED = "RA, PGD-4, not clipped"
    PGD_STRONG = "RA, strong PGD"
    WORST_CASE = "RA, worst case"

    def format_title(self, data: ReportData) -> str:
        """Returns the title of a column, with the name of the worst case."""
        if self is not AccuracyKind.WORST_CASE:
            return self.value
        return f"RA, {data.scale.worst_case_title}"


ROBUST_KINDS = tuple(kind for kind in AccuracyKind if kind is not AccuracyKind.CLEAN)
_PGD4 = {
    "measure": "robust_accuracy",
    "attack": "pgd",
    "random_start": False,
    "loss": "cross_entropy",
    "evaluation": None,
}
_WORST_CASE = {"measure": "robust_accuracy", "evaluation": "per_image"}
_KIND_FILTERS: dict[AccuracyKind, dict[str, Any]] = {
    AccuracyKind.CLEAN: {"measure": "test_accuracy", "evaluation": None},
    AccuracyKind.PGD4_CLIPPED: {**_PGD4, "pixel_clip": True},
    AccuracyKind.PGD4_UNCLIPPED: {**_PGD4, "pixel_clip": False},
    AccuracyKind.PGD_STRONG: {**_WORST_CASE, "attack": "pgd"},
    AccuracyKind.WORST_CASE: _WORST_CASE,
}
# Networks of the tables, without controls and robust trainings.
TABLE_FILTERS = {
    "control": None,
    "method": None,
    "step": None,
    "made_on": None,
    "figure": None,
    "split": "test",
}


def build_network_filters(network: NetworkPreset, epochs: int) -> dict[str, Any]:
    """Returns the filters of one network of the tables after some epochs."""
    options = {f"model_{key}": value for key, value in network.options.items()}
    return {"dataset": network.dataset, "model": network.model, "epochs": epochs, **options}


def find_accuracy_rows(
    data: ReportData,
    network: NetworkPreset,
    classifier: str,
    epochs: int,
    kind: AccuracyKind,
    **filters: Any,
) -> list[Row]:
    """Returns the rows of an accuracy, one per seed.

    Args:
      data: All measurements.
      network: The network.
      classifier: "CL" or "ACL".
      epochs: Its epochs.
      kind: TA, or RA under an attack.
      **filters: Override `TABLE_FILTERS`.
    """
    conditions = {
        **_KIND_FILTERS[kind],
        "classifier": classifier,
        **build_network_filters(network, epochs),
    }
    if classifier == "ACL":
        conditions["through"] = "both"
    if kind is AccuracyKind.WORST_CASE:
        conditions["attack"] = data.scale.worst_case["name"]
    return data.find(**{**conditions, **TABLE_FILTERS, **filters})


def estimate_accuracy(
    data: ReportData,
    network: NetworkPreset,
    classifier: str,
    epochs: int,
    kind: AccuracyKind,
    **filters: Any,
) -> IntervalEstimate | None:
    """Returns the mean over seeds of `find_accuracy_rows`; None if nothing was run."""
    return average_over_seeds(
        find_accuracy_rows(data, network, classifier, epochs, kind, **filters)
    )


def select_trajectory(data: ReportData, network: NetworkPreset, epochs: int) -> pd.DataFrame:
    """Returns TA and RA of the training images X_n, the iterates of opposite FGSM.

    Returns:
      Lines with "step", n; once per measure, seed and step, those with images first.
    """
    frame = data.select(
        images="X_n", control=None, split="train", **build_network_filters(network, epochs)
    )
    if frame.empty:
        return frame
    frame = frame[frame["measure"].isin(("test_accuracy", "robust_accuracy"))]
    figure = frame["figure"] if "figure" in frame else pd.Series(None, frame.index, object)
    frame = pd.concat([frame[figure.isna()], frame[figure == "supp_fig2"]])
    return frame.drop_duplicates(["measure", "seed", "step"])


def estimate_trajectory(
    data: ReportData, network: NetworkPreset, epochs: int
) -> dict[str, dict[int, IntervalEstimate]]:
    """Returns "test_accuracy" and "robust_accuracy" to n to the mean over seeds."""
    frame = select_trajectory(data, network, epochs)
    return {
        measure: estimate_groups(frame[frame["measure"] == measure], "step")
        for measure in ("test_accuracy", "robust_accuracy")
    }


def count_per_class(
    labels: np.ndarray, correct: np.ndarray, robust: np.ndarray
) -> dict[str, np.ndarray]:
    """Counts the images of each class.

    Args:
      labels: int [n], the true classes.
      correct: bool [n], classified correctly.
      robust: bool [n], classified correctly under the attack.

    Returns:
      int64 [k] by name: "label", the classes with images; "images", "right" and "robust", the
      counts of all, correct and robust images.
    """
    class_labels, class_indices = np.unique(labels, return_inverse=True)
    counts = {"label": class_labels.astype(np.int64), "images": np.bincount(class_indices)}
    for name, mask in (("right", correct), ("robust", robust)):
        counts[name] = np.bincount(class_indices[mask], minlength=len(class_labels))
    return counts


def iterate_class_rows(
    row: Row, arrays: Mapping[str, np.ndarray], name: str
) -> Iterator[tuple[int, Row]]:
    """Yields the label and a row in percent of each class.

    Args:
      row: Of all classes.
      arrays: The result of `count_per_class`.
      name: "right" or "robust".
    """
    for label, count, num_correct in zip(
        arrays["label"], arrays["images"], arrays[name], strict=True
    ):
        share = num_correct / count
        error = 100 * math.sqrt(share * (1 - share) / count)
        yield (
            int(label),
            dataclasses.replace(row, value=100 * float(share), stderr=error, n=int(count)),
        )
