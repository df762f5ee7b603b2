"""The boundary term B by the faces of the box, without any derivative.

B_ij = oint (x_i - mean_i) rho n_j dS, so that with the densities rho_i of
one coordinate at its two faces

    B_ii = (b - mean_i) rho_i(b) + (mean_i - a) rho_i(a),

and along a direction u it is u^T B u, of the faces where lines along u end.
Its agreement with 1 + 2 Cov(x_u, s_u) is a test of samples and gradients.
"""

from collections.abc import Sequence

import numpy as np

from qup.core import errors
from qup.uncertainty import quadrature
from qup.uncertainty import relation as uncertainty_relation
from qup.uncertainty.domains import Box, Domain
from qup.uncertainty.packets import Packet
from qup.uncertainty.relation import Estimate, Relation

# Nodes of the integral along one line.
_PANELS, _ORDER = 4, 5
# Points the packet is given at a time.
_CHUNK_SIZE = 2048


def estimate_by_conditionals(
    packet: Packet, domain: Domain, relation: Relation, names: Sequence[str]
) -> Estimate:
    """Estimates u^T B u from the density along u at each sample.

    A line along u enters the box at a and leaves it at b, through an area
    dS |u.n| of either face, so that with the samples' lines for all lines

        u^T B u = E[((b - mean) l^2(b) - (a - mean) l^2(a)) / int l^2 dt]:

    an average over rho of what needs no sample at the face.

    Args:
      packet: The packet.
      domain: The box that `relation` was estimated on.
      relation: By importance sampling or MCMC.
      names: Of some of its axes.

    Returns:
      [names], with jackknife errors.

    Raises:
      InputError: Another domain, no samples, or an axis that there is not.
    """
    _check_domain(domain)
    if relation.retained_samples is None:
        raise errors.InputError(
            f"The estimator {relation.estimator!r} keeps no samples; see faces.by_quadrature."
        )
    vectors = relation.axes.unit_vectors(packet.size)[_find_axes(relation, names)]
    line_terms = np.stack(
        [_compute_line_terms(packet, domain, relation.retained_samples.points, u) for u in vectors],
        1,
    )
    groups = uncertainty_relation.GroupSums(int(relation.retained_samples.groups.max()) + 1)
    for group, weight, terms in zip(
        relation.retained_samples.groups, relation.retained_samples.weights, line_terms, strict=True
    ):
        groups.add(group, {"weight": weight, "parts": weight * terms})

    def statistics(group_sums: uncertainty_relation.Sums) -> dict[str, np.ndarray]:
        means = group_sums["parts"] / group_sums["weight"][..., None, None]
        mean, end_terms, end_differences = np.moveaxis(means, -1, 0)
        return {"b": end_terms - mean * end_differences}

    return uncertainty_relation.jackknife(groups.as_arrays(), statistics)["b"]


def _find_axes(relation: Relation, names: Sequence[str]) -> list[int]:
    for name in names:
        if name not in relation.axes.names:
            raise errors.InputError(
                f"The relation has no axis {name!r}; it has "
                f"{len(relation.axes)}, such as {relation.axes.names[0]!r}. Give "
                "names of found.axes.names."
            )
    return [relation.axes.names.index(name) for name in names]


def _compute_line_terms(
    packet: Packet, domain: Box, samples: np.ndarray, u: np.ndarray
) -> np.ndarray:
    """Returns what each sample's line along u adds to B.

    Args:
      packet: The packet.
      domain: The box.
      samples: Samples, [m, size].
      u: The direction, [size].

    Returns:
      float64 [m, 3]: the mean of u.x on the line; with the densities at its
      ends b rho(b) - a rho(a), and rho(b) - rho(a).
    """
    samples = samples.astype(float)
    start, length = _compute_chords(domain, samples, u)
    nodes, volumes = quadrature.compute_nodes(0.0, 1.0, _PANELS, _ORDER, ())
    # t u leads from the sample to the nodes, and to a and b.
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
    """Returns where lines x + t u enter the box, and how long they are."""
    low, high = domain.limits(1)[0]
    is_moving = u != 0
    clipped, steps = np.clip(samples[:, is_moving], low, high), u[is_moving]
    crossings = np.stack([(low - clipped) / steps, (high - clipped) / steps])
    start, end = crossings.min(0).max(1), crossings.max(0).min(1)
    # Of a sample on an edge the line may be a point.
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
            f"On the domain {domain.name!r} the packet vanishes at the "
            "boundary, so B is 0: there is nothing to integrate."
        )
