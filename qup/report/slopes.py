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
from qup.imagenet.fits import FitPoint, LineFit
from qup.measurements import Row
from qup.report.estimates import CONFIDENCE_LEVEL, IntervalEstimate
from qup.report.material import ReportData


@dataclasses.dataclass(frozen=True)
class PanelSlopes:
    """One panel.

    Attributes:
      measure: Of the rows.
      title: What the panel shows.
      num_models: How many models with trained weights.
      overall: The slope over all of them; None where there are too few.
      within: The slope within families, the same for all of them.
      text: How the two stand to each other.
    """

    measure: str
    title: str
    num_models: int
    overall: IntervalEstimate | None
    within: IntervalEstimate | None
    text: str


def find_imagenet_rows(data: ReportData) -> list[Row]:
    """Returns the rows of ImageNet models."""
    return [row for row in data.rows if {"num_parameters", "image_files"} <= row.parameters.keys()]


def fit_panel_slopes(data: ReportData) -> list[PanelSlopes]:
    """Returns what each panel's lines say; random weights take no part."""
    rows, results = find_imagenet_rows(data), []
    for panel in imagenet.PANELS:
        model_points = imagenet_points.build_measured_points(rows, panel.measure)
        points = [model_point.point for model_point in model_points if not model_point.untrained]
        panel_rows = tuple(
            row
            for row in rows
            if row.measure == panel.measure and row.parameters.get("weights") != "random"
        )
        results.append(
            PanelSlopes(
                panel.measure,
                panel.label.replace("\n", " "),
                len(points),
                _fit_slope(fits.fit_line, points, panel_rows),
                _fit_slope(fits.fit_shared_slope, points, panel_rows),
                fits.format_slope_verdict(points),
            )
        )
    return results


def _fit_slope(
    fit: Callable[[Sequence[FitPoint]], LineFit], points: Sequence[FitPoint], rows: tuple[Row, ...]
) -> IntervalEstimate | None:
    """Returns a slope with Student's interval of its scatter."""
    try:
        line = fit(points)
    except errors.InputError:
        return None
    half_width = stats.t.ppf((1 + CONFIDENCE_LEVEL) / 2, line.degrees_of_freedom) * line.stderr
    low, high = line.slope - half_width, line.slope + half_width
    return IntervalEstimate(line.slope, low, high, 1, line.n, rows)
