"""The relation by composite Gauss-Legendre quadrature, on a line or a plane.

```python
result = relation(packet, Box(), panels=64)
result["uncertainty_product"].value  # float64 [axes]
```
"""

import itertools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from qup.core import errors
from qup.uncertainty.axes import Axes, build_axes, build_projection
from qup.uncertainty.domains import Domain
from qup.uncertainty.packets import Packet, check_finite
from qup.uncertainty.relation import Relation, compute_columns, estimate_measures, sum_batch

# Points per call of the packet.
_CHUNK_SIZE = 8192


def compute_nodes(
    low: float, high: float, panels: int, order: int, breaks: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns nodes and weights of `order` per panel on [low, high], split at `breaks`."""
    edges = np.linspace(low, high, panels + 1)
    inner_breaks = [b for b in breaks if low < b < high]
    edges = np.unique(np.concatenate([edges, inner_breaks]))
    unit_nodes, weights = np.polynomial.legendre.leggauss(order)
    half_widths, edge_sums = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None]
    return (edge_sums / 2 + half_widths * unit_nodes).ravel(), (half_widths * weights).ravel()


def relation(
    packet: Packet,
    domain: Domain,
    *,
    axes: Axes | None = None,
    panels: int = 64,
    order: int = 8,
    breaks: Sequence[Sequence[float]] = (),
) -> Relation:
    """Integrates over one or two coordinates.

    Args:
      packet: Of one or two coordinates; see `packets.on_slice`.
      domain: Its domain.
      axes: None for the coordinates.
      panels: Panels per coordinate.
      order: Nodes per panel.
      breaks: For each coordinate, the positions of the packet's kinks.

    Returns:
      The relation, with the diagnostic "resolution": the largest change of a product or a
      covariance with half as many panels.

    Raises:
      InputError: Another number of coordinates; a packet that is zero everywhere, or not finite.
    """
    if packet.size not in (1, 2):
        raise errors.InputError(
            f"Quadrature is for one or two coordinates; got {packet.size}. "
            "Use a slice of the packet, or importance sampling."
        )
    axes = axes or build_axes(packet.size)
    (groups, count), (coarse_groups, coarse_count) = (
        _integrate(packet, domain, axes, num_panels, order, breaks)
        for num_panels in (panels, max(1, panels // 2))
    )
    reference = axes.build_unit_vectors(packet.size) @ domain.reference_point(packet.size).numpy()
    estimates = estimate_measures(groups, domain.vanishes, reference)
    coarse_estimates = estimate_measures(coarse_groups, domain.vanishes, reference)
    changes = [
        np.nanmax(np.abs(estimates[measure].value - coarse_estimates[measure].value), initial=0.0)
        for measure in ("uncertainty_product", "covariance")
    ]
    return Relation(
        axes=axes,
        estimates=estimates,
        estimator="quadrature",
        domain=domain.name,
        vanishes=domain.vanishes,
        n=count,
        gradient_calls=count + coarse_count,
        effective_sample_size=None,
        groups=groups,
        diagnostics={"resolution": float(max(changes))},
    )


def build_grid(
    packet: Packet, domain: Domain, panels: int, order: int, breaks=()
) -> tuple[np.ndarray, np.ndarray]:
    """Returns points [n, size] and the weights of their volumes [n]."""
    limits = domain.limits(packet.size)
    breaks = breaks or [()] * packet.size
    nodes_by_axis = [
        compute_nodes(*limit, panels, order, axis_breaks)
        for limit, axis_breaks in zip(limits, breaks, strict=True)
    ]
    points = np.array(list(itertools.product(*(nodes for nodes, _ in nodes_by_axis))))
    weights = np.array(
        list(itertools.product(*(node_weights for _, node_weights in nodes_by_axis)))
    )
    return points, weights.prod(1)


def _integrate(
    packet: Packet, domain: Domain, axes: Axes, panels, order, breaks
) -> tuple[dict[str, np.ndarray], int]:
    """Returns the sums, as those of one group, and the number of nodes."""
    points, volumes = build_grid(packet, domain, panels, order, breaks)
    chunks = [
        packet.value_and_gradient(points[start : start + _CHUNK_SIZE])
        for start in range(0, len(points), _CHUNK_SIZE)
    ]
    values = np.concatenate([chunk[0] for chunk in chunks])
    gradients = np.concatenate([chunk[1] for chunk in chunks])
    values = values + domain.log_window(tf.constant(points)).numpy()
    check_finite(values, gradients)
    # A point where l is 0 has the weight 0, whatever its gradient.
    gradients = np.where(np.isneginf(values)[:, None], 0.0, gradients)
    # l^2 w^2, with 1 as the largest
    weights = np.exp(2 * (values - values.max())) * volumes
    project = build_projection(*axes.to_tensors(tf.float64))
    x = tf.constant(points)
    columns = compute_columns(
        project(x - domain.reference_point(packet.size)),
        project(tf.constant(gradients)),
        project(domain.window_gradient(x)),
        domain.window_curvature(x, project),
    )
    totals = sum_batch(tf.constant(weights), columns, len(axes.directions) or len(axes))
    return {name: total.numpy()[None] for name, total in totals.items()}, len(points)
