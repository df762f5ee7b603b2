"""What is measured on one network of the binary toy, as rows.

| measure | of |
| --- | --- |
| test_accuracy, robust_accuracy | the network, on points held out |
| sigma_x, sigma_p, uncertainty_product | a packet along a coordinate |
| uncertainty_bound, boundary_term, boundary_term_faces | the same, box |
| quadrature_resolution | see `quadrature.relation` |
| covariance, sigma_p_conjugate | the same, where psi is 0 at the boundary |
| own_share | a packet: share of |psi|^2 where the network says its label |
| overlap_x, overlap_p | the packets of both labels |

`sigma_p_conjugate` is the deviation of |psi~|^2. On the box it does not
exist: psi, continued by 0, jumps at the faces, |psi~|^2 falls as 1 / k^2.
"""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np

from qup import binary_toy, compilation
from qup.binary_toy.conjugates import (
    GridAmplitude,
    compute_conjugate,
    compute_overlap,
    sample_packet,
)
from qup.evaluation import Accuracy
from qup.measurements import Row
from qup.measures import uncertainty
from qup.measures.uncertainty.packets import PACKET_KINDS, Packet
from qup.subjects import ModelInfo

_COMMON_MEASURES = ("sigma_x", "sigma_p", "uncertainty_product")
_BOX_MEASURES = ("uncertainty_bound", "boundary_term")
AXES = ("pixel:0", "pixel:1")


class Grids(NamedTuple):
    """How finely things are computed.

    Attributes:
      panels: Of 8 Gauss-Legendre nodes, a coordinate.
      cells: Of a Fourier transform, a coordinate.
      padding: See `compute_conjugate`.
    """

    panels: int = 24
    cells: int = 405
    padding: int = 3


def build_model_info(epochs: int, seed: int) -> ModelInfo:
    """Returns what all rows of one network have in common."""
    return ModelInfo("arcs", "tanh-32-32", "CL", epochs, seed)


def measure_accuracies(
    network: keras.Model, model_info: ModelInfo, count: int, epsilons: Sequence[float]
) -> list[Row]:
    """Measures TA and RA.

    Args:
      network: The classifier.
      model_info: What it is.
      count: Points held out.
      epsilons: Budgets.
    """
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
    """Measures every packet of both labels on every domain.

    Args:
      network: The classifier.
      model_info: What it is.
      grids: How finely.
      temperature: Logits are divided by it.
    """
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
    relation = uncertainty.quadrature.relation(packet, domain, panels=grids.panels)
    model_info = model_info.with_parameters(estimator="quadrature")
    estimates = {measure: relation[measure].value for measure in _COMMON_MEASURES}
    if domain.vanishes:
        estimates["covariance"] = relation["covariance"].value
        estimates["sigma_p_conjugate"] = momentum.std()
    else:
        estimates |= {measure: relation[measure].value for measure in _BOX_MEASURES}
        faces = uncertainty.faces.integrate_faces(packet, domain, panels=grids.panels)
        estimates["boundary_term_faces"] = np.diag(faces)
    rows = [
        model_info.with_parameters(axis=axis).build_row(
            measure, Accuracy(float(value), None, relation.n)
        )
        for measure, values in estimates.items()
        for axis, value in zip(AXES, values, strict=True)
    ]
    change = Accuracy(relation.diagnostics["resolution"], None, relation.n)
    return [*rows, model_info.build_row("quadrature_resolution", change)]


def _build_exact_value(value: float, field: GridAmplitude) -> Accuracy:
    return Accuracy(value, None, field.values.size)


def _measure_own_share(network: keras.Model, field: GridAmplitude, label: int) -> Accuracy:
    """Returns the share of |psi|^2 where the network says `label`."""
    count = len(field.coordinates)
    points = np.stack(np.meshgrid(field.coordinates, field.coordinates, indexing="ij"), -1)
    logits = compilation.predict(network, points.reshape(-1, 2).astype(np.float32))
    is_own_label = (logits.numpy().argmax(1) == label).reshape(count, count)
    return _build_exact_value(float(field.density[is_own_label].sum()) * field.spacing**2, field)
