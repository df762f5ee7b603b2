"""The boundary term B from the faces of the box, without gradients.

B_ij is the integral of (x_i - mean_i) rho n_j over the faces, with their outward normal n. So with
the densities rho_i of one coordinate at its two faces a and b

    B_ii = (b - mean_i) rho_i(b) + (mean_i - a) rho_i(a),

and along a direction u it is u^T B u. Its agreement with 1 + 2 Cov(x_u, s_u) is a test of samples
and gradients.
"""

from collections.abc import Sequence

import numpy as np

from qup.core import errors
from qup.uncertainty import quadrature
from qup.uncertainty.domains import Box, Domain
from qup.uncertainty.packets import Packet
from qup.uncertainty.relation import Estimate, GroupSums, Relation, Sums, jackknife

# Of the integral along one line.
_PANELS, _ORDER = 4, 5
# Points per call of the packet.
_CHUNK_SIZE = 2048


def estimate_by_conditionals(
    packet: Packet, domain: Domain, relation: Relation, names: Sequence[str]
) -> Estimate:
    """Estimates u^T B u from the density along u at each sample.

    A line along u enters the box at a and leaves it at b, through an area dS |u.n| of either
    face. So over the lines through samples

        u^T B u = E[((b - mean) l^2(b) - (a - mean) l^2(a)) / int l^2 dt],

    which needs no sample at a face.

    Args:
      packet: The packet.
      domain: The box of `relation`.
      relation: By importance sampling or MCMC.
      names: Names of some of its axes.

    Returns:
      [names], with jackknife errors.

    Raises:
      InputError: Another domain, no samples, or an unknown axis.
    """
    _check_domain(domain)
    if relation.retained_samples is None:
        raise errors.InputError(
            f"The estimator {relation.estimator!r} retains no samples. Use "
            "boundary.integrate_faces, importance sampling or MCMC."
        )
    samples = relation.retained_samples
    vectors = relation.axes.build_unit_vectors(packet.size)[_find_axes(relation, names)]
    line_terms = np.stack(
        [_compute_line_terms(packet, domain, samples.points, u) for u in vectors], 1
    )
    groups = GroupSums(int(samples.groups.max()) + 1)
    for group, weight, terms in zip(samples.groups, samples.weights, line_terms, strict=True):
        groups.add(group, {"weight": weight, "terms": weight * terms})

    def statistics(group_sums: Sums) -> dict[str, np.ndarray]:
        means = group_sums["terms"] / group_sums["weight"][..., None, None]
        mean, end_terms, end_differences = np.moveaxis(means, -1, 0)
        return {"b": end_terms - mean * end_differences}

    return jackknife(groups.arrays, statistics)["b"]


def _find_axes(relation: Relation, names: Sequence[str]) -> list[int]:
    for name in names:
        if name not in relation.axes.names:
            raise errors.InputError(
                f"The relation has no axis {name!r}; it has {len(relation.axes)} axes, such as "
                f"{relation.axes.names[0]!r}. Give names of relation.axes.names."
            )
    return [relation.axes.names.index(name) for name in names]


def _compute_line_terms(
    packet: Packet, domain: Box, samples: np.ndarray, u: np.ndarray
) -> np.ndarray:
    """Returns the terms of B on each sample's line along u.

    Args:
      packet: The packet.
      domain: The box.
      samples: [m, size].
      u: Unit vector, [size].

    Returns:
      float64 [m, 3]: the mean of u.x on the line; from the densities at its ends
      b rho(b) - a rho(a), and rho(b) - rho(a).
    """
    samples = samples.astype(float)
    start, length = _compute_chords(domain, samples, u)
    nodes, volumes = quadrature.compute_nodes(0.0, 1.0, _PANELS, _ORDER, ())
    # sample + t u are the nodes, then a and b.
    t = start[:, None] + length[:, None] * np.append(nodes, [0.0, 1.0])
    points = (samples[:, None] + t[..., None] * u).reshape(-1, len(u))
    values = np.concatenate(
        [
            packet.compute_values(points[first : first + _CHUNK_SIZE])
            for first in range(0, len(points), _CHUNK_SIZE)
        ]
    ).reshape(t.shape)
    densities = np.exp(2 * (values - values.max(1, keepdims=True)))
    along = (samples @ u)[:, None] + t
    beta = densities[:, :-2] @ volumes
    mean = (densities * along)[:, :-2] @ volumes / beta
    low, high = (densities[:, -2:] / (length * beta)[:, None]).T
    low_x, high_x = along[:, -2:].T
    return np.column_stack([mean, high_x * high - low_x * low, high - low])


def _compute_chords(
    domain: Box, samples: np.ndarray, u: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns t where the lines x + t u enter the box, and their lengths in it."""
    low, high = domain.limits(1)[0]
    is_moving = u != 0
    clipped, steps = np.clip(samples[:, is_moving], low, high), u[is_moving]
    crossings = np.stack([(low - clipped) / steps, (high - clipped) / steps])
    start, end = crossings.min(0).max(1), crossings.max(0).min(1)
    # The line of a sample on an edge may be a point.
    return start, np.maximum(end - start, 1e-9)


def integrate_faces(
    packet: Packet, domain: Domain, *, panels: int = 64, order: int = 8
) -> np.ndarray:
    """Integrates B_ij over the faces of a line or a square.

    Returns:
      float64 [size, size].

    Raises:
      InputError: Another domain, or more than two coordinates.
    """
    _check_domain(domain)
    points, volumes = quadrature.build_grid(packet, domain, panels, order)
    values = packet.compute_values(points)
    largest = values.max()
    weights = np.exp(2 * (values - largest)) * volumes
    beta, size = weights.sum(), packet.size
    mean = weights @ points / beta
    boundary = np.zeros((size, size))
    low, high = domain.limits(1)[0]
    for j in range(size):
        for face_position, sign in ((low, -1.0), (high, 1.0)):
            face, areas = _build_face(packet, domain, j, face_position, panels, order)
            densities = np.exp(2 * (packet.compute_values(face) - largest)) * areas / beta
            # oint (x_i - mean_i) rho n_j dS
            boundary[:, j] += sign * (densities @ (face - mean))
    return boundary


def _build_face(
    packet: Packet, domain: Domain, j: int, face_position: float, panels, order
) -> tuple[np.ndarray, np.ndarray]:
    if packet.size == 1:
        return np.array([[face_position]]), np.ones(1)
    low, high = domain.limits(1)[0]
    nodes, areas = quadrature.compute_nodes(low, high, panels, order, ())
    face = np.full((len(nodes), 2), face_position)
    face[:, 1 - j] = nodes
    return face, areas


def _check_domain(domain: Domain) -> None:
    if domain.vanishes:
        raise errors.InputError(
            f"On the domain {domain.name!r} the packet vanishes at the boundary, so B is 0 and "
            "there is nothing to integrate. Use the box."
        )
