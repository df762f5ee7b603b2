"""The relation by importance sampling: points of q ~ w^2, weights l^2.

```python
result = relation(packet, GaussianWindow(centre, 0.1), num_samples=20_000)
result["uncertainty_product"]  # an Estimate with a jackknife error
```
"""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from qup.core import errors, gradients, prng
from qup.uncertainty import domains, mixing
from qup.uncertainty.axes import Axes, build_axes, build_projection
from qup.uncertainty.domains import Domain
from qup.uncertainty.packets import Packet, check_finite
from qup.uncertainty.relation import (
    GroupSums,
    Relation,
    SampleSubset,
    Sums,
    compute_columns,
    compute_effective_size,
    estimate_measures,
    sum_batch,
)

# With fewer effective samples the errors are not reliable.
MIN_EFFECTIVE_SAMPLES = 500
# Points retained for the faces, over all groups.
_NUM_RETAINED = 320


def relation(
    packet: Packet,
    domain: Domain,
    *,
    axes: Axes | None = None,
    num_samples: int = 20_000,
    batch_size: int = 500,
    num_groups: int = 40,
    seed: int = 0,
    min_effective_samples: float = MIN_EFFECTIVE_SAMPLES,
    on_progress: Callable[[int], None] | None = None,
) -> Relation:
    """Samples points from the window and weights them by l^2.

    Args:
      packet: Of any number of coordinates.
      domain: Its domain.
      axes: None for every coordinate.
      num_samples: Number of points; rounded up to whole batches in whole groups.
      batch_size: Points per call of the packet.
      num_groups: Groups of points for the jackknife.
      seed: Of the points.
      min_effective_samples: Fewer effective samples are an error.
      on_progress: Called with the number of points after every batch.

    Returns:
      The relation, with the diagnostic "share": effective samples / samples.

    Raises:
      TooFewError: Too few effective samples.
      InputError: The packet is 0 or not finite.
    """
    axes = axes or build_axes(packet.size)
    errors.check_number("num_samples", num_samples, at_least=1)
    errors.check_number("batch_size", batch_size, at_least=1)
    errors.check_number("num_groups", num_groups, at_least=2)
    kind, covers_all_pixels = type(domain), axes.covers_all_pixels
    program = packet.compile_program(
        ("importance", kind, covers_all_pixels),
        lambda log_amplitude: _build_program(log_amplitude, kind, packet, covers_all_pixels),
    )
    program_inputs = (
        packet.parameters,
        domains.to_tensors(domain, packet.dtype),
        axes.to_tensors(packet.dtype),
        tf.constant(seed, tf.int64),
    )
    batches_per_group = math.ceil(num_samples / (batch_size * num_groups))
    count = batches_per_group * num_groups * batch_size
    group_sums, retained_samples = _accumulate_groups(
        program, program_inputs, (num_groups, batches_per_group, batch_size), on_progress
    )
    effective_size = compute_effective_size(group_sums)
    _check_size(effective_size, count, min_effective_samples)
    reference = axes.project_point(domain.reference_point(packet.size))
    estimates = estimate_measures(group_sums, domain.vanishes, reference)
    return Relation(
        axes=axes,
        estimates=estimates,
        estimator="importance",
        domain=domain.name,
        vanishes=domain.vanishes,
        n=count,
        gradient_calls=count + batch_size,
        effective_sample_size=effective_size,
        groups=group_sums,
        retained_samples=retained_samples,
        by_axis={"effective_sample_size": mixing.compute_effective_sizes(estimates)},
        diagnostics={"share": effective_size / count},
    )


def _accumulate_groups(
    program: Callable,
    program_inputs: tuple,
    sizes: tuple[int, int, int],
    on_progress: Callable[[int], None] | None,
) -> tuple[Sums, SampleSubset]:
    """Returns the sums of all groups, and a few samples of each.

    Args:
      program: See `_build_program`.
      program_inputs: Its arguments between ids and shift.
      sizes: Groups, batches per group, points per batch.
      on_progress: See `relation`.
    """
    num_groups, batches_per_group, batch_size = sizes
    groups, samples, shift = GroupSums(num_groups), [], None
    for batch in range(num_groups * batches_per_group):
        ids = tf.range(batch_size, dtype=tf.int64) + batch * batch_size
        if shift is None:
            shift = _find_log_shift(program, ids, program_inputs)
        batch_sums, batch_statistics, *sample = program(ids, *program_inputs, shift)
        _check_batch(batch_statistics.numpy())
        groups.add(batch // batches_per_group, batch_sums)
        if batch % batches_per_group == 0:
            samples.append([array[: -(-_NUM_RETAINED // num_groups)] for array in sample])
        if on_progress is not None:
            on_progress(batch_size)
    return groups.arrays, _concatenate_samples(samples)


def _build_program(
    log_amplitude: Callable, kind: type[Domain], packet: Packet, covers_all_pixels: bool
) -> Callable:
    """Returns (ids, ..., shift) -> (sums, statistics, points, weights); see `_check_batch`."""
    size, dtype = packet.size, packet.dtype

    @tf.function(autograph=False)
    def run(ids, parameters, fields, axis_tensors, seed, shift):
        domain = kind(*fields)
        project = build_projection(*axis_tensors, covers_all_pixels)
        points = domain.sample(prng.make_keys(seed, ids), size, dtype)
        values, packet_gradients = gradients.compute_input_gradient(
            lambda x: log_amplitude(x, parameters), points
        )
        values = tf.cast(values, tf.float64)
        weights = tf.exp(2 * (values - shift))
        # A point where l is 0 has the weight 0, whatever its gradient.
        is_nonzero = weights[:, None] > 0
        is_finite = tf.math.is_finite(packet_gradients) | ~is_nonzero
        packet_gradients = tf.where(is_nonzero, packet_gradients, tf.zeros_like(packet_gradients))
        displacement = points - tf.cast(domain.reference_point(size), dtype)
        columns = compute_columns(
            project(displacement),
            project(packet_gradients),
            project(domain.window_gradient(points)),
            domain.window_curvature(points, project),
        )
        batch_sums = sum_batch(weights, columns, axis_tensors[1].shape[0])
        batch_statistics = [
            tf.reduce_max(values),
            tf.reduce_sum(tf.cast(tf.math.is_finite(weights), tf.float64)),
            tf.reduce_sum(tf.cast(tf.reduce_all(is_finite, 1), tf.float64)),
            tf.cast(tf.shape(ids)[0], tf.float64),
        ]
        return batch_sums, tf.stack(batch_statistics), points, weights

    return run


def _concatenate_samples(samples: list) -> SampleSubset:
    points, weights = (
        np.concatenate([array.numpy() for array in column]) for column in zip(*samples, strict=True)
    )
    samples_per_group = len(points) // len(samples)
    return SampleSubset(points, weights, np.repeat(np.arange(len(samples)), samples_per_group))


def _find_log_shift(program: Callable, ids: tf.Tensor, program_inputs: tuple) -> tf.Tensor:
    """Returns the largest ln l of the first batch, so that weights do not underflow."""
    _, batch_statistics, *_ = program(ids, *program_inputs, tf.constant(0.0, tf.float64))
    largest = float(batch_statistics[0])
    if np.isneginf(largest):
        check_finite(np.array([largest]), np.zeros((1, 1)))
    return tf.constant(largest if np.isfinite(largest) else 0.0, tf.float64)


def _check_batch(batch_statistics: np.ndarray) -> None:
    """Checks (largest ln l, number of finite weights, of finite gradients, of points)."""
    _, finite_weights, finite_gradients, count = batch_statistics
    num_bad = int(max(count - finite_weights, count - finite_gradients))
    if num_bad:
        raise errors.InputError(
            f"The packet or its gradient is not finite at {num_bad} of "
            f"{int(count)} points. Check the network's layers and weights."
        )


def _check_size(effective_size: float, count: int, min_effective_samples: float) -> None:
    if effective_size >= min_effective_samples:
        return
    remedy = "Use a narrower window or MCMC; no number of samples is enough."
    if effective_size > 0:
        num_samples = int(np.ceil(1.3 * count * min_effective_samples / effective_size))
        remedy = (
            f"Use more samples (num_samples of about {num_samples:,}), a narrower window, or MCMC."
        )
    raise mixing.TooFewError(
        f"{count} samples have the effective size {effective_size:.0f}; errors need at least "
        f"{min_effective_samples:.0f}. {remedy}",
        size=effective_size,
        count=count,
    )
