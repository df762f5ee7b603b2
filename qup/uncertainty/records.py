"""A relation as an .npz file, for figures and reports.

`axes` holds the names; `<measure>` and `<measure>_stderr` the estimates,
each [axes]; `axis_r_hat` and `axis_effective_sample_size` how well each was
sampled; `left_<measure>` of importance sampling the means over pixels that
pairs of networks are compared by, see `pairing.means`; `trace_<name>` what a
walk left; `told` is JSON: estimator, domain, n, freedom, gradient_calls,
effective_sample_size, diagnostics, and what the writer adds.
"""

import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from qup.core import errors
from qup.core.measurements import Row
from qup.uncertainty import relation as uncertainty_relation
from qup.uncertainty.relation import MEASURES, Relation


def save(path: pathlib.Path, relation: Relation, **more_metadata: Any) -> None:
    """Writes a relation.

    Args:
      path: A file name that ends in .npz.
      relation: The relation.
      **more_metadata: JSON values to be told beside it, such as image_shape.
    """
    arrays: dict[str, np.ndarray] = {"axes": np.array(relation.axes.names)}
    for measure in MEASURES:
        estimate = relation[measure]
        arrays[measure] = estimate.value
        error = estimate.stderr
        arrays[f"{measure}_stderr"] = (
            np.full_like(estimate.value, np.nan) if error is None else error
        )
    for name, column in relation.by_axis.items():
        arrays[f"axis_{name}"] = column
    if relation.estimator == "importance":
        for measure, values in uncertainty_relation.leave_one_out_means(relation).items():
            arrays[f"left_{measure}"] = values
    for name, trace in relation.traces.items():
        arrays[f"trace_{name}"] = trace
    metadata = {
        "estimator": relation.estimator,
        "domain": relation.domain,
        "vanishes": relation.vanishes,
        "n": relation.n,
        "freedom": relation.degrees_of_freedom,
        "gradient_calls": relation.gradient_calls,
        "effective_sample_size": relation.effective_sample_size,
        "diagnostics": dict(relation.diagnostics),
        **more_metadata,
    }
    arrays["told"] = np.array(json.dumps(metadata, sort_keys=True))
    np.savez(path, **arrays)


def load(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns the arrays, and what was told beside them."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return arrays, json.loads(str(arrays.pop("told")))


# Saved relations, as figures and words ask for them.
#
# ```python
# found = measured([uncertainty.records.load(path) for path in paths], rows)
# found[0].average("sigma_x")  # mean over the pixels, with its error
# ```


# Beyond this many standard errors two numbers are said to differ.
Z_THRESHOLD = 3.0
# Differences below it are rounding.
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


class MeanEstimate(NamedTuple):
    """The mean over many axes.

    Attributes:
      value: Of those that could be estimated; NaN where none could.
      stderr: Its standard error, or an upper limit of it.
      num_known: Number of axes that could be estimated.
      n: Number of axes.
    """

    value: float
    stderr: float
    num_known: int
    n: int


class RelationRecord:
    """One relation of one network.

    Attributes:
      arrays: See `uncertainty.records`.
      metadata: The same; what was not told has a default.
      means: Measure to its mean over all pixels and that mean's own error,
        where they are known.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        metadata: Mapping[str, Any],
        means: Mapping[str, tuple[float, float]] | None = None,
    ):
        """Keeps what `uncertainty.records.load` returned, and means."""
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
        """Returns "box", "window" or "sine"."""
        return self["domain_text"].partition(":")[0]

    @property
    def width(self) -> float:
        """Returns the window's width; NaN where it has none."""
        return float(self["domain_text"].partition(":")[2] or "nan")

    @property
    def unit(self) -> str:
        """Returns what means go over: "pixels" or "directions"."""
        return "pixels" if self.pixels.size else "directions"

    @property
    def use_correlation_estimator(self) -> bool:
        """Says whether 1/2 / |corr(x, s)| tells more than the product.

        So it is in a Gaussian window; in a sine window s has no finite
        fourth moment.
        """
        return self.domain == "window"

    def all_values(self, measure: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns values and errors [axes], NaN where one is unknown.

        Args:
          measure: One of `uncertainty.MEASURES`; or "excess", that of the
            product over 1/2, by correlation where that is `sharp`.
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
        """Returns the same of the pixels, or of directions without any."""
        value, error = self.all_values(measure)
        return value[self._summary_mask], error[self._summary_mask]

    def mean(self, measure: str) -> MeanEstimate:
        """Returns the mean over pixels, or over directions without any.

        Its error is its own where `means` has it, else the mean of the
        axes' errors: an upper limit, because axes share their samples.
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
        """Returns the means of `pairing.means`: [1 + groups], or nothing."""
        name = f"left_{self._resolve_measure(measure)}"
        return np.asarray(self.arrays.get(name, ()), float)

    def axis_value(self, measure: str, name: str) -> MeanEstimate:
        """Returns the same of one axis, by its name."""
        index = self.names.index(name)
        value, error = (float(array[index]) for array in self.all_values(measure))
        return MeanEstimate(value, error, int(np.isfinite(value)), 1)


def build_records(records: Iterable[tuple], rows: Iterable[Row] = ()) -> list[RelationRecord]:
    """Returns records with the means that rows tell of them.

    Args:
      records: Pairs (arrays, told), as `uncertainty.records.load` returns
        each.
      rows: Those of `uncertainty_rows.of_relation` among others.

    Raises:
      InputError: There is no record.
    """
    means: dict[tuple, dict[str, tuple[float, float]]] = {}
    for row in rows:
        metadata = row.parameters
        if (metadata.get("over"), metadata.get("statistic")) == ("pixels", "mean"):
            error = np.nan if row.stderr is None else row.stderr
            key_values = {**metadata, "epochs": row.epochs, "model": row.model}
            record_means = means.setdefault(_record_key(key_values), {})
            record_means[row.measure] = row.value, error
    relation_records = []
    for arrays, metadata in records:
        key_values = {**metadata, "domain": metadata.get("domain_text", metadata["domain"])}
        relation_records.append(
            RelationRecord(arrays, metadata, means.get(_record_key(key_values)))
        )
    if not relation_records:
        raise errors.InputError("A report needs at least one measured relation; got none.")
    return relation_records


def _record_key(metadata: Mapping[str, Any]) -> tuple:
    names = (
        "model",
        "epochs",
        "control",
        "label",
        "packet",
        "temperature",
        "domain",
        "centre",
        "estimator",
    )
    values = {**_METADATA_DEFAULTS, **metadata}
    return tuple(values.get(name) for name in names)


def z_score(first: MeanEstimate, second: MeanEstimate) -> float:
    """Returns a difference in standard errors; NaN where one is unknown."""
    error = np.maximum(np.hypot(first.stderr, second.stderr), ATOL)
    return float(abs(first.value - second.value) / error)


# What two saved relations differ in.
#
# ```python
# difference(early, late, "uncertainty_product")  # late less early
# ```


def have_same_samples(first: RelationRecord, second: RelationRecord) -> bool:
    """Says whether two records are of the same samples."""
    keys = ("estimator", "seed", "n")
    return (
        first["estimator"] == "importance"
        and all(first.metadata.get(key) == second.metadata.get(key) for key in keys)
        and first.leave_one_out("sigma_x").shape == second.leave_one_out("sigma_x").shape != (0,)
    )


def compute_difference(first: RelationRecord, second: RelationRecord, measure: str) -> MeanEstimate:
    """Returns other less one, of the means over pixels.

    Its error is that of the difference itself where both are of the same
    samples; else of two independent numbers.
    """
    if have_same_samples(first, second):
        estimate = uncertainty_relation.jackknife_difference(
            first.leave_one_out(measure),
            second.leave_one_out(measure),
            len(first.pixel_values(measure)[0]),
        )
        if np.isfinite(estimate.value) and np.isfinite(estimate.stderr):
            return MeanEstimate(float(estimate.value), float(estimate.stderr), 1, 1)
    first_mean, second_mean = first.mean(measure), second.mean(measure)
    error = float(np.hypot(first_mean.stderr, second_mean.stderr))
    return MeanEstimate(
        second_mean.value - first_mean.value,
        error,
        min(first_mean.num_known, second_mean.num_known),
        first_mean.n,
    )
