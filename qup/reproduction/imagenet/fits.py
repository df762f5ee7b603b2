"""Lines through Fig. 3: distortion against the logarithm of the error.

Su et al. find that a model's distortion falls linearly with ln(error) over all architectures.
`fit_line` fits all models. `fit_shared_slope` fits one slope with an intercept per family, so that
only differences within families count: slopes of opposite sign are Simpson's paradox.

```python
points = [FitPoint("VGG", 71.3, 3.1e-6), ...]
fit_line(points).slope, fit_line(points).stderr
fit_shared_slope(points).slope
format_slope_verdict(points)
```
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import statsmodels.api as sm
from scipy import stats

from qup.core.errors import InputError

_MIN_MODELS = 3
# Quantile of Student's t, one side: a slope differs from 0 at 5 %.
_T_QUANTILE = 0.975


class FitPoint(NamedTuple):
    """One model.

    Attributes:
      family: Name of its family.
      top_1: Accuracy in percent, below 100.
      distortion: In any unit.
    """

    family: str
    top_1: float
    distortion: float


class LineFit(NamedTuple):
    """distortion = intercept + slope * ln(error), by ordinary least squares.

    Attributes:
      slope: In units of the distortion, for a factor e of the error.
      stderr: Of the slope, from the scatter around the line.
      intercept: At ln(error) = 0; NaN for a slope that families share.
      n: Number of models.
      degrees_of_freedom: n minus the number of coefficients.
    """

    slope: float
    stderr: float
    intercept: float
    n: int
    degrees_of_freedom: int


def compute_log_error(top_1) -> np.ndarray:
    """Returns ln(1 - accuracy) of accuracies in percent, from 0 to below 100.

    Raises:
      InputError: An accuracy is out of that range.
    """
    top_1 = np.asarray(top_1, float)
    if not ((top_1 >= 0) & (top_1 < 100)).all():
        raise InputError(
            "The logarithm of the error requires accuracies from 0 to below 100 percent; got "
            f"{np.round(top_1, 4).tolist()}."
        )
    return np.log1p(-top_1 / 100)


def fit_line(points: Sequence[FitPoint]) -> LineFit:
    """Fits one line to all models with equal weights.

    Raises:
      InputError: There are fewer than three models, or all have one accuracy.
    """
    if len(points) < _MIN_MODELS:
        raise InputError(
            f"A slope with an error needs at least {_MIN_MODELS} models; got {len(points)} models."
        )
    return _fit_common_slope(points, [""] * len(points))


def fit_shared_slope(points: Sequence[FitPoint]) -> LineFit:
    """Fits one slope, and an intercept per family, to all families of two models or more.

    Raises:
      InputError: There are too few models to give the slope an error.
    """
    families = [point.family for point in points]
    paired_points = [point for point in points if families.count(point.family) > 1]
    paired_families = [point.family for point in paired_points]
    num_differences = len(paired_points) - len(set(paired_families))
    if num_differences < 2:
        raise InputError(
            "A slope within families needs two differences between models of one family; got "
            f"{num_differences}, of {len(set(paired_families))} families with two models or more. "
            "Measure more models."
        )
    return _fit_common_slope(paired_points, paired_families)._replace(intercept=math.nan)


def _fit_common_slope(points: Sequence[FitPoint], groups: Sequence[str]) -> LineFit:
    """Fits one slope, and an intercept per group."""
    log_errors = compute_log_error([point.top_1 for point in points])
    intercepts = np.equal.outer(groups, np.unique(groups)).astype(float)
    design = np.column_stack([log_errors, intercepts])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise InputError("The models have one accuracy; a slope needs different ones.")
    fit = sm.OLS([point.distortion for point in points], design).fit()
    slope, intercept = map(float, fit.params[:2])
    return LineFit(slope, float(fit.bse[0]), intercept, len(points), int(fit.df_resid))


def format_slope_verdict(points: Sequence[FitPoint]) -> str:
    """Compares the slope within families with the slope over all models, as a sentence."""
    try:
        overall, shared = fit_line(points), fit_shared_slope(points)
    except InputError as error:
        return f"No comparison: {error}"
    text = (
        f"Slope over all {overall.n} models {_format_slope(overall)}, within families "
        f"{_format_slope(shared)}: "
    )
    unclear = [
        name
        for name, fit in (("over all", overall), ("within families", shared))
        if not abs(fit.slope) > stats.t.ppf(_T_QUANTILE, fit.degrees_of_freedom) * fit.stderr
    ]
    if unclear:
        return text + f"{' and '.join(unclear)} not separable from 0."
    if overall.slope * shared.slope < 0:
        return text + "of opposite signs (Simpson's paradox)."
    return text + "of one sign."


def _format_slope(fit: LineFit) -> str:
    return f"{fit.slope:.3g} ± {fit.stderr:.2g}"
