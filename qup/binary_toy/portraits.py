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
from qup.binary_toy.conjugates import (
    GridAmplitude,
    compute_conjugate,
    compute_overlap,
    sample_packet,
)
from qup.binary_toy.seeds import select_by_seed
from qup.measurements import Row
from qup.measures import uncertainty

# Those that are drawn: the paper's, and one that lies on its own class.
DRAWN_KINDS = ("loss", "sqrt_prob")
# Cells a coordinate, and how far a transform is padded.
_CELLS, _PADDING = 135, 9


class PacketPair(NamedTuple):
    """Both packets of a network in one representation.

    Attributes:
      amplitudes: Of label 0 and 1.
      sigmas: Of x_1 or of its momentum, by quadrature.
      overlap: int |psi_0| |psi_1|.
    """

    amplitudes: Sequence[GridAmplitude]
    sigmas: Sequence[float]
    overlap: float


@dataclasses.dataclass(frozen=True, eq=False)
class DensityPanel:
    """A network.

    Attributes:
      name: Such as "50 epochs".
      accuracies: TA, then RA for each budget in percent, in words.
      packet_pairs: Kind of packet to (X, P).
      logit_gap: [n, n], logit of class 1 less that of class 0 at `coordinates`.
      coordinates: float64 [n].
      points: float32 [m, 2], held out.
      labels: int32 [m].
    """

    name: str
    accuracies: str
    packet_pairs: Mapping[str, tuple[PacketPair, PacketPair]]
    logit_gap: np.ndarray
    coordinates: np.ndarray
    points: np.ndarray
    labels: np.ndarray


def compute_panel_arrays(network: keras.Model, domain: str) -> dict[str, np.ndarray]:
    """Returns what a portrait needs of a network, for a file.

    Args:
      network: The classifier.
      domain: A name of `binary_toy.SPANS`.

    Returns:
      "psi", float32 [kinds of `DRAWN_KINDS`, labels, n, n], at the middles of n^2
      cells of the domain's span; "places", float64 [n], their coordinates;
      "lead", float32 [n, n], logit of class 1 less that of class 0.
    """
    amplitudes = [
        [
            sample_packet(
                uncertainty.of_classifier(network, label, shape=(2,), kind=kind),
                binary_toy.get_domain(domain, label),
                *binary_toy.SPANS[domain],
                _CELLS,
            )
            for label in (0, 1)
        ]
        for kind in DRAWN_KINDS
    ]
    coordinates = amplitudes[0][0].coordinates
    psi = [[amplitude.values for amplitude in pair] for pair in amplitudes]
    return {
        "psi": np.array(psi, np.float32),
        "places": coordinates,
        "lead": compute_logit_gap(network, coordinates),
    }


def build_panel(
    panel_arrays: Mapping[str, np.ndarray],
    epochs: int,
    rows: Sequence[Row],
    domain: str,
    points: np.ndarray,
    labels: np.ndarray,
) -> DensityPanel:
    """Returns all that is drawn of one network on one domain.

    Args:
      panel_arrays: Of `compute_panel_arrays`.
      epochs: The network was trained for.
      rows: Measured on it, and on others of the same seed.
      domain: A name of `binary_toy.SPANS`.
      points: float32 [m, 2], to be shown.
      labels: int32 [m].
    """
    packet_pairs = {
        kind: _build_packet_pairs(
            panel_arrays["psi"][index],
            panel_arrays["places"],
            _select_sigmas(rows, epochs, kind, domain),
        )
        for index, kind in enumerate(DRAWN_KINDS)
    }
    return DensityPanel(
        toy_seeds.format_network_name(epochs),
        _format_accuracies(rows, epochs),
        packet_pairs,
        panel_arrays["lead"],
        panel_arrays["places"],
        points,
        labels,
    )


def compute_logit_gap(network: keras.Model, coordinates: np.ndarray) -> np.ndarray:
    """Returns logit 1 less logit 0 on a square grid: float32 [n, n]."""
    points = np.stack(np.meshgrid(coordinates, coordinates, indexing="ij"), -1)
    logits = compilation.predict(network, points.reshape(-1, 2).astype(np.float32)).numpy()
    return (logits[:, 1] - logits[:, 0]).reshape(len(coordinates), len(coordinates))


def _build_packet_pairs(
    psi: np.ndarray, coordinates: np.ndarray, sigmas: dict[str, list]
) -> tuple[PacketPair, PacketPair]:
    """Returns both packets in X and, by a Fourier transform, in P."""
    amplitudes = [GridAmplitude(values.astype(np.float64), coordinates) for values in psi]
    momenta = [compute_conjugate(amplitude, _PADDING) for amplitude in amplitudes]
    return (
        PacketPair(amplitudes, sigmas["sigma_x"], compute_overlap(*amplitudes)),
        PacketPair(momenta, sigmas["sigma_p"], compute_overlap(*momenta)),
    )


def _select_sigmas(rows: Sequence[Row], epochs: int, kind: str, domain: str) -> dict[str, list]:
    """Returns sigma_x and sigma_p of both labels along x_1."""
    parameters = {"packet": kind, "domain": domain, "temperature": 1.0}
    sigmas: dict[str, list] = {}
    for measure in ("sigma_x", "sigma_p"):
        for label in (0, 1):
            values = select_by_seed(
                rows, measure, epochs, **parameters, label=label, axis="pixel:0"
            )
            sigmas.setdefault(measure, []).extend(*values.values())
    return sigmas


def _format_accuracies(rows: Sequence[Row], epochs: int) -> str:
    network_rows = [row for row in rows if row.epochs == epochs]
    texts = [f"TA {r.value:.1f}" for r in network_rows if r.measure == "test_accuracy"]
    texts += [
        f"RA({row.epsilon:g}) {row.value:.1f}"
        for row in network_rows
        if row.measure == "robust_accuracy"
    ]
    return ", ".join(texts) + " %"
