"""What the figures of the binary toy are drawn from: one network.

```python
held = arrays(networks[50], "sine")
portraits = [portrait(held, 50, rows, "sine", points, labels)]
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


def arrays(network: keras.Model, domain: str) -> dict[str, np.ndarray]:
    """Returns what a portrait needs of a network, for a file.

    Args:
      network: The classifier.
      domain: A name of `binary_toy.SPANS`.

    Returns:
      "psi", float32 [kinds of `KINDS`, labels, n, n], at the middles of n^2
      cells of the domain's span; "places", float64 [n], their coordinates;
      "lead", float32 [n, n], logit of class 1 less that of class 0.
    """
    fields = [
        [
            sampled(
                uncertainty.of_classifier(
                    network, label, shape=(2,), kind=kind
                ),
                binary_toy.domain(domain, label), *binary_toy.SPANS[domain],
                _CELLS,
            )
            for label in (0, 1)
        ]
        for kind in KINDS
    ]  # fmt: skip
    places = fields[0][0].places
    psi = [[field.values for field in pair] for pair in fields]
    return {
        "psi": np.array(psi, np.float32),
        "places": places,
        "lead": lead(network, places),
    }


def portrait(
    held: Mapping[str, np.ndarray],
    epochs: int,
    rows: Sequence[Row],
    domain: str,
    points: np.ndarray,
    labels: np.ndarray,
) -> Portrait:
    """Returns all that is drawn of one network on one domain.

    Args:
      held: Of `arrays`.
      epochs: The network was trained for.
      rows: Measured on it, and on others of the same seed.
      domain: A name of `binary_toy.SPANS`.
      points: float32 [m, 2], to be shown.
      labels: int32 [m].
    """
    sides = {
        kind: _sides(
            held["psi"][place], held["places"],
            _sigmas(rows, epochs, kind, domain),
        )
        for place, kind in enumerate(KINDS)
    }  # fmt: skip
    return Portrait(
        toy_seeds.name(epochs), _accuracies(rows, epochs), sides,
        held["lead"], held["places"], points, labels,
    )  # fmt: skip


def lead(network: keras.Model, places: np.ndarray) -> np.ndarray:
    """Returns logit 1 less logit 0 on a square grid: float32 [n, n]."""
    points = np.stack(np.meshgrid(places, places, indexing="ij"), -1)
    logits = compilation.predict(
        network, points.reshape(-1, 2).astype(np.float32)
    ).numpy()
    return (logits[:, 1] - logits[:, 0]).reshape(len(places), len(places))


def _sides(
    psi: np.ndarray, places: np.ndarray, sigmas: dict[str, list]
) -> tuple[Side, Side]:
    """Returns both packets in X and, by a Fourier transform, in P."""
    fields = [Field(values.astype(np.float64), places) for values in psi]
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
