"""Records of made-up relations, for tests of figures and words."""

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


def record(*, pixels=_PIXELS, directions=0, changes=(), **told):
    """Returns (arrays, told) of a network near 1/2, or near 0 on the box.

    Args:
      pixels: How many were measured.
      directions: How many further axes.
      changes: Pairs of a measure and its value, or (value, error).
      **told: What a record tells.
    """
    told = {
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
        **told,
    }
    told["domain"] = told["domain_text"].partition(":")[0]
    told["vanishes"] = told["domain"] != "box"
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
    if told["domain"] == "box":
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
    if told["estimator"] == "mcmc":
        walk = np.random.default_rng(0).normal(size=(8, 4))
        arrays["trace_log_density"] = walk
        told["diagnostics"] = {"r_hat": 1.002, "acceptance": 0.8, **told["diagnostics"]}
    return arrays, told


def accuracy(value, epochs=5, control="", robust=None, **parameters):
    """Returns the rows of TA, and of RA where it is given."""
    told = {"control": control, **parameters}
    rows = [
        Row("toy", "tiny", "CL", "", None, "test_accuracy", value, 1.0, 500, epochs, 0, "", told)
    ]
    if robust is not None:
        rows.append(
            Row(
                "toy",
                "tiny",
                "CL",
                "pgd",
                0.1,
                "robust_accuracy",
                robust,
                1.0,
                500,
                epochs,
                0,
                "",
                told,
            )
        )
    return rows


def run():
    """Returns records and rows of all that a run in a window measures."""
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
