"""Packets of the binary toy: amplitudes on a grid, their conjugates, and rows of measurements.

| measure | of |
| --- | --- |
| test_accuracy, robust_accuracy | the network, on test points |
| sigma_x, sigma_p, uncertainty_product | a packet along a coordinate |
| uncertainty_bound, boundary_term, boundary_term_faces | the same, box |
| quadrature_resolution | see `quadrature.relation` |
| covariance, sigma_p_conjugate | the same, if psi is 0 at the boundary |
| own_share | a packet: share of |psi|^2 where the network predicts its label |
| overlap_x, overlap_p | the packets of both labels |

`sigma_p_conjugate` is the standard deviation of |psi~|^2. It does not exist on the box: psi,
continued by 0, jumps at the faces, and |psi~|^2 falls as 1 / k^2.

The paper's Fig. 2 plots psi(X) and its conjugate psi~(P). Here

    psi~(k) = 1 / (2 pi) int psi(x) exp(-i k.x) dx,  int |psi~|^2 dk = 1,

with psi continued by 0 outside of the grid. Packets are real: |psi~(k)| = |psi~(-k)| for every
network. They are also positive: int |psi~_0| |psi~_1| dk >= |int conj(psi~_0) psi~_1 dk| =
int psi_0 psi_1 dx, so packets overlap in P at least as much as in X.

```python
packet = sample_packet(uncertainty.of_classifier(...), SineWindow(), 0.0, 1.0, 225)
momentum = compute_conjugate(packet, padding=9)
momentum.std()  # sigma_p, for a packet that vanishes at the boundary
```
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from qup import uncertainty
from qup.core import compilation, errors
from qup.core.formatting import format_count
from qup.core.measurements import Measurement, ModelInfo, Row
from qup.reproduction import binary_toy
from qup.uncertainty import Packet, boundary, quadrature
from qup.uncertainty.domains import Domain
from qup.uncertainty.packets import PACKET_KINDS

AXES = ("pixel:0", "pixel:1")
AVERAGED_OVER = "labels and axes"
# Budgets of the attack. The arcs are 0.13 apart in L-inf: without noise a network could be robust
# at every point for the first budget, but not for the second.
EPSILONS = (0.05, 0.1)
# The control: the least trained network with its logits times 10.
TEMPERATURE = 0.1
# Packets in figures: the paper's, and one that is large on its own class.
DRAWN_KINDS = ("loss", "sqrt_prob")
# Cells per coordinate of the figures, and the padding of their Fourier transform.
_CELLS, PADDING = 135, 9
_COMMON_MEASURES = ("sigma_x", "sigma_p", "uncertainty_product")
_BOX_MEASURES = ("uncertainty_bound", "boundary_term")
# Seed -> all values of a measure, over labels and coordinates.
SeedValues: TypeAlias = Mapping[int, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class GridAmplitude:
    """An amplitude on a square grid.

    Attributes:
      values: [n, n], the first coordinate along the first axis; the sum of
        |values|^2 spacing^2 is 1.
      coordinates: float64 [n], the same along both axes.
    """

    values: np.ndarray
    coordinates: np.ndarray

    @property
    def spacing(self) -> float:
        """Distance between grid points."""
        return float(self.coordinates[1] - self.coordinates[0])

    @property
    def density(self) -> np.ndarray:
        """|values|^2, float64 [n, n]."""
        return np.abs(self.values) ** 2

    def marginal(self, coordinate: int) -> np.ndarray:
        """Returns the marginal density of one coordinate, float64 [n]."""
        return self.density.sum(1 - coordinate) * self.spacing

    def mean(self) -> np.ndarray:
        """Returns the mean of both coordinates, float64 [2]."""
        means = [self.marginal(i) @ self.coordinates for i in (0, 1)]
        return np.array(means) * self.spacing

    def std(self) -> np.ndarray:
        """Returns the standard deviation of both coordinates, float64 [2]."""
        deviations = self.coordinates[:, None] - self.mean()
        variances = [self.marginal(i) @ deviations[:, i] ** 2 for i in (0, 1)]
        return np.sqrt(np.array(variances) * self.spacing)


def sample_packet(
    packet: Packet, domain: Domain, low: float, high: float, count: int
) -> GridAmplitude:
    """Returns psi = l w, normalised, at the centres of count^2 cells of [low, high]^2."""
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

    The grid becomes `padding` times as long, the spacing of frequencies
    2 pi / (padding (high - low)).
    """
    length = padding * len(field.coordinates)
    spacing = field.spacing
    transform = np.fft.fft2(field.values, (length, length))
    frequencies = 2 * np.pi * np.fft.fftfreq(length, spacing)
    # The origin of exp(-i k.x) is x = 0, that of the transform the first grid point.
    phase = np.exp(-1j * frequencies * field.coordinates[0])
    psi = spacing**2 / (2 * np.pi) * transform * phase[:, None] * phase
    return GridAmplitude(np.fft.fftshift(psi), np.fft.fftshift(frequencies))


def compute_overlap(one: GridAmplitude, other: GridAmplitude) -> float:
    """Returns int |psi_0| |psi_1|, from 0 (disjoint) to 1 (equal).

    It is the Bhattacharyya coefficient (1943) of the densities |psi|^2; for positive packets in X
    also their inner product.

    Raises:
      InputError: The grids differ.
    """
    if not np.array_equal(one.coordinates, other.coordinates):
        raise errors.InputError(
            "An overlap needs packets on one grid: sample both with the same low, high and count."
        )
    product = np.abs(one.values) * np.abs(other.values)
    return float(product.sum() * one.spacing**2)


class Grids(NamedTuple):
    """Resolution of the measurements.

    Attributes:
      panels: Panels of 8 Gauss-Legendre nodes, per coordinate.
      cells: Cells of a Fourier transform, per coordinate.
      padding: See `compute_conjugate`.
    """

    panels: int = 24
    cells: int = 405
    padding: int = 3


def build_model_info(epochs: int, seed: int) -> ModelInfo:
    """Returns the description that all rows of a network share."""
    return ModelInfo("arcs", "tanh-32-32", "CL", epochs, seed)


def measure_accuracies(
    network: keras.Model, model_info: ModelInfo, count: int, epsilons: Sequence[float]
) -> list[Row]:
    """Returns TA and RA on `count` test points."""
    points, labels = binary_toy.sample_held_out(model_info.seed, count)
    clean, robust = binary_toy.compute_accuracies(
        network, points, labels, epsilons=epsilons, seed=model_info.seed
    )
    model_info = model_info.with_parameters(split="test")
    rows = [model_info.build_row("test_accuracy", clean)]
    for epsilon, accuracy in robust.items():
        attack_parameters = {"name": "pgd", "epsilon": epsilon, "step_size": epsilon / 10}
        attack_parameters |= binary_toy.PGD_OPTIONS
        rows.append(model_info.build_row("robust_accuracy", accuracy, attack_parameters))
    return rows


def measure_packets(
    network: keras.Model, model_info: ModelInfo, grids: Grids, temperature: float = 1.0
) -> list[Row]:
    """Measures all packets of both labels on all domains; divides logits by `temperature`."""
    rows = []
    for kind in PACKET_KINDS:
        packets = [
            uncertainty.of_classifier(
                network, label, shape=(2,), kind=kind, temperature=temperature, num_classes=2
            )
            for label in (0, 1)
        ]
        for name in binary_toy.SPANS:
            packet_info = model_info.with_parameters(
                packet=kind, domain=name, temperature=temperature
            )
            rows += _measure_pair(network, packets, packet_info, name, grids)
    return rows


def _measure_pair(
    network: keras.Model, packets: list[Packet], model_info: ModelInfo, name: str, grids: Grids
) -> list[Row]:
    """Measures the packets of both labels on one domain."""
    fields, momenta, rows = [], [], []
    for label, packet in enumerate(packets):
        domain = binary_toy.get_domain(name, label)
        low, high = binary_toy.SPANS[name]
        field = sample_packet(packet, domain, low, high, grids.cells)
        momentum = compute_conjugate(field, grids.padding)
        fields.append(field)
        momenta.append(momentum)
        label_info = model_info.with_parameters(label=label)
        rows += _measure_relation(packet, domain, momentum, label_info, grids)
        rows.append(label_info.build_row("own_share", _measure_own_share(network, field, label)))
    for measure, pair in (("overlap_x", fields), ("overlap_p", momenta)):
        rows.append(
            model_info.build_row(measure, _build_exact_value(compute_overlap(*pair), pair[0]))
        )
    return rows


def _measure_relation(packet, domain, momentum: GridAmplitude, model_info: ModelInfo, grids: Grids):
    """Measures one packet along both coordinates."""
    relation = quadrature.relation(packet, domain, panels=grids.panels)
    model_info = model_info.with_parameters(estimator="quadrature")
    estimates = {measure: relation[measure].value for measure in _COMMON_MEASURES}
    if domain.vanishes:
        estimates["covariance"] = relation["covariance"].value
        estimates["sigma_p_conjugate"] = momentum.std()
    else:
        estimates |= {measure: relation[measure].value for measure in _BOX_MEASURES}
        faces = boundary.integrate_faces(packet, domain, panels=grids.panels)
        estimates["boundary_term_faces"] = np.diag(faces)
    rows = [
        model_info.with_parameters(axis=axis).build_row(
            measure, Measurement(float(value), None, relation.n)
        )
        for measure, values in estimates.items()
        for axis, value in zip(AXES, values, strict=True)
    ]
    change = Measurement(relation.diagnostics["resolution"], None, relation.n)
    return [*rows, model_info.build_row("quadrature_resolution", change)]


def _build_exact_value(value: float, field: GridAmplitude) -> Measurement:
    return Measurement(value, None, field.values.size)


def _measure_own_share(network: keras.Model, field: GridAmplitude, label: int) -> Measurement:
    """Returns the share of |psi|^2 where the network predicts `label`."""
    is_own_label = _predict_grid_logits(network, field.coordinates).argmax(-1) == label
    return _build_exact_value(float(field.density[is_own_label].sum()) * field.spacing**2, field)


def measure_networks(
    networks: Mapping[int, keras.Model],
    model_info: ModelInfo,
    *,
    count: int,
    grids: Grids,
    epsilons: Sequence[float] = EPSILONS,
    temperature: float = TEMPERATURE,
) -> list[Row]:
    """Returns all rows of one seed.

    Args:
      networks: By number of epochs, ascending.
      model_info: Description of the rows; its epochs have no effect.
      count: Number of test points.
      grids: Resolution.
      epsilons: Budgets of the attack.
      temperature: Of the control, which divides the logits of the least trained network by it.
    """
    rows = []
    for epochs, network in networks.items():
        network_info = dataclasses.replace(model_info, epochs=epochs)
        rows += measure_accuracies(network, network_info, count, epsilons)
        rows += measure_packets(network, network_info, grids)
    fewest = min(networks)
    network_info = dataclasses.replace(model_info, epochs=fewest)
    return rows + measure_packets(networks[fewest], network_info, grids, temperature)


def average_rows(rows: Iterable[Row]) -> list[Row]:
    """Returns a row per packet and measure: the mean over its rows.

    Their parameters have "over":"labels and axes" instead of a label and an axis.
    """
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        if "label" in row.parameters:
            parameters = {**row.parameters, "over": AVERAGED_OVER}
            for name in ("label", "axis"):
                parameters.pop(name, None)
            mean = dataclasses.replace(row, parameters=parameters, stderr=None)
            groups.setdefault(mean.key(), []).append(mean)
    return [
        dataclasses.replace(group[0], value=float(np.mean([row.value for row in group])))
        for group in groups.values()
    ]


def select_by_seed(
    rows: Iterable[Row], measure: str, epochs: int, epsilon: float | None = None, **parameters: Any
) -> SeedValues:
    """Returns the values of a measure by seed; `parameters` select rows."""
    values_by_seed: dict[int, list[float]] = {}
    for row in rows:
        identity = (row.measure, row.epochs, row.epsilon)
        if identity == (measure, epochs, epsilon) and all(
            row.parameters.get(key) == value for key, value in parameters.items()
        ):
            values_by_seed.setdefault(row.seed, []).append(row.value)
    return {seed: np.array(values) for seed, values in values_by_seed.items()}


def compute_differences(one: SeedValues, other: SeedValues) -> SeedValues:
    """Returns other - one, elementwise for each seed."""
    return {seed: other[seed] - one[seed] for seed in one}


def compute_seed_mean(values: SeedValues) -> tuple[float, float]:
    """Returns the mean over seeds of the mean of each seed, and its standard error.

    The standard error of one seed is NaN.
    """
    seed_means = np.array([seed_values.mean() for seed_values in values.values()])
    if len(seed_means) < 2:
        return float(seed_means.mean()), float("nan")
    return float(seed_means.mean()), float(seed_means.std(ddof=1) / np.sqrt(len(seed_means)))


def list_networks(rows: Iterable[Row]) -> list[tuple[int, float]]:
    """Returns (epochs, temperature) of each network, temperature 1 first."""
    network_keys = {
        (row.parameters["temperature"] != 1, row.epochs, row.parameters["temperature"])
        for row in rows
        if "temperature" in row.parameters
    }
    return [(epochs, temperature) for _, epochs, temperature in sorted(network_keys)]


def format_network_name(epochs: int, temperature: float = 1.0) -> str:
    """Returns a network's name."""
    label = format_count(epochs, "epoch")
    return label if temperature == 1 else f"{label}, T = {temperature:g}"


def compute_panel_arrays(network: keras.Model, domain: str) -> dict[str, np.ndarray]:
    """Returns the arrays of a figure's panel on a domain of `binary_toy.SPANS`.

    "psi", float32 [kinds of `DRAWN_KINDS`, labels, n, n], at the centres of n^2 cells; "places",
    float64 [n], their coordinates; "lead", float32 [n, n], logit of class 1 minus logit of class 0.
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


def compute_logit_gap(network: keras.Model, coordinates: np.ndarray) -> np.ndarray:
    """Returns logit 1 minus logit 0 on a square grid, float32 [n, n]."""
    logits = _predict_grid_logits(network, coordinates)
    return logits[..., 1] - logits[..., 0]


def _predict_grid_logits(network: keras.Model, coordinates: np.ndarray) -> np.ndarray:
    """Returns logits on a square grid, float32 [n, n, 2]."""
    points = np.stack(np.meshgrid(coordinates, coordinates, indexing="ij"), -1)
    logits = compilation.predict(network, points.reshape(-1, 2).astype(np.float32)).numpy()
    return logits.reshape(*points.shape[:2], -1)
