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


def save(path: pathlib.Path, found: Relation, **more: Any) -> None:
    """Writes a relation.

    Args:
      path: A file name that ends in .npz.
      found: The relation.
      **more: JSON values to be told beside it, such as image_shape.
    """
    arrays: dict[str, np.ndarray] = {"axes": np.array(found.axes.names)}
    for measure in MEASURES:
        estimate = found[measure]
        arrays[measure] = estimate.value
        error = estimate.stderr
        arrays[f"{measure}_stderr"] = (
            np.full_like(estimate.value, np.nan) if error is None else error
        )
    for name, column in found.by_axis.items():
        arrays[f"axis_{name}"] = column
    if found.estimator == "importance":
        for measure, means in pairing.means(found).items():
            arrays[f"left_{measure}"] = means
    for name, trace in found.traces.items():
        arrays[f"trace_{name}"] = trace
    told = {
        "estimator": found.estimator,
        "domain": found.domain,
        "vanishes": found.vanishes,
        "n": found.n,
        "freedom": found.freedom,
        "gradient_calls": found.gradient_calls,
        "effective_sample_size": found.effective_sample_size,
        "diagnostics": dict(found.diagnostics),
        **more,
    }
    arrays["told"] = np.array(json.dumps(told, sort_keys=True))
    np.savez(path, **arrays)


def load(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns the arrays, and what was told beside them."""
    with np.load(path, allow_pickle=False) as held:
        arrays = {name: held[name] for name in held.files}
    return arrays, json.loads(str(arrays.pop("told")))
