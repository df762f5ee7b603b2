"""The relation by importance sampling: points of q ~ w^2, weights l^2.

```python
found = relation(packet, GaussianWindow(centre, 0.1), num_samples=20_000)
found["uncertainty_product"]  # an Estimate with a jackknife error
```
"""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from qup import draws, errors, gradients
from qup.measures.uncertainty import axes as lines
from qup.measures.uncertainty import domains, mixing, sums
from qup.measures.uncertainty.axes import Axes
from qup.measures.uncertainty.domains import Domain
from qup.measures.uncertainty.packets import Packet
from qup.measures.uncertainty.relation import Kept, Relation, estimated

# Below this many effective samples no error bar is to be believed.
LEAST_SAMPLES = 500
# Points kept for the faces, all groups together.
_KEPT = 320


def relation(
    packet: Packet,
    domain: Domain,
    *,
    axes: Axes | None = None,
    num_samples: int = 20_000,
    batch_size: int = 500,
    num_groups: int = 40,
    seed: int = 0,
    least: float = LEAST_SAMPLES,
    tick: Callable[[int], None] | None = None,
) -> Relation:
    """Draws points from the window and weighs them by l^2.

    Args:
      packet: Of any number of coordinates.
      domain: Where it lives.
      axes: None for every coordinate.
      num_samples: Points; rounded up to whole batches in whole groups.
      batch_size: Points the packet is given at a time.
      num_groups: Of points, each left out once by the jackknife.
      seed: Drives every point.
      least: Effective samples below which the result is refused.
      tick: Called with the number of points after every batch.

    Returns:
      The relation; its diagnostics hold "share", effective over all samples.

    Raises:
      TooFewError: Too few effective samples.
      InputError: A packet that is 0 or not finite.
    """
    axes = axes or lines.axes(packet.size)
    errors.check_number("num_samples", num_samples, least=1)
    errors.check_number("batch_size", batch_size, least=1)
    errors.check_number("num_groups", num_groups, least=2)
    kind, whole = type(domain), axes.whole
    run = packet.program(
        ("importance", kind, whole),
        lambda call: _build(call, kind, packet, whole),
    )
    given = (
        packet.parameters,
        domains.tensors(domain, packet.dtype),
        axes.tensors(packet.dtype),
        tf.constant(seed, tf.int64),
    )
    each = math.ceil(num_samples / (batch_size * num_groups))
    count = each * num_groups * batch_size
    told, kept = _drawn(run, given, (num_groups, each, batch_size), tick)
    effective = sums.effective_sample_size(told)
    _check_size(effective, count, least)
    reference = axes.of_point(domain.reference(packet.size))
    estimates = estimated(told, domain.vanishes, reference)
    return Relation(
        axes=axes, estimates=estimates,
        estimator="importance", domain=domain.name, vanishes=domain.vanishes,
        n=count, gradient_calls=count + batch_size,
        effective_sample_size=effective, groups=told, kept=kept,
        by_axis={"effective_sample_size": mixing.effective(estimates)},
        diagnostics={"share": effective / count},
    )  # fmt: skip


def _drawn(
    run: Callable,
    given: tuple,
    sizes: tuple[int, int, int],
    tick: Callable[[int], None] | None,
) -> tuple[sums.Sums, Kept]:
    """Draws every batch of every group."""
    num_groups, each, batch_size = sizes
    groups, kept, shift = sums.Groups(num_groups), [], None
    for batch in range(num_groups * each):
        ids = tf.range(batch_size, dtype=tf.int64) + batch * batch_size
        if shift is None:
            shift = _first(run, ids, given)
        found, health, *sample = run(ids, *given, shift)
        _check(health.numpy())
        groups.add(batch // each, found)
        if batch % each == 0:
            kept.append([part[: -(-_KEPT // num_groups)] for part in sample])
        if tick is not None:
            tick(batch_size)
    return groups.sums(), _kept(kept)


def _build(
    log_amplitude: Callable, kind: type, packet: Packet, whole: bool
) -> Callable:
    size, dtype = packet.size, packet.dtype

    @tf.function(autograph=False)
    def run(ids, parameters, fields, along, seed, shift):
        domain = kind(*fields)
        project = lines.projection(*along, whole)
        points = domain.sample(draws.keys(seed, ids), size, dtype)
        values, slopes = gradients.input_gradient(
            lambda x: log_amplitude(x, parameters), points
        )
        values = tf.cast(values, tf.float64)
        weights = tf.exp(2 * (values - shift))
        # A point where l is 0 weighs 0, whatever its slope.
        alive = weights[:, None] > 0
        finite = tf.math.is_finite(slopes) | ~alive
        slopes = tf.where(alive, slopes, tf.zeros_like(slopes))
        away = points - tf.cast(domain.reference(size), dtype)
        columns = sums.columns(
            project(away),
            project(slopes),
            project(domain.slope(points)),
            domain.curvature(points, project),
        )
        found = sums.of_batch(weights, columns, along[1].shape[0])
        health = [
            tf.reduce_max(values),
            tf.reduce_sum(tf.cast(tf.math.is_finite(weights), tf.float64)),
            tf.reduce_sum(tf.cast(tf.reduce_all(finite, 1), tf.float64)),
            tf.cast(tf.shape(ids)[0], tf.float64),
        ]
        return found, tf.stack(health), points, weights

    return run


def _kept(samples: list) -> Kept:
    points, weights = (
        np.concatenate([part.numpy() for part in column])
        for column in zip(*samples, strict=True)
    )
    each = len(points) // len(samples)
    return Kept(points, weights, np.repeat(np.arange(len(samples)), each))


def _first(run: Callable, ids: tf.Tensor, given: tuple) -> tf.Tensor:
    """Returns the largest ln l of the first batch."""
    _, health, *_ = run(ids, *given, tf.constant(0.0, tf.float64))
    top = float(health[0])
    if np.isneginf(top):
        raise errors.InputError(
            "The packet is zero at every point that was looked at, so it has "
            "no normalised form. Choose another label, centre or packet."
        )
    return tf.constant(top if np.isfinite(top) else 0.0, tf.float64)


def _check(health: np.ndarray) -> None:
    _, weights, slopes, count = health
    bad = int(max(count - weights, count - slopes))
    if bad:
        raise errors.InputError(
            f"The packet or its gradient is not finite at {bad} of "
            f"{int(count)} points. Look at the network's layers and weights."
        )


def _check_size(effective: float, count: int, least: float) -> None:
    if effective < least:
        raise mixing.TooFewError(
            f"{count} samples weigh as much as {effective:.0f} equal ones, "
            f"fewer than the {least:.0f} an error bar needs. Take more "
            f"samples (num_samples of about "
            f"{_more(effective, count, least)}), a narrower window, or MCMC.",
            size=effective, count=count,
        )  # fmt: skip


def _more(effective: float, count: int, least: float) -> str:
    if effective <= 0:
        return "no number would do"
    return f"{int(np.ceil(1.3 * count * least / effective)):,}"
