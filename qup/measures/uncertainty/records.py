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
from typing import Any

import numpy as np

from qup.measures.uncertainty import pairing
from qup.measures.uncertainty.relation import MEASURES, Relation


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
        for measure, values in pairing.leave_one_out_means(relation).items():
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
