"""The boundary term B by the faces of the box, without any derivative.

B_ij = oint (x_i - mean_i) rho n_j dS, so that with the densities rho_i of
one coordinate at its two faces

    B_ii = (b - mean_i) rho_i(b) + (mean_i - a) rho_i(a).

Its agreement with 1 + 2 Cov(x_i, s_i) is a test of samples and gradients.
"""

from collections.abc import Sequence

import numpy as np

from qup import errors
from qup.measures.uncertainty import quadrature, sums
from qup.measures.uncertainty.domains import Box, Domain
from qup.measures.uncertainty.packets import Packet
from qup.measures.uncertainty.relation import Relation
from qup.measures.uncertainty.sums import Estimate

# Nodes of the integral along one coordinate.
_PANELS, _ORDER = 4, 5
# Points the packet is given at a time.
_CHUNK = 2048


def by_conditionals(
    packet: Packet, domain: Domain, found: Relation, coordinates: Sequence[int]
) -> Estimate:
    """Estimates B_ii from the density along one coordinate at each sample.

    rho_i(b) = E[l^2(b, x_rest) / int l^2(t, x_rest) dt], an average over rho
    of what needs no sample at the face.

    Args:
      packet: The packet.
      domain: The box that `found` was estimated on.
      found: By importance sampling or MCMC.
      coordinates: i, integers of the flattened input.

    Returns:
      [coordinates], with jackknife errors.

    Raises:
      InputError: Another domain, or no samples.
    """
    _check(domain)
    if found.kept is None:
        raise errors.InputError(
            f"The estimator {found.estimator!r} keeps no samples; see "
            "faces.by_quadrature."
        )
    parts = np.stack(
        [_parts(packet, domain, found.kept.points, i) for i in coordinates], 1
    )
    groups = sums.Groups(int(found.kept.groups.max()) + 1)
    for group, weight, part in zip(
        found.kept.groups, found.kept.weights, parts, strict=True
    ):
        groups.add(group, {"weight": weight, "parts": weight * part})
    low, high = domain.limits(1)[0]

    def statistics(told: sums.Sums) -> dict[str, np.ndarray]:
        means = told["parts"] / told["weight"][..., None, None]
        mean, lower, upper = np.moveaxis(means, -1, 0)
        # (b - mean) rho_i(b) + (mean - a) rho_i(a)
        return {"b": (high - mean) * upper + (mean - low) * lower}

    return sums.jackknife(groups.sums(), statistics)["b"]


def _parts(packet: Packet, domain: Box, kept: np.ndarray, i: int) -> np.ndarray:
    """Returns of each sample's line along i its mean and its two ends.

    Args:
      packet: The packet.
      domain: The box.
      kept: Samples, [m, size].
      i: The coordinate.

    Returns:
      float64 [m, 3]: the mean of x_i, and the densities at a and at b.
    """
    low, high = domain.limits(1)[0]
    nodes, volumes = quadrature.nodes(low, high, _PANELS, _ORDER, ())
    places = np.concatenate([nodes, [low, high]])
    points = np.repeat(kept, len(places), 0)
    points[:, i] = np.tile(places, len(kept))
    values = np.concatenate([
        packet.values(points[start : start + _CHUNK])
        for start in range(0, len(points), _CHUNK)
    ]).reshape(-1, len(places))  # fmt: skip
    heights = np.exp(2 * (values - values.max(1, keepdims=True)))
    inside, ends = heights[:, :-2], heights[:, -2:]
    beta = inside @ volumes
    mean = inside @ (volumes * nodes)
    return np.column_stack([mean, ends]) / beta[:, None]


def by_quadrature(
    packet: Packet, domain: Domain, *, panels: int = 64, order: int = 8
) -> np.ndarray:
    """Integrates B_ij over the faces of a line or a square.

    Returns:
      float64 [size, size].

    Raises:
      InputError: Another domain, or more than two coordinates.
    """
    _check(domain)
    points, volumes = quadrature.grid(packet, domain, panels, order)
    values = packet.values(points)
    top = values.max()
    weights = np.exp(2 * (values - top)) * volumes
    beta, size = weights.sum(), packet.size
    mean = weights @ points / beta
    found = np.zeros((size, size))
    low, high = domain.limits(1)[0]
    for j in range(size):
        for place, sign in ((low, -1.0), (high, 1.0)):
            face, areas = _face(packet, domain, j, place, panels, order)
            dense = np.exp(2 * (packet.values(face) - top)) * areas / beta
            # oint (x_i - mean_i) rho n_j dS
            found[:, j] += sign * (dense @ (face - mean))
    return found


def _face(
    packet: Packet, domain: Domain, j: int, place: float, panels, order
) -> tuple[np.ndarray, np.ndarray]:
    if packet.size == 1:
        return np.array([[place]]), np.ones(1)
    low, high = domain.limits(1)[0]
    along, areas = quadrature.nodes(low, high, panels, order, ())
    face = np.full((len(along), 2), place)
    face[:, 1 - j] = along
    return face, areas


def _check(domain: Domain) -> None:
    if domain.vanishes:
        raise errors.InputError(
            f"On the domain {domain.name!r} the packet vanishes at the "
            "boundary, so B is 0: there is nothing to integrate."
        )
