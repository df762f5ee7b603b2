"""What the figures of the binary toy are drawn from: one network.

```python
portraits = [portrait(networks[e], e, rows, "sine") for e in (50, 1)]
```
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np

from qup import binary_toy, compilation
from qup.binary_toy import seeds as toy_seeds
from qup.binary_toy.conjugates import Field, conjugate, overlap, sampled
from qup.binary_toy.seeds import by_seed
from qup.measurements import Row
from qup.measures import uncertainty

# Those that are drawn: the paper's, and one that lies on its own class.
KINDS = ("loss", "sqrt_prob")
# Cells a coordinate, and how far a transform is padded.
_CELLS, _PADDING = 135, 9
# Points that are shown.
_POINTS = 300


class Side(NamedTuple):
    """Both packets of a network in one representation.

    Attributes:
      fields: Of label 0 and 1.
      sigmas: Of x_1 or of its momentum, by quadrature.
      overlap: int |psi_0| |psi_1|.
    """

    fields: Sequence[Field]
    sigmas: Sequence[float]
    overlap: float


@dataclasses.dataclass(frozen=True, eq=False)
class Portrait:
    """A network.

    Attributes:
      name: Such as "50 epochs".
      accuracies: TA, then RA for each budget in percent, in words.
      sides: Kind of packet to (X, P).
      lead: [n, n], logit of class 1 less that of class 0 at `places`.
      places: float64 [n].
      points: float32 [m, 2], held out.
      labels: int32 [m].
    """

    name: str
    accuracies: str
    sides: Mapping[str, tuple[Side, Side]]
    lead: np.ndarray
    places: np.ndarray
    points: np.ndarray
    labels: np.ndarray


def portrait(
    network: keras.Model, epochs: int, rows: Sequence[Row], domain: str
) -> Portrait:
    """Returns all that is drawn of one network on one domain.

    Args:
      network: The classifier.
      epochs: It was trained for.
      rows: Measured on it, and on others of the same seed.
      domain: A name of `binary_toy.SPANS`.
    """
    sides = {
        kind: _sides(network, kind, domain, _sigmas(rows, epochs, kind, domain))
        for kind in KINDS
    }
    places = sides[KINDS[0]][0].fields[0].places
    return Portrait(
        toy_seeds.name(epochs), _accuracies(rows, epochs), sides,
        lead(network, places), places,
        *binary_toy.held_out(rows[0].seed, _POINTS),
    )  # fmt: skip


def lead(network: keras.Model, places: np.ndarray) -> np.ndarray:
    """Returns logit 1 less logit 0 on a square grid: float32 [n, n]."""
    points = np.stack(np.meshgrid(places, places, indexing="ij"), -1)
    logits = compilation.predict(
        network, points.reshape(-1, 2).astype(np.float32)
    ).numpy()
    return (logits[:, 1] - logits[:, 0]).reshape(len(places), len(places))


def _sides(
    network: keras.Model, kind: str, domain: str, sigmas: dict[str, list]
) -> tuple[Side, Side]:
    fields = [
        sampled(
            uncertainty.of_classifier(network, label, shape=(2,), kind=kind),
            binary_toy.domain(domain, label), *binary_toy.SPANS[domain],
            _CELLS,
        )
        for label in (0, 1)
    ]  # fmt: skip
    momenta = [conjugate(field, _PADDING) for field in fields]
    return (
        Side(fields, sigmas["sigma_x"], overlap(*fields)),
        Side(momenta, sigmas["sigma_p"], overlap(*momenta)),
    )


def _sigmas(
    rows: Sequence[Row], epochs: int, kind: str, domain: str
) -> dict[str, list]:
    """Returns sigma_x and sigma_p of both labels along x_1."""
    such = {"packet": kind, "domain": domain, "temperature": 1.0}
    found: dict[str, list] = {}
    for measure in ("sigma_x", "sigma_p"):
        for label in (0, 1):
            values = by_seed(
                rows, measure, epochs, **such, label=label, axis="pixel:0"
            )
            found.setdefault(measure, []).extend(*values.values())
    return found


def _accuracies(rows: Sequence[Row], epochs: int) -> str:
    own = [row for row in rows if row.epochs == epochs]
    told = [f"TA {r.value:.1f}" for r in own if r.measure == "test_accuracy"]
    told += [
        f"RA({row.epsilon:g}) {row.value:.1f}"
        for row in own
        if row.measure == "robust_accuracy"
    ]
    return ", ".join(told) + " %"
