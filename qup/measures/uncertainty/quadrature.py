"""The relation by composite Gauss-Legendre quadrature, on a line or a plane.

```python
found = relation(packet, Box(), panels=64)
found["uncertainty_product"].value  # float64 [axes]
```
"""

import itertools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from qup import errors
from qup.measures.uncertainty import axes as lines
from qup.measures.uncertainty import packets, sums
from qup.measures.uncertainty.axes import Axes
from qup.measures.uncertainty.domains import Domain
from qup.measures.uncertainty.packets import Packet
from qup.measures.uncertainty.relation import Relation, estimated

# Points the packet is given at a time.
_CHUNK = 8192


def nodes(
    low: float, high: float, panels: int, order: int, breaks: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns abscissae and weights on [low, high], split at `breaks`."""
    cuts = np.linspace(low, high, panels + 1)
    inside = [b for b in breaks if low < b < high]
    cuts = np.unique(np.concatenate([cuts, inside]))
    unit, weights = np.polynomial.legendre.leggauss(order)
    half, middle = np.diff(cuts)[:, None] / 2, (cuts[1:] + cuts[:-1])[:, None]
    return (middle / 2 + half * unit).ravel(), (half * weights).ravel()


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
      packet: Of one or two coordinates; see `slices.on_slice`.
      domain: Where it lives.
      axes: None for the coordinates.
      panels: Of each coordinate.
      order: Nodes a panel.
      breaks: For each coordinate, where the packet has a kink.

    Returns:
      The relation; its diagnostics hold "resolution", the largest change of
      a product when every second panel is left out, and for a box
      "boundary_term_faces" as an estimate.

    Raises:
      InputError: Another number of coordinates; a packet that is zero
        everywhere, or not finite.
    """
    if packet.size not in (1, 2):
        raise errors.InputError(
            f"Quadrature is for one or two coordinates; got {packet.size}. "
            "Take a slice of the packet, or estimate by importance sampling."
        )
    axes = axes or lines.axes(packet.size)
    fine, coarse = (
        _integrated(packet, domain, axes, count, order, breaks)
        for count in (panels, max(1, panels // 2))
    )
    reference = (
        axes.vectors(packet.size) @ domain.reference(packet.size).numpy()
    )
    groups = {name: np.asarray(value)[None] for name, value in fine[0].items()}
    found = estimated(groups, domain.vanishes, reference)
    rough = {name: np.asarray(value)[None] for name, value in coarse[0].items()}
    again = estimated(rough, domain.vanishes, reference)
    change = [
        np.nanmax(np.abs(found[m].value - again[m].value), initial=0.0)
        for m in ("uncertainty_product", "covariance")
    ]
    return Relation(
        axes=axes, estimates=found, estimator="quadrature",
        domain=domain.name, vanishes=domain.vanishes, n=fine[1],
        gradient_calls=fine[1] + coarse[1], effective_sample_size=None,
        groups=groups, diagnostics={"resolution": float(max(change))},
    )  # fmt: skip


def grid(
    packet: Packet, domain: Domain, panels: int, order: int, breaks=()
) -> tuple[np.ndarray, np.ndarray]:
    """Returns points [n, size] and the weights of their volumes [n]."""
    limits = domain.limits(packet.size)
    breaks = breaks or [()] * packet.size
    each = [
        nodes(*limit, panels, order, splits)
        for limit, splits in zip(limits, breaks, strict=True)
    ]
    points = np.array(list(itertools.product(*(x for x, _ in each))))
    weights = np.array(list(itertools.product(*(w for _, w in each))))
    return points, weights.prod(1)


def _integrated(
    packet: Packet, domain: Domain, axes: Axes, panels, order, breaks
) -> tuple[dict[str, np.ndarray], int]:
    points, volumes = grid(packet, domain, panels, order, breaks)
    parts = [
        packet.slopes(points[start : start + _CHUNK])
        for start in range(0, len(points), _CHUNK)
    ]
    values = np.concatenate([part[0] for part in parts])
    slopes = np.concatenate([part[1] for part in parts])
    values = values + domain.log_window(tf.constant(points)).numpy()
    packets.check(values, slopes)
    # A point where l is 0 weighs 0, whatever its slope.
    slopes = np.where(np.isneginf(values)[:, None], 0.0, slopes)
    # l^2 w^2, with 1 as the largest
    weights = np.exp(2 * (values - values.max())) * volumes
    project = lines.projection(*axes.tensors(tf.float64))
    x = tf.constant(points)
    columns = sums.columns(
        project(x - domain.reference(packet.size)),
        project(tf.constant(slopes)),
        project(domain.slope(x)),
        domain.curvature(x, project),
    )
    found = sums.of_batch(
        tf.constant(weights), columns, len(axes.directions) or len(axes)
    )
    return {name: part.numpy() for name, part in found.items()}, len(points)
