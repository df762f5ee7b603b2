"""Synthetic records of relations, for tests of figures and summaries."""

import numpy as np

from qup.core.measurements import Row
from qup.uncertainty import MEASURES

_PIXELS = 16


def check(name="covariance", furthest=2.0, allowed=4.0, agrees=None):
    """Returns one check as JSON holds it."""
    agrees = furthest <= allowed if agrees is None else agrees
    verdict = "agree" if agrees else "DISAGREE"
    return {
        "name": name,
        "agrees": agrees,
        "furthest": furthest,
        "allowed": allowed,
        "words": f"{name} {verdict}: {furthest:.1f}.",
    }


def record(*, pixels=_PIXELS, directions=0, changes=(), **metadata):
    """Returns (arrays, metadata) of a network near 1/2, or near 0 on the box.

    Args:
      pixels: Number of pixels.
      directions: Number of further axes.
      changes: Pairs of a measure and its value, or (value, error).
      **metadata: Replaces the defaults.
    """
    metadata = {
        "estimator": "importance",
        "domain_text": "window:0.1",
        "n": 5000,
        "effective_sample_size": 4000.0,
        "diagnostics": {},
        "epochs": 5,
        "model": "tiny",
        "dataset": "toy",
        "label": 3,
        "packet": "loss",
        "temperature": 1.0,
        "control": "",
        "centre": "mean",
        "image_shape": [4, 4, 1],
        "checks": [check()],
        "gradient_calls": 5000,
        **metadata,
    }
    metadata["domain"] = metadata["domain_text"].partition(":")[0]
    metadata["vanishes"] = metadata["domain"] != "box"
    names = [f"pixel:{i}" for i in range(pixels)]
    names += [f"pca:{i}" for i in range(directions)]
    values = dict.fromkeys(MEASURES, (0.3, 0.01))
    values |= {
        "sigma_x": (0.05**0.5 * 0.1**0.5, 1e-4),
        "sigma_p": (0.5**0.5 / 0.1, 1e-2),
        "uncertainty_product": (0.5003, 1e-3),
        "uncertainty_bound": (0.5, 0.0),
        "covariance": (-0.5, 0.01),
        "boundary_term": (0.0, 0.02),
        "product_by_correlation": (0.5003, 1e-5),
    }
    if metadata["domain"] == "box":
        values |= {
            "sigma_x": (0.2887, 1e-3),
            "sigma_p": (0.1, 1e-3),
            "uncertainty_product": (0.029, 3e-4),
            "uncertainty_bound": (0.004, 2e-4),
            "covariance": (-0.004, 2e-4),
            "boundary_term": (0.992, 4e-4),
            "product_by_correlation": (np.nan, np.nan),
        }
    for measure, value in dict(changes).items():
        values[measure] = value if isinstance(value, tuple) else (value, 1e-4)
    arrays = {"axes": np.array(names)}
    for measure, (value, error) in values.items():
        arrays[measure] = np.full(len(names), value, float)
        arrays[f"{measure}_stderr"] = np.full(len(names), error, float)
    if metadata["estimator"] == "mcmc":
        trace = np.random.default_rng(0).normal(size=(8, 4))
        arrays["trace_log_density"] = trace
        metadata["diagnostics"] = {"r_hat": 1.002, "acceptance": 0.8, **metadata["diagnostics"]}
    return arrays, metadata


def accuracy(value, epochs=5, control="", robust=None, **parameters):
    """Returns the rows of TA and, with `robust`, of RA."""
    metadata = {"control": control, **parameters}
    rows = []
    for attack, epsilon, measure, percent in (
        ("", None, "test_accuracy", value),
        ("pgd", 0.1, "robust_accuracy", robust),
    ):
        if percent is not None:
            row = ("toy", "tiny", "CL", attack, epsilon, measure, percent)
            rows.append(Row(*row, 1.0, 500, epochs, 0, "", metadata))
    return rows


def run():
    """Returns records and rows of a complete run in a window."""
    records = [
        record(epochs=1, changes={"product_by_correlation": (0.5001, 1e-6)}),
        record(),
        record(estimator="mcmc"),
        record(label=8),
        record(domain_text="window:0.2"),
        record(temperature=4.0, changes={"sigma_p": (7.0, 1e-3)}),
        record(control="untrained", epochs=0),
        record(control="random_labels"),
    ]
    rows = accuracy(80.0, epochs=1, robust=50.0) + accuracy(95.0, robust=20.0)
    rows += accuracy(10.0, epochs=0, control="untrained")
    rows += accuracy(11.0, control="random_labels")
    return records, rows
