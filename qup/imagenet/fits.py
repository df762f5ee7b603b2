"""Lines through Fig. 3: distortion against the logarithm of the error.

Su et al. found that a model's distortion falls linearly with log(error),
over all architectures. Whether that also holds within a family of networks,
or is a difference between families (Simpson's paradox), is what `within` and
`together` answer: the first fits each family by itself, the second one slope
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

from qup.errors import InputError

_LEAST = 3
# Of Student's t, one side: a slope differs from 0 at 5 %.
_LEVEL = 0.975


class Point(NamedTuple):
    """One model.

    Attributes:
      family: Which.
      top_1: Accuracy in percent, below 100.
      distortion: In any unit.
    """

    family: str
    top_1: float
    distortion: float


class Line(NamedTuple):
    """distortion = intercept + slope * ln(error), by least squares.

    Attributes:
      slope: In units of the distortion, for a factor e of the error.
      stderr: Of the slope, from the scatter about the line.
      intercept: At ln(error) = 0; NaN of a slope shared by families.
      n: Number of models.
      degrees: Of freedom of the error: n less the numbers fitted.
    """

    slope: float
    stderr: float
    intercept: float
    n: int
    degrees: int


def log_error(top_1) -> np.ndarray:
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


def line(points: Sequence[Point]) -> Line:
    """Fits one line to all points, whatever their family.

    Every model counts alike; its own errors (of accuracy and of distortion)
    do not enter.

    Raises:
      InputError: Fewer than three models, or all of one accuracy.
    """
    if len(points) < _LEAST:
        raise InputError(_few("A line", len(points)))
    return _fit(points, [""] * len(points))


def within(points: Sequence[Point]) -> dict[str, Line | str]:
    """Fits a line to each family.

    Returns:
      By family, in order of appearance; in words where there is none to fit.
    """
    found: dict[str, Line | str] = {}
    for family in dict.fromkeys(point.family for point in points):
        own = [point for point in points if point.family == family]
        try:
            if len(own) < _LEAST:
                raise InputError(_few(family, len(own)))
            found[family] = line(own)
        except InputError as error:
            found[family] = str(error)
    return found


def together(points: Sequence[Point]) -> Line:
    """Fits one slope to all families of two models or more.

    Each family keeps its own intercept, so that only differences within
    families count.

    Raises:
      InputError: Too few models to give the slope an error.
    """
    families = [point.family for point in points]
    own = [point for point in points if families.count(point.family) > 1]
    groups = len({point.family for point in own})
    if len(own) - groups < 2:
        raise InputError(
            "A slope within families needs two differences between models "
            f"of one family; got {len(own) - groups}, of {groups} families "
            "with two models or more. Measure more models."
        )
    return _fit(own, [point.family for point in own])._replace(
        intercept=math.nan
    )


def verdict(points: Sequence[Point]) -> str:
    """Says in words how the slope within families stands to that over all."""
    try:
        overall, inside = line(points), together(points)
    except InputError as error:
        return f"No comparison: {error}"
    words = (
        f"Slope over all {overall.n} models {_told(overall)}, within families "
        f"{_told(inside)}: "
    )
    unclear = [
        name
        for name, fit in (("over all", overall), ("within families", inside))
        if not abs(fit.slope) > stats.t.ppf(_LEVEL, fit.degrees) * fit.stderr
    ]
    if unclear:
        return words + f"{' and '.join(unclear)} not separable from 0."
    if overall.slope * inside.slope < 0:
        return words + "of opposite signs (Simpson's paradox)."
    return words + "of one sign."


def _told(fit: Line) -> str:
    return f"{fit.slope:.3g} ± {fit.stderr:.2g}"


def _few(what: str, count: int) -> str:
    models = "1 model" if count == 1 else f"{count} models"
    return (
        f"{what}: a slope with an error needs at least {_LEAST} models; got "
        f"{models}."
    )


def _fit(points: Sequence[Point], groups: Sequence[str]) -> Line:
    """Fits one slope, and an intercept to each group."""
    x = log_error([point.top_1 for point in points])
    y = np.array([point.distortion for point in points], float)
    marks, number = np.unique(groups, return_inverse=True)
    sizes = np.bincount(number)
    mean_x, mean_y = (np.bincount(number, v) / sizes for v in (x, y))
    away_x, away_y = x - mean_x[number], y - mean_y[number]
    # slope = sum dx dy / sum dx^2
    spread = float((away_x**2).sum())
    if not spread > 1e-12:
        raise InputError(
            "The models have one accuracy; a slope needs different ones."
        )
    slope = float((away_x * away_y).sum()) / spread
    degrees = len(points) - len(marks) - 1
    rest = float(((away_y - slope * away_x) ** 2).sum())
    # stderr^2 = sum of squared residuals / degrees / sum dx^2
    stderr = math.sqrt(rest / degrees / spread)
    intercept = float(mean_y[0] - slope * mean_x[0])
    return Line(slope, stderr, intercept, len(points), degrees)
