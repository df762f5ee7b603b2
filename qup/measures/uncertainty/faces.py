"""The boundary term B by the faces of the box, without any derivative.

B_ij = oint (x_i - mean_i) rho n_j dS, so that with the densities rho_i of
one coordinate at its two faces

    B_ii = (b - mean_i) rho_i(b) + (mean_i - a) rho_i(a),

and along a direction u it is u^T B u, of the faces where lines along u end.
Its agreement with 1 + 2 Cov(x_u, s_u) is a test of samples and gradients.
"""

from collections.abc import Sequence

import numpy as np

from qup import errors
from qup.measures.uncertainty import quadrature, sums
from qup.measures.uncertainty.domains import Box, Domain
from qup.measures.uncertainty.packets import Packet
from qup.measures.uncertainty.relation import Relation
from qup.measures.uncertainty.sums import Estimate

# Nodes of the integral along one line.
_PANELS, _ORDER = 4, 5
# Points the packet is given at a time.
_CHUNK = 2048


def by_conditionals(
    packet: Packet, domain: Domain, found: Relation, names: Sequence[str]
) -> Estimate:
    """Estimates u^T B u from the density along u at each sample.

    A line along u enters the box at a and leaves it at b, through an area
    dS |u.n| of either face, so that with the samples' lines for all lines

        u^T B u = E[((b - mean) l^2(b) - (a - mean) l^2(a)) / int l^2 dt]:

    an average over rho of what needs no sample at the face.

    Args:
      packet: The packet.
      domain: The box that `found` was estimated on.
      found: By importance sampling or MCMC.
      names: Of some of its axes.

    Returns:
      [names], with jackknife errors.

    Raises:
      InputError: Another domain, no samples, or an axis that there is not.
    """
    _check(domain)
    if found.kept is None:
        raise errors.InputError(
            f"The estimator {found.estimator!r} keeps no samples; see "
            "faces.by_quadrature."
        )
    vectors = found.axes.vectors(packet.size)[_places(found, names)]
    parts = np.stack(
        [_parts(packet, domain, found.kept.points, u) for u in vectors], 1
    )
    groups = sums.Groups(int(found.kept.groups.max()) + 1)
    for group, weight, part in zip(
        found.kept.groups, found.kept.weights, parts, strict=True
    ):
        groups.add(group, {"weight": weight, "parts": weight * part})

    def statistics(told: sums.Sums) -> dict[str, np.ndarray]:
        means = told["parts"] / told["weight"][..., None, None]
        mean, ends, slope = np.moveaxis(means, -1, 0)
        return {"b": ends - mean * slope}

    return sums.jackknife(groups.sums(), statistics)["b"]


def _places(found: Relation, names: Sequence[str]) -> list[int]:
    for name in names:
        if name not in found.axes.names:
            raise errors.InputError(
                f"The relation has no axis {name!r}; it has "
                f"{len(found.axes)}, such as {found.axes.names[0]!r}. Give "
                "names of found.axes.names."
            )
    return [found.axes.names.index(name) for name in names]


def _parts(
    packet: Packet, domain: Box, kept: np.ndarray, u: np.ndarray
) -> np.ndarray:
    """Returns what each sample's line along u adds to B.

    Args:
      packet: The packet.
      domain: The box.
      kept: Samples, [m, size].
      u: The direction, [size].

    Returns:
      float64 [m, 3]: the mean of u.x on the line; with the densities at its
      ends b rho(b) - a rho(a), and rho(b) - rho(a).
    """
    kept = kept.astype(float)
    start, length = _chords(domain, kept, u)
    nodes, volumes = quadrature.nodes(0.0, 1.0, _PANELS, _ORDER, ())
    # t u leads from the sample to the nodes, and to a and b.
    t = start[:, None] + length[:, None] * np.append(nodes, [0.0, 1.0])
    points = (kept[:, None] + t[..., None] * u).reshape(-1, len(u))
    values = np.concatenate([
        packet.values(points[first : first + _CHUNK])
        for first in range(0, len(points), _CHUNK)
    ]).reshape(t.shape)  # fmt: skip
    heights = np.exp(2 * (values - values.max(1, keepdims=True)))
    along = (kept @ u)[:, None] + t
    beta = heights[:, :-2] @ volumes
    mean = (heights * along)[:, :-2] @ volumes / beta
    low, high = (heights[:, -2:] / (length * beta)[:, None]).T
    low_x, high_x = along[:, -2:].T
    return np.column_stack([mean, high_x * high - low_x * low, high - low])


def _chords(
    domain: Box, kept: np.ndarray, u: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns where lines x + t u enter the box, and how long they are."""
    low, high = domain.limits(1)[0]
    moving = u != 0
    inside, steps = np.clip(kept[:, moving], low, high), u[moving]
    ways = np.stack([(low - inside) / steps, (high - inside) / steps])
    start, end = ways.min(0).max(1), ways.max(0).min(1)
    # Of a sample on an edge the line may be a point.
    return start, np.maximum(end - start, 1e-9)


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
