"""Relations as .npz files, and the selection and naming of their records.

Arrays of a file, where `axes` are the names of the axes:

| name | content |
| --- | --- |
| `<measure>`, `<measure>_stderr` | estimates, [axes], of each name of `MEASURES` |
| `axis_r_hat`, `axis_effective_sample_size` | diagnostics, [axes] |
| `left_<measure>` | means over pixels of all groups and without each: [1 + groups] |
| `trace_<name>` | traces of Markov chains, [chunks, chains] |
| `told` | metadata as JSON: estimator, domain, n, freedom, diagnostics, ... |

```python
records = build_records([load(path) for path in paths], rows)
records[0].mean("sigma_x")  # mean over the pixels, with its error
```
"""

import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from qup.core import errors
from qup.core.formatting import format_count
from qup.core.measurements import Row
from qup.uncertainty.relation import MEASURES, Relation, jackknife_difference, leave_one_out_means

# A difference of more standard errors than this is significant.
Z_THRESHOLD = 3.0
# Smaller differences are rounding errors.
ATOL = 1e-9
_METADATA_DEFAULTS = {
    "label": None,
    "packet": "loss",
    "temperature": 1.0,
    "epochs": 0,
    "model": "network",
    "dataset": "",
    "control": "",
    "centre": None,
    "checks": (),
    "faces": None,
    "image_shape": None,
    "diagnostics": {},
    "refused": {},
    "matrix": None,
}
_DOMAIN_FORMATS = {
    "box": "the box of images",
    "window": "Gaussian window of width s = {}",
    "sine": "the sine window",
}
_ESTIMATOR_NAMES = {"importance": "importance sampling", "mcmc": "MCMC"}


def save(path: pathlib.Path, relation: Relation, **metadata: Any) -> None:
    """Writes a relation.

    Args:
      path: Ends in .npz.
      relation: The relation.
      **metadata: Further JSON values, such as image_shape.
    """
    arrays: dict[str, np.ndarray] = {"axes": np.array(relation.axes.names)}
    for measure in MEASURES:
        value, stderr = relation[measure].value, relation[measure].stderr
        arrays[measure] = value
        arrays[f"{measure}_stderr"] = np.full_like(value, np.nan) if stderr is None else stderr
    arrays |= {f"axis_{name}": column for name, column in relation.by_axis.items()}
    if relation.estimator == "importance":
        means = leave_one_out_means(relation)
        arrays |= {f"left_{measure}": values for measure, values in means.items()}
    arrays |= {f"trace_{name}": trace for name, trace in relation.traces.items()}
    metadata = {
        "estimator": relation.estimator,
        "domain": relation.domain,
        "vanishes": relation.vanishes,
        "n": relation.n,
        "freedom": relation.degrees_of_freedom,
        "gradient_calls": relation.gradient_calls,
        "effective_sample_size": relation.effective_sample_size,
        "diagnostics": dict(relation.diagnostics),
        **metadata,
    }
    arrays["told"] = np.array(json.dumps(metadata, sort_keys=True))
    np.savez(path, **arrays)


def load(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns the arrays and the metadata of a file of `save`."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return arrays, json.loads(str(arrays.pop("told")))


class MeanEstimate(NamedTuple):
    """The mean over axes.

    Attributes:
      value: Over the axes with an estimate; NaN without any.
      stderr: Its standard error, or an upper limit of it.
      num_known: Number of axes with an estimate.
      n: Number of axes.
    """

    value: float
    stderr: float
    num_known: int = 1
    n: int = 1


class RelationRecord:
    """One relation of one network.

    Attributes:
      arrays: See `load`.
      metadata: See `load`; missing keys have defaults.
      means: Measure -> (mean over all pixels, its standard error), where rows have it.
      names: Names of the axes.
      pixels: Coordinates of the pixels among the axes.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        metadata: Mapping[str, Any],
        means: Mapping[str, tuple[float, float]] | None = None,
    ):
        self.arrays = arrays
        self.metadata = {**_METADATA_DEFAULTS, **metadata}
        self.metadata.setdefault("domain_text", self.metadata["domain"])
        self.means = means or {}
        self.names = [str(name) for name in arrays["axes"]]
        is_pixel = np.array([name.startswith("pixel:") for name in self.names], bool)
        self._summary_mask = is_pixel if is_pixel.any() else ~is_pixel
        self.pixels = np.array(
            [int(name[6:]) for name in self.names if name.startswith("pixel:")], int
        )

    def __getitem__(self, key: str) -> Any:
        return self.metadata[key]

    @property
    def domain(self) -> str:
        """The kind: "box", "window" or "sine"."""
        return self["domain_text"].partition(":")[0]

    @property
    def width(self) -> float:
        """The width s of a Gaussian window; NaN for other domains."""
        return float(self["domain_text"].partition(":")[2] or "nan")

    @property
    def unit(self) -> str:
        """What means are over: "pixels", or "directions" without pixels."""
        return "pixels" if self.pixels.size else "directions"

    @property
    def use_correlation_estimator(self) -> bool:
        """Whether 1/2 / |corr(x, s)| has a smaller error than the product.

        True in a Gaussian window. In a sine window s has no finite fourth moment.
        """
        return self.domain == "window"

    def all_values(self, measure: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns values and errors, float64 [axes]; NaN where either is unknown.

        Args:
          measure: A name of `MEASURES`; or "excess", the product minus 1/2, by the correlation
            where `use_correlation_estimator`.
        """
        name = self._resolve_measure(measure)
        value = np.array(self.arrays[name], float)
        error = np.array(self.arrays[f"{name}_stderr"], float)
        value -= 0.5 * (measure == "excess")
        is_unknown = ~(np.isfinite(value) & np.isfinite(error))
        value[is_unknown] = error[is_unknown] = np.nan
        return value, error

    def _resolve_measure(self, measure: str) -> str:
        if measure != "excess":
            return measure
        return "product_by_correlation" if self.use_correlation_estimator else "uncertainty_product"

    def pixel_values(self, measure: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns `all_values` of the pixels, or of the directions without pixels."""
        value, error = self.all_values(measure)
        return value[self._summary_mask], error[self._summary_mask]

    def mean(self, measure: str) -> MeanEstimate:
        """Returns the mean over pixels, or over directions without pixels.

        The error is that of `means` where it is known, else the mean of the axes' errors: an
        upper limit, because axes share their samples.
        """
        value, error = self.pixel_values(measure)
        is_known = np.isfinite(value)
        count, n = int(is_known.sum()), len(value)
        name = self._resolve_measure(measure)
        mean, stderr = self.means.get(name, (np.nan, np.nan))
        if np.isfinite(mean) and np.isfinite(stderr):
            return MeanEstimate(mean - 0.5 * (measure == "excess"), stderr, count, n)
        if not count:
            return MeanEstimate(np.nan, np.nan, 0, n)
        mean, stderr = value[is_known].mean(), error[is_known].mean()
        return MeanEstimate(float(mean), float(stderr), count, n)

    def leave_one_out(self, measure: str) -> np.ndarray:
        """Returns `relation.leave_one_out_means`: [1 + groups], or an empty array."""
        name = f"left_{self._resolve_measure(measure)}"
        return np.asarray(self.arrays.get(name, ()), float)

    def axis_value(self, measure: str, name: str) -> MeanEstimate:
        """Returns the estimate along the axis of a name."""
        index = self.names.index(name)
        value, error = (float(array[index]) for array in self.all_values(measure))
        return MeanEstimate(value, error, int(np.isfinite(value)), 1)


def build_records(records: Iterable[tuple], rows: Iterable[Row] = ()) -> list[RelationRecord]:
    """Returns records with the means that their rows contain.

    Args:
      records: Pairs of `load`.
      rows: Measurements, see `measurements.build_relation_rows`; others are ignored.

    Raises:
      InputError: There is no record.
    """
    means: dict[tuple, dict[str, tuple[float, float]]] = {}
    for row in rows:
        parameters = row.parameters
        if (parameters.get("over"), parameters.get("statistic")) == ("pixels", "mean"):
            error = np.nan if row.stderr is None else row.stderr
            key_values = {**parameters, "epochs": row.epochs, "model": row.model}
            means.setdefault(_build_key(key_values), {})[row.measure] = row.value, error
    relation_records = []
    for arrays, metadata in records:
        key_values = {**metadata, "domain": metadata.get("domain_text", metadata["domain"])}
        relation_records.append(RelationRecord(arrays, metadata, means.get(_build_key(key_values))))
    if not relation_records:
        raise errors.InputError("A report needs at least one measured relation; got none.")
    return relation_records


def _build_key(metadata: Mapping[str, Any]) -> tuple:
    names = [
        "model",
        "epochs",
        "control",
        "label",
        "packet",
        "temperature",
        "domain",
        "centre",
        "estimator",
    ]
    values = {**_METADATA_DEFAULTS, **metadata}
    return tuple(values.get(name) for name in [*names, "estimator"])


def classify_difference(difference: MeanEstimate) -> int | None:
    """Returns the sign of a difference of more than three standard errors.

    Returns:
      1 or -1; 0 for a difference that is not significant; None for an unknown one.
    """
    z_score = abs(difference.value) / np.maximum(difference.stderr, ATOL)
    if np.isnan(z_score):
        return None
    return int(np.sign(difference.value)) if z_score > Z_THRESHOLD else 0


def have_same_samples(first: RelationRecord, second: RelationRecord) -> bool:
    """Returns whether two records are of the same samples."""
    keys = ("estimator", "seed", "n")
    return (
        first["estimator"] == "importance"
        and all(first.metadata.get(key) == second.metadata.get(key) for key in keys)
        and first.leave_one_out("sigma_x").shape == second.leave_one_out("sigma_x").shape != (0,)
    )


def compute_difference(first: RelationRecord, second: RelationRecord, measure: str) -> MeanEstimate:
    """Returns `second` minus `first` of the means over pixels.

    For records of the same samples the error is that of the difference itself; otherwise the
    two means count as independent.
    """
    if have_same_samples(first, second):
        estimate = jackknife_difference(
            first.leave_one_out(measure),
            second.leave_one_out(measure),
            len(first.pixel_values(measure)[0]),
        )
        if np.isfinite(estimate.value) and np.isfinite(estimate.stderr):
            return MeanEstimate(float(estimate.value), float(estimate.stderr))
    first_mean, second_mean = first.mean(measure), second.mean(measure)
    error = float(np.hypot(first_mean.stderr, second_mean.stderr))
    return MeanEstimate(
        second_mean.value - first_mean.value,
        error,
        min(first_mean.num_known, second_mean.num_known),
        first_mean.n,
    )


def select_final_records(records: Sequence[RelationRecord]) -> list[RelationRecord]:
    """Returns the records of the trained network after most epochs, at T = 1."""
    candidates = [record for record in records if not record["control"]] or list(records)
    candidates = [record for record in candidates if record["temperature"] == 1] or candidates
    max_epochs = max((record["epochs"] for record in candidates), default=0)
    return [record for record in candidates if record["epochs"] == max_epochs]


def select_snapshots(records: Sequence[RelationRecord]) -> list[RelationRecord]:
    """Returns the records of the trained network at T = 1, by epochs."""
    candidates = [
        record for record in records if not record["control"] and record["temperature"] == 1
    ]
    return sorted(candidates, key=lambda record: record["epochs"])


def group_by_setting(records: Sequence[RelationRecord]) -> dict[tuple, list[RelationRecord]]:
    """Groups records by (packet, domain), such as ("loss", "window:0.1").

    Of the domains of one kind only those with most records are returned: further widths are for
    comparison alone.
    """
    groups: dict[tuple, list[RelationRecord]] = {}
    for record in records:
        groups.setdefault((record["packet"], record["domain_text"]), []).append(record)
    largest: dict[tuple, int] = {}
    for key, group in groups.items():
        kind = (key[0], group[0].domain)
        largest[kind] = max(largest.get(kind, 0), len(group))
    return {
        key: group
        for key, group in groups.items()
        if len(group) == largest[key[0], group[0].domain]
    }


def select_most_exact(records: Sequence[RelationRecord]) -> list[RelationRecord]:
    """Returns, for each label and centre, the record with the smallest error of the product."""
    most_exact: dict[tuple, RelationRecord] = {}
    for record in records:
        key = (record["label"], str(record["centre"]))
        previous_error, error = (
            candidate.mean("uncertainty_product").stderr
            for candidate in (most_exact.setdefault(key, record), record)
        )
        if not previous_error <= error:
            most_exact[key] = record
    return list(most_exact.values())


def find_accuracy_row(
    rows: Iterable[Row], network: RelationRecord | Mapping, measure: str = "test_accuracy"
) -> Row | None:
    """Returns the row of a network's accuracy; None where there is none.

    Args:
      rows: Measurements. A test accuracy without the parameter "temperature" holds at every
        temperature, a robust accuracy at 1.
      network: With "model", "epochs", "control" and "temperature".
      measure: "test_accuracy" or "robust_accuracy".
    """
    temperature = network["temperature"]
    # Decisions do not depend on the temperature; the success of an attack may.
    default_temperature = temperature if measure == "test_accuracy" else 1
    matches = [
        row
        for row in rows
        if row.measure == measure
        and (row.model, row.epochs) == (network["model"], network["epochs"])
        and row.parameters.get("control", "") == network["control"]
        and row.parameters.get("temperature", default_temperature) == temperature
    ]
    return max(matches, key=lambda row: "temperature" in row.parameters, default=None)


def find_accuracy_rows(rows: Iterable[Row], network: RelationRecord | Mapping) -> dict[str, Row]:
    """Returns the known ones of a network's test and robust accuracy, by measure."""
    names = ("test_accuracy", "robust_accuracy")
    rows_by_measure = {name: find_accuracy_row(rows, network, name) for name in names}
    return {name: row for name, row in rows_by_measure.items() if row is not None}


def format_attack(row: Row) -> str:
    """Returns " (pgd, ε = 0.1)"; "" without an attack."""
    if not row.attack:
        return ""
    budget = "" if row.epsilon is None else f", ε = {row.epsilon:.3g}"
    return f" ({row.attack}{budget})"


def format_network(network: RelationRecord | Mapping) -> str:
    """Returns what distinguishes a network of a run: "5 epochs, T = 4", "random labels"."""
    text = network["control"].replace("_", " ")
    text = text or format_count(network["epochs"], "epoch")
    if network["temperature"] != 1:
        text += f", T = {network['temperature']:g}"
    return text


def format_domain(records: Sequence[RelationRecord]) -> str:
    """Returns the domain of records of one kind, with every width of a window."""
    record = records[0]
    widths = {f"{record.width:g}": record.width for record in records}
    width_list = ", ".join(sorted(widths, key=widths.__getitem__))
    kind, _, number = str(record["centre"]).partition(":")
    centre_texts = {"mean": " around the class mean", "image": f" around test image {number}"}
    text = _DOMAIN_FORMATS.get(record.domain, record["domain_text"]).format(width_list)
    return text + (centre_texts.get(kind, "") if record.domain == "window" else "")


def format_labels(records: Sequence[RelationRecord]) -> str:
    """Returns "label 3", "labels 3, 8" or "labels 0 to 9"; "" without labels."""
    values = sorted({record["label"] for record in records} - {None})
    label_list = ", ".join(map(str, values))
    if len(values) > 2 and values == list(range(values[0], values[-1] + 1)):
        label_list = f"{values[0]} to {values[-1]}"
    return f"label{'s' * (len(values) != 1)} {label_list}" if values else ""


def format_estimator(name: str) -> str:
    """Returns the full name of an estimator."""
    return _ESTIMATOR_NAMES.get(name, name)
