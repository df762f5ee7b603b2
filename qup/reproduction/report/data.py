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
import enum
import functools
import json
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from qup.core import errors, hashing, measurements
from qup.core.measurements import Row
from qup.reproduction import presets
from qup.reproduction.presets import NetworkPreset
from qup.reproduction.report.statistics import IntervalEstimate, average_over_seeds

# Names of classes where a prepared dataset tells only their numbers.
#
# CIFAR-10's names lie in a file of their own, which a copy of the images may
# lack.
#
# ```python
# named("cifar10", ("0", "1", "2"))
# ```


# Krizhevsky 2009, batches.meta.txt, in the order of the labels.
_KNOWN_CLASS_NAMES = {
    "cifar10": (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )
}


def resolve_class_names(dataset: str, names: Sequence[str]) -> tuple[str, ...]:
    """Returns the names, the known ones for mere numbers.

    Args:
      dataset: Whose classes they are.
      names: As the prepared dataset has them, by label.
    """
    stored_names = tuple(str(name) for name in names)
    known_names = _KNOWN_CLASS_NAMES.get(dataset, ())
    label_texts = tuple(str(label) for label in range(len(known_names)))
    return known_names if stored_names == label_texts else stored_names


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
    return hashing.hash_text(text)[:12]


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
    scale: presets.Scale
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
        scale = presets.get_scale(run_info["scale"])
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
        names = resolve_class_names(dataset, names)
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
        presets.get_scale(run_info.get("scale", ""))
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


# Which rows answer which question: the paper's attack, the strong ones.
#
# ```python
# rows = accuracy(material, network, "CL", 30, Look.PAPER)
# ```


class AccuracyKind(enum.Enum):
    """How a classifier was looked at; the value is a column's title."""

    CLEAN = "TA"
    PGD4_CLIPPED = "RA, PGD-4, clipped"
    PGD4_UNCLIPPED = "RA, PGD-4, not clipped"
    PGD_STRONG = "RA, strong PGD"
    WORST_CASE = "RA, worst case"

    def format_title(self, data: ReportData) -> str:
        """Returns a column's title, with the name of the worst case."""
        if self is not AccuracyKind.WORST_CASE:
            return self.value
        name = data.scale.worst_case["name"]
        return f"RA, {'AutoAttack' if name == 'autoattack' else name}"


_KIND_FILTERS: dict[AccuracyKind, dict[str, Any]] = {
    AccuracyKind.CLEAN: {"measure": "test_accuracy", "evaluation": None},
    AccuracyKind.PGD4_CLIPPED: {
        "measure": "robust_accuracy",
        "attack": "pgd",
        "pixel_clip": True,
        "random_start": False,
        "loss": "cross_entropy",
        "evaluation": None,
    },
    AccuracyKind.PGD4_UNCLIPPED: {
        "measure": "robust_accuracy",
        "attack": "pgd",
        "pixel_clip": False,
        "random_start": False,
        "loss": "cross_entropy",
        "evaluation": None,
    },
    AccuracyKind.PGD_STRONG: {
        "measure": "robust_accuracy",
        "attack": "pgd",
        "evaluation": "per_image",
    },
    AccuracyKind.WORST_CASE: {"measure": "robust_accuracy", "evaluation": "per_image"},
}
# What tells networks of the tables from their controls.
TABLE_FILTERS = {
    "control": None,
    "method": None,
    "step": None,
    "made_on": None,
    "figure": None,
    "split": "test",
}


def build_network_filters(network: NetworkPreset, epochs: int) -> dict[str, Any]:
    """Returns conditions on rows: those of one network of the tables."""
    options = {f"model_{key}": x for key, x in network.options.items()}
    columns = {"dataset": network.dataset, "model": network.model}
    return {**columns, "epochs": epochs, **options}


def find_accuracy_rows(
    data: ReportData,
    network: NetworkPreset,
    classifier: str,
    epochs: int,
    kind: AccuracyKind,
    **filters: Any,
) -> list[Row]:
    """Returns the rows, one a seed.

    Args:
      data: Everything.
      network: The network.
      classifier: "CL" or "ACL".
      epochs: Its epochs.
      kind: The question.
      **filters: Conditions instead of those of plain networks.
    """
    options = build_network_filters(network, epochs)
    if classifier == "ACL":
        options["through"] = "both"
    if kind is AccuracyKind.WORST_CASE:
        options["attack"] = data.scale.worst_case["name"]
    conditions = {**_KIND_FILTERS[kind], **options, **TABLE_FILTERS, **filters}
    return data.find(classifier=classifier, **conditions)


def estimate_accuracy(
    data: ReportData,
    network: NetworkPreset,
    classifier: str,
    epochs: int,
    kind: AccuracyKind,
    **filters: Any,
) -> IntervalEstimate | None:
    """Returns the mean over seeds; None where nothing was run."""
    return average_over_seeds(
        find_accuracy_rows(data, network, classifier, epochs, kind, **filters)
    )


def find_trajectory_rows(data: ReportData, network: NetworkPreset, epochs: int) -> list[Row]:
    """Returns TA and RA of the walked training images X_n, once a seed.

    Args:
      data: Everything.
      network: The network.
      epochs: Its epochs.

    Returns:
      Rows with "step", n; those beside which images lie before others.
    """
    rows_by_key: dict[tuple, Row] = {}
    for figure in (None, "supp_fig2"):
        for row in data.find(
            images="X_n",
            control=None,
            split="train",
            figure=figure,
            **build_network_filters(network, epochs),
        ):
            key = (row.measure, row.seed, row.parameters["step"])
            rows_by_key.setdefault(key, row)
    return list(rows_by_key.values())


def average_by_step(rows: Iterable[Row]) -> dict[str, dict[int, IntervalEstimate]]:
    """Returns the means over seeds of what `find_trajectory_rows` gave.

    Args:
      rows: The rows.

    Returns:
      "test_accuracy" and "robust_accuracy" to n to the mean.
    """
    rows_by_measure: dict[str, dict[int, list[Row]]] = {"test_accuracy": {}, "robust_accuracy": {}}
    for row in rows:
        if row.measure in rows_by_measure:
            rows_by_measure[row.measure].setdefault(row.parameters["step"], []).append(row)
    return {
        measure: {
            step: average_over_seeds(step_rows) for step, step_rows in sorted(rows_by_step.items())
        }
        for measure, rows_by_step in rows_by_measure.items()
    }


# TA and RA of each class, from how many of its images stayed right.
#
# ```python
# np.savez(path, **counted(labels, right, robust))
# shares(row, arrays, "robust")  # label to a row of that class
# ```


PER_CLASS_FILE = "per_class.npz"


def count_per_class(
    labels: np.ndarray, correct: np.ndarray, robust: np.ndarray
) -> dict[str, np.ndarray]:
    """Counts the images of each class.

    Args:
      labels: int [n], the true classes.
      correct: bool [n], classified rightly as they are.
      robust: bool [n], and under the attack.

    Returns:
      int64 [k] by name: "label", the classes that have images; "images",
      "right" and "robust", how many each has.
    """
    class_labels, class_indices = np.unique(labels, return_inverse=True)
    counts = {"label": class_labels.astype(np.int64), "images": np.bincount(class_indices)}
    for name, mask in (("right", correct), ("robust", robust)):
        counts[name] = np.bincount(class_indices[mask], minlength=len(class_labels))
    return counts


def build_class_rows(row: Row, arrays: Mapping[str, np.ndarray], name: str) -> dict[int, Row]:
    """Returns a row of each class: its percent, its error, its images.

    Args:
      row: Of all classes.
      arrays: What `count_per_class` returned.
      name: "right" or "robust".
    """
    rows_by_label = {}
    for label, count, num_correct in zip(
        arrays["label"], arrays["images"], arrays[name], strict=True
    ):
        share = num_correct / count
        error = 100 * math.sqrt(share * (1 - share) / count)
        rows_by_label[int(label)] = dataclasses.replace(
            row, value=100 * float(share), stderr=error, n=int(count)
        )
    return rows_by_label
