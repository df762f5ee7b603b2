"""The points of Fig. 3, from rows and from published values.

```python
marks = ours(rows, "mean_linf")
```
"""

import dataclasses
from collections.abc import Mapping, Sequence

from qup.imagenet import networks
from qup.imagenet.fits import FitPoint
from qup.imagenet.published import PublishedValues
from qup.measurements import Row

# Which of several rows of a measure: a mean L-inf comes of two attacks.
_MEASURE_ATTACKS = {
    "mean_linf": "iterative_fgsm_search",
    "mean_l2_per_element": "carlini_wagner",
    "mean_clever_per_element": "",
}
# What tells one measurement of a model from another.
_KEY_PARAMETERS = ("image_files", "image_size", "num_images", "split", "weights")


@dataclasses.dataclass(frozen=True)
class ModelPoint:
    """One point.

    Attributes:
      name: Of the model.
      family: Of the model.
      top_1: Percent.
      top_1_stderr: Standard error; None where it is not known.
      distortion: In the panel's unit.
      distortion_stderr: Standard error; None where it is not known.
      num_parameters: Number of the model's; None where it is not known.
      untrained: Whether the weights are random.
      published: Whether it is published, and not ours.
    """

    name: str
    family: str
    top_1: float
    top_1_stderr: float | None
    distortion: float
    distortion_stderr: float | None
    num_parameters: int | None
    untrained: bool = False
    published: bool = False

    @property
    def title(self) -> str:
        """The name, and what kind of point it is."""
        if self.published:
            return f"{self.name}, cited"
        return f"{self.name}, untrained" if self.untrained else self.name

    @property
    def point(self) -> FitPoint:
        """What a line is fitted to."""
        return FitPoint(self.family, self.top_1, self.distortion)


def build_measured_points(rows: Sequence[Row], measure: str) -> list[ModelPoint]:
    """Returns the points of our rows.

    Args:
      rows: Of any models; those that are none of the 18 are left out, and
        targets that are not random, but for untrained networks.
      measure: "mean_linf", "mean_l2_per_element" or
        "mean_clever_per_element".
    """
    rows = [row for row in rows if row.model in networks.list_names()]
    accuracies = {_get_model_key(row): row for row in rows if row.measure == "test_accuracy"}
    points = []
    for row in rows:
        accuracy = accuracies.get(_get_model_key(row))
        is_selected = row.measure == measure and row.attack == _MEASURE_ATTACKS[measure]
        untrained = row.parameters.get("weights") == "random"
        has_random_targets = row.parameters.get("targets", "random") == "random"
        if not is_selected or accuracy is None or not (has_random_targets or untrained):
            continue
        model = networks.get_model(row.model)
        points.append(
            ModelPoint(
                model.name,
                model.family,
                accuracy.value,
                accuracy.stderr,
                row.value,
                row.stderr,
                model.parameters,
                untrained,
            )
        )
    return points


def _get_model_key(row: Row) -> tuple:
    parameters = (str(row.parameters.get(name)) for name in _KEY_PARAMETERS)
    return row.model, row.dataset, row.seed, *parameters


def build_published_points(published: Mapping[str, PublishedValues], name: str) -> list[ModelPoint]:
    """Returns the points of published values that have both coordinates.

    Args:
      published: By model.
      name: One of `published.DISTORTIONS`.
    """
    points = []
    for model_name, values in published.items():
        distortion = getattr(values, name)
        if values.top_1 is not None and distortion is not None:
            model = networks.get_model(model_name)
            points.append(
                ModelPoint(
                    model_name,
                    model.family,
                    values.top_1,
                    None,
                    distortion,
                    None,
                    model.parameters,
                    published=True,
                )
            )
    return points
