"""Fig. 3's lines as numbers: slopes over all models, and within families.

distortion = a + b ln(error): where b lies above 0, models of fewer errors are
changed by smaller perturbations, the trade-off of the paper's Fig. 3.

```python
for found in of_panels(material):
    found.within.value, found.within.low, found.within.high
```
"""

import dataclasses
from collections.abc import Callable, Sequence

from scipy import stats

from qup import errors
from qup.evidence_figures import imagenet, imagenet_points
from qup.imagenet import fits
from qup.imagenet.fits import Line, Point
from qup.measurements import Row
from qup.report.estimates import LEVEL, Estimate
from qup.report.material import Material


@dataclasses.dataclass(frozen=True)
class Slopes:
    """One panel.

    Attributes:
      measure: Of the rows.
      title: What the panel shows.
      models: How many models with trained weights.
      overall: The slope over all of them; None where there are too few.
      within: The slope within families, the same for all of them.
      words: How the two stand to each other.
    """

    measure: str
    title: str
    models: int
    overall: Estimate | None
    within: Estimate | None
    words: str


def rows_of(material: Material) -> list[Row]:
    """Returns the rows of ImageNet models."""
    return [
        row for row in material.rows
        if {"num_parameters", "image_files"} <= row.parameters.keys()
    ]  # fmt: skip


def of_panels(material: Material) -> list[Slopes]:
    """Returns what each panel's lines say; random weights take no part."""
    rows, found = rows_of(material), []
    for panel in imagenet.PANELS:
        marks = imagenet_points.ours(rows, panel.measure)
        points = [mark.point for mark in marks if not mark.untrained]
        own = tuple(
            row for row in rows
            if row.measure == panel.measure
            and row.parameters.get("weights") != "random"
        )  # fmt: skip
        found.append(
            Slopes(
                panel.measure,
                panel.label.replace("\n", " "),
                len(points),
                _slope(fits.line, points, own),
                _slope(fits.together, points, own),
                fits.verdict(points),
            )
        )
    return found


def _slope(
    fit: Callable[[Sequence[Point]], Line],
    points: Sequence[Point],
    rows: tuple[Row, ...],
) -> Estimate | None:
    """Returns a slope with Student's interval of its scatter."""
    try:
        found = fit(points)
    except errors.InputError:
        return None
    half = stats.t.ppf((1 + LEVEL) / 2, found.degrees) * found.stderr
    low, high = found.slope - half, found.slope + half
    return Estimate(found.slope, low, high, 1, found.n, rows)
