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
from qup.binary_toy.conjugates import Field, conjugate, overlap, sampled
from qup.evaluation import Accuracy
from qup.measurements import Row
from qup.measures import uncertainty
from qup.measures.uncertainty.packets import KINDS, Packet
from qup.subjects import Subject

_ALWAYS = ("sigma_x", "sigma_p", "uncertainty_product")
_BOX = ("uncertainty_bound", "boundary_term")
AXES = ("pixel:0", "pixel:1")


class Grids(NamedTuple):
    """How finely things are computed.

    Attributes:
      panels: Of 8 Gauss-Legendre nodes, a coordinate.
      cells: Of a Fourier transform, a coordinate.
      padding: See `conjugate`.
    """

    panels: int = 24
    cells: int = 405
    padding: int = 3


def subject(epochs: int, seed: int) -> Subject:
    """Returns what all rows of one network have in common."""
    return Subject("arcs", "tanh-32-32", "CL", epochs, seed)


def of_accuracies(
    network: keras.Model, of: Subject, count: int, epsilons: Sequence[float]
) -> list[Row]:
    """Measures TA and RA.

    Args:
      network: The classifier.
      of: What it is.
      count: Points held out.
      epsilons: Budgets.
    """
    points, labels = binary_toy.held_out(of.seed, count)
    clean, robust = binary_toy.accuracies(
        network, points, labels, epsilons=epsilons, seed=of.seed
    )
    of = of.such(split="test")
    rows = [of.row("test_accuracy", clean)]
    for epsilon, accuracy in robust.items():
        told = {"name": "pgd", "epsilon": epsilon, "step_size": epsilon / 10}
        told |= binary_toy.ATTACK
        rows.append(of.row("robust_accuracy", accuracy, told))
    return rows


def of_packets(
    network: keras.Model, of: Subject, grids: Grids, temperature: float = 1.0
) -> list[Row]:
    """Measures every packet of both labels on every domain.

    Args:
      network: The classifier.
      of: What it is.
      grids: How finely.
      temperature: Logits are divided by it.
    """
    rows = []
    for kind in KINDS:
        packets = [
            uncertainty.of_classifier(
                network, label, shape=(2,), kind=kind,
                temperature=temperature, num_classes=2,
            )
            for label in (0, 1)
        ]  # fmt: skip
        for name in binary_toy.SPANS:
            such = of.such(packet=kind, domain=name, temperature=temperature)
            rows += _of_pair(network, packets, such, name, grids)
    return rows


def _of_pair(
    network: keras.Model,
    packets: list[Packet],
    of: Subject,
    name: str,
    grids: Grids,
) -> list[Row]:
    """Measures the packets of both labels on one domain."""
    fields, momenta, rows = [], [], []
    for label, packet in enumerate(packets):
        domain = binary_toy.domain(name, label)
        low, high = binary_toy.SPANS[name]
        field = sampled(packet, domain, low, high, grids.cells)
        momentum = conjugate(field, grids.padding)
        fields.append(field)
        momenta.append(momentum)
        own = of.such(label=label)
        rows += _of_relation(packet, domain, momentum, own, grids)
        rows.append(own.row("own_share", _share(network, field, label)))
    for measure, pair in (("overlap_x", fields), ("overlap_p", momenta)):
        rows.append(of.row(measure, _exact(overlap(*pair), pair[0])))
    return rows


def _of_relation(packet, domain, momentum: Field, of: Subject, grids: Grids):
    """Measures one packet along both coordinates."""
    found = uncertainty.quadrature.relation(packet, domain, panels=grids.panels)
    of = of.such(estimator="quadrature")
    measured = {measure: found[measure].value for measure in _ALWAYS}
    if domain.vanishes:
        measured["covariance"] = found["covariance"].value
        measured["sigma_p_conjugate"] = momentum.spread()
    else:
        measured |= {measure: found[measure].value for measure in _BOX}
        faces = uncertainty.faces.by_quadrature(
            packet, domain, panels=grids.panels
        )
        measured["boundary_term_faces"] = np.diag(faces)
    rows = [
        of.such(axis=axis).row(measure, Accuracy(float(value), None, found.n))
        for measure, values in measured.items()
        for axis, value in zip(AXES, values, strict=True)
    ]
    change = Accuracy(found.diagnostics["resolution"], None, found.n)
    return [*rows, of.row("quadrature_resolution", change)]


def _exact(value: float, field: Field) -> Accuracy:
    return Accuracy(value, None, field.values.size)


def _share(network: keras.Model, field: Field, label: int) -> Accuracy:
    """Returns the share of |psi|^2 where the network says `label`."""
    count = len(field.places)
    points = np.stack(np.meshgrid(field.places, field.places,
                                  indexing="ij"), -1)  # fmt: skip
    logits = compilation.predict(
        network, points.reshape(-1, 2).astype(np.float32)
    )
    own = (logits.numpy().argmax(1) == label).reshape(count, count)
    return _exact(float(field.density[own].sum()) * field.spacing**2, field)
