"""Packets of a plane on a grid, their Fourier conjugates, and overlaps.

The paper's Fig. 2 draws psi(X) and its conjugate psi~(P). Here

    psi~(k) = 1 / (2 pi) int psi(x) exp(-i k.x) dx,  int |psi~|^2 dk = 1,

with psi continued by 0 outside of the grid.

```python
packet = sampled(uncertainty.of_classifier(...), SineWindow(), 0.0, 1.0, 225)
momentum = conjugate(packet, padding=9)
momentum.spread()  # sigma_p, for a packet that vanishes at the boundary
```

Packets are real: |psi~(k)| = |psi~(-k)|, whatever the network. And as they
are positive too, int |psi~_0| |psi~_1| dk >= |int conj(psi~_0) psi~_1 dk| =
int psi_0 psi_1 dx: in P packets overlap at least as much as in X.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from qup import errors
from qup.measures.uncertainty import Packet
from qup.measures.uncertainty.domains import Domain


@dataclasses.dataclass(frozen=True, eq=False)
class GridAmplitude:
    """An amplitude on a square grid.

    Attributes:
      values: [n, n], the first coordinate along the first axis; the sum of
        |values|^2 spacing^2 is 1.
      coordinates: float64 [n], of each coordinate.
    """

    values: np.ndarray
    coordinates: np.ndarray

    @property
    def spacing(self) -> float:
        """Distance of two places."""
        return float(self.coordinates[1] - self.coordinates[0])

    @property
    def density(self) -> np.ndarray:
        """Returns |values|^2: float64 [n, n]."""
        return np.abs(self.values) ** 2

    def marginal(self, coordinate: int) -> np.ndarray:
        """Returns the density of one coordinate: float64 [n]."""
        return self.density.sum(1 - coordinate) * self.spacing

    def mean(self) -> np.ndarray:
        """Returns the mean of both coordinates: float64 [2]."""
        means = [self.marginal(i) @ self.coordinates for i in (0, 1)]
        return np.array(means) * self.spacing

    def std(self) -> np.ndarray:
        """Returns the deviation of both coordinates: float64 [2]."""
        deviations = self.coordinates[:, None] - self.mean()
        variances = [self.marginal(i) @ deviations[:, i] ** 2 for i in (0, 1)]
        return np.sqrt(np.array(variances) * self.spacing)


def sample_packet(
    packet: Packet, domain: Domain, low: float, high: float, count: int
) -> GridAmplitude:
    """Returns psi = l w, normalised, at the middles of count^2 cells.

    Args:
      packet: Of two coordinates.
      domain: Gives the window.
      low: Lower end of both coordinates.
      high: Upper end.
      count: Cells a coordinate.
    """
    spacing = (high - low) / count
    coordinates = low + spacing * (0.5 + np.arange(count))
    points = np.stack(np.meshgrid(coordinates, coordinates, indexing="ij"), -1)
    points = points.reshape(-1, 2)
    values = packet.compute_values(points)
    values = values + domain.log_window(tf.constant(points)).numpy()
    psi = np.exp(values - values.max()).reshape(count, count)
    return GridAmplitude(psi / np.sqrt((psi**2).sum()) / spacing, coordinates)


def compute_conjugate(field: GridAmplitude, padding: int) -> GridAmplitude:
    """Returns psi~, complex, by a Fourier transform of psi padded with 0.

    Args:
      field: psi.
      padding: The grid is made that many times as long, so the frequencies
        that many times as fine: 2 pi / (padding (high - low)).
    """
    length = padding * len(field.coordinates)
    spacing = field.spacing
    transform = np.fft.fft2(field.values, (length, length))
    frequencies = 2 * np.pi * np.fft.fftfreq(length, spacing)
    # exp(-i k.x) counts from x = 0, the transform from the first place.
    phase = np.exp(-1j * frequencies * field.coordinates[0])
    psi = spacing**2 / (2 * np.pi) * transform * phase[:, None] * phase
    return GridAmplitude(np.fft.fftshift(psi), np.fft.fftshift(frequencies))


def compute_overlap(one: GridAmplitude, other: GridAmplitude) -> float:
    """Returns int |psi_0| |psi_1|, from 0 (apart) to 1 (equal).

    The Bhattacharyya coefficient (1943) of the densities |psi|^2; for
    positive packets in X also their inner product.

    Raises:
      InputError: The grids differ.
    """
    if not np.array_equal(one.coordinates, other.coordinates):
        raise errors.InputError(
            "Only packets on one grid overlap: sample both with the same low, high and count."
        )
    product = np.abs(one.values) * np.abs(other.values)
    return float(product.sum() * one.spacing**2)
