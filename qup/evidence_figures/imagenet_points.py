"""The points of Fig. 3, from rows and from published values.

```python
marks = ours(rows, "mean_linf")
```
"""

import dataclasses
from collections.abc import Mapping, Sequence

from qup.imagenet import networks
from qup.imagenet.fits import Point
from qup.imagenet.published import Published
from qup.measurements import Row

# Which of several rows of a measure: a mean L-inf comes of two attacks.
_ATTACKS = {
    "mean_linf": "iterative_fgsm_search",
    "mean_l2_per_element": "carlini_wagner",
    "mean_clever_per_element": "",
}
# What tells one measurement of a model from another.
_SHARED = ("image_files", "image_size", "num_images", "split", "weights")


@dataclasses.dataclass(frozen=True)
class Mark:
    """One point.

    Attributes:
      name: Of the model.
      family: Of the model.
      top_1: Percent.
      top_1_error: Standard error; None where it is not known.
      distortion: In the panel's unit.
      distortion_error: Standard error; None where it is not known.
      parameters: Number of the model's; None where it is not known.
      untrained: Whether the weights are random.
      cited: Whether it is published, and not ours.
    """

    name: str
    family: str
    top_1: float
    top_1_error: float | None
    distortion: float
    distortion_error: float | None
    parameters: int | None
    untrained: bool = False
    cited: bool = False

    @property
    def title(self) -> str:
        """The name, and what kind of point it is."""
        if self.cited:
            return f"{self.name}, cited"
        return f"{self.name}, untrained" if self.untrained else self.name

    @property
    def point(self) -> Point:
        """What a line is fitted to."""
        return Point(self.family, self.top_1, self.distortion)


def ours(rows: Sequence[Row], measure: str) -> list[Mark]:
    """Returns the points of our rows.

    Args:
      rows: Of any models; those that are none of the 18 are left out, and
        targets that are not random, but for untrained networks.
      measure: "mean_linf", "mean_l2_per_element" or
        "mean_clever_per_element".
    """
    rows = [row for row in rows if row.model in networks.names()]
    accuracies = {
        _key(row): row for row in rows if row.measure == "test_accuracy"
    }
    found = []
    for row in rows:
        accuracy = accuracies.get(_key(row))
        wanted = row.measure == measure and row.attack == _ATTACKS[measure]
        untrained = row.parameters.get("weights") == "random"
        chosen = row.parameters.get("targets", "random") == "random"
        if not wanted or accuracy is None or not (chosen or untrained):
            continue
        network = networks.get(row.model)
        found.append(
            Mark(
                network.name, network.family, accuracy.value, accuracy.stderr,
                row.value, row.stderr, network.parameters,
                untrained,
            )
        )  # fmt: skip
    return found


def _key(row: Row) -> tuple:
    shared = (str(row.parameters.get(name)) for name in _SHARED)
    return row.model, row.dataset, row.seed, *shared


def theirs(published: Mapping[str, Published], name: str) -> list[Mark]:
    """Returns the points of published values that have both coordinates.

    Args:
      published: By model.
      name: One of `published.DISTORTIONS`.
    """
    found = []
    for model, known in published.items():
        distortion = getattr(known, name)
        if known.top_1 is not None and distortion is not None:
            network = networks.get(model)
            found.append(
                Mark(
                    model, network.family, known.top_1, None, distortion,
                    None, network.parameters, cited=True,
                )
            )  # fmt: skip
    return found
