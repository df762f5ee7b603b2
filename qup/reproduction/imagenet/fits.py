"""Lines through Fig. 3: distortion against the logarithm of the error.

Su et al. found that a model's distortion falls linearly with log(error),
over all architectures. Whether that also holds within a family of networks,
or is a difference between families (Simpson's paradox), is what `fit_within_families` and
`fit_shared_slope` answer: the first fits each family by itself, the second one slope
to all families, each with its own intercept.

```python
points = [Point("VGG", 71.3, 3.1e-6), ...]
line(points).slope, line(points).stderr
within(points)  # {"VGG": "VGG has 2 models; a line with an error needs 3."}
together(points).slope
verdict(points)  # in words
```
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from qup.core.errors import InputError

_MIN_MODELS = 3
# Of Student's t, one side: a slope differs from 0 at 5 %.
_T_LEVEL = 0.975


class FitPoint(NamedTuple):
    """One model.

    Attributes:
      family: Which.
      top_1: Accuracy in percent, below 100.
      distortion: In any unit.
    """

    family: str
    top_1: float
    distortion: float


class LineFit(NamedTuple):
    """distortion = intercept + slope * ln(error), by least squares.

    Attributes:
      slope: In units of the distortion, for a factor e of the error.
      stderr: Of the slope, from the scatter about the line.
      intercept: At ln(error) = 0; NaN of a slope shared by families.
      n: Number of models.
      degrees_of_freedom: Of freedom of the error: n less the numbers fitted.
    """

    slope: float
    stderr: float
    intercept: float
    n: int
    degrees_of_freedom: int


def compute_log_error(top_1) -> np.ndarray:
    """Returns ln(1 - accuracy).

    Args:
      top_1: Accuracies in percent, from 0 to below 100.

    Raises:
      InputError: One is out of that range.
    """
    top_1 = np.asarray(top_1, float)
    if not ((top_1 >= 0) & (top_1 < 100)).all():
        raise InputError(
            "Accuracies must be percents from 0 to below 100, since the "
            f"error's logarithm is taken; got {np.round(top_1, 4).tolist()}."
        )
    return np.log1p(-top_1 / 100)


def fit_line(points: Sequence[FitPoint]) -> LineFit:
    """Fits one line to all points, whatever their family.

    Every model counts alike; its own errors (of accuracy and of distortion)
    do not enter.

    Raises:
      InputError: Fewer than three models, or all of one accuracy.
    """
    if len(points) < _MIN_MODELS:
        raise InputError(_format_too_few("A line", len(points)))
    return _fit_common_slope(points, [""] * len(points))


def fit_within_families(points: Sequence[FitPoint]) -> dict[str, LineFit | str]:
    """Fits a line to each family.

    Returns:
      By family, in order of appearance; in words where there is none to fit.
    """
    fits_by_family: dict[str, LineFit | str] = {}
    for family in dict.fromkeys(point.family for point in points):
        family_points = [point for point in points if point.family == family]
        try:
            if len(family_points) < _MIN_MODELS:
                raise InputError(_format_too_few(family, len(family_points)))
            fits_by_family[family] = fit_line(family_points)
        except InputError as error:
            fits_by_family[family] = str(error)
    return fits_by_family


def fit_shared_slope(points: Sequence[FitPoint]) -> LineFit:
    """Fits one slope to all families of two models or more.

    Each family keeps its own intercept, so that only differences within
    families count.

    Raises:
      InputError: Too few models to give the slope an error.
    """
    families = [point.family for point in points]
    paired_points = [point for point in points if families.count(point.family) > 1]
    groups = len({point.family for point in paired_points})
    if len(paired_points) - groups < 2:
        raise InputError(
            "A slope within families needs two differences between models "
            f"of one family; got {len(paired_points) - groups}, of {groups} families "
            "with two models or more. Measure more models."
        )
    return _fit_common_slope(paired_points, [point.family for point in paired_points])._replace(
        intercept=math.nan
    )


def format_slope_verdict(points: Sequence[FitPoint]) -> str:
    """Says in words how the slope within families stands to that over all."""
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
        if not abs(fit.slope) > stats.t.ppf(_T_LEVEL, fit.degrees_of_freedom) * fit.stderr
    ]
    if unclear:
        return text + f"{' and '.join(unclear)} not separable from 0."
    if overall.slope * shared.slope < 0:
        return text + "of opposite signs (Simpson's paradox)."
    return text + "of one sign."


def _format_slope(fit: LineFit) -> str:
    return f"{fit.slope:.3g} ± {fit.stderr:.2g}"


def _format_too_few(group: str, count: int) -> str:
    models = "1 model" if count == 1 else f"{count} models"
    return f"{group}: a slope with an error needs at least {_MIN_MODELS} models; got {models}."


def _fit_common_slope(points: Sequence[FitPoint], groups: Sequence[str]) -> LineFit:
    """Fits one slope, and an intercept to each group."""
    x = compute_log_error([point.top_1 for point in points])
    y = np.array([point.distortion for point in points], float)
    unique_groups, number = np.unique(groups, return_inverse=True)
    sizes = np.bincount(number)
    mean_x, mean_y = (np.bincount(number, v) / sizes for v in (x, y))
    deviation_x, deviation_y = x - mean_x[number], y - mean_y[number]
    # slope = sum dx dy / sum dx^2
    spread = float((deviation_x**2).sum())
    if not spread > 1e-12:
        raise InputError("The models have one accuracy; a slope needs different ones.")
    slope = float((deviation_x * deviation_y).sum()) / spread
    degrees_of_freedom = len(points) - len(unique_groups) - 1
    residual_sum = float(((deviation_y - slope * deviation_x) ** 2).sum())
    # stderr^2 = sum of squared residuals / degrees / sum dx^2
    stderr = math.sqrt(residual_sum / degrees_of_freedom / spread)
    intercept = float(mean_y[0] - slope * mean_x[0])
    return LineFit(slope, stderr, intercept, len(points), degrees_of_freedom)
