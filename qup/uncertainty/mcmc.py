"""The relation by Hamiltonian Monte Carlo, in any dimension.

Chains run in the free coordinates of a domain, whose points have exactly the density
rho = l^2 w^2: the points themselves in a Gaussian window, reflected points on a box, angles of
vectors under a sine window. Only sums of a chain are stored.

The kernels are those of TensorFlow Probability (Duane et al. 1987; dual averaging: Hoffman and
Gelman 2014, arXiv 1111.4246).

```python
result = relation(packet, GaussianWindow(centre, 0.3), num_chains=32)
result.diagnostics["r_hat"]  # below 1.01, or the chains disagree
result.by_axis["r_hat"]  # float64 [axes]
```
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from qup.core import errors, prng
from qup.uncertainty import domains, mixing
from qup.uncertainty.axes import Axes, build_axes, build_projection
from qup.uncertainty.domains import Domain
from qup.uncertainty.importance import MIN_EFFECTIVE_SAMPLES
from qup.uncertainty.packets import Packet, check_finite
from qup.uncertainty.relation import (
    GroupSums,
    Relation,
    SampleSubset,
    Sums,
    compute_chain_increments,
    compute_columns,
    estimate_measures,
)

# Steps of a chain per call of the program.
CHUNK_STEPS = 25
# Leapfrog steps during the burn-in, and at most after it.
BURN_IN_LEAPFROG_STEPS, _MAX_LEAPFROG_STEPS = 4, 64
_TARGET_ACCEPTANCE = 0.8
# States retained for the faces.
_NUM_RETAINED = 320


class _SumReducer(tfp.experimental.mcmc.Reducer):
    """Sums increments over the states of each chain."""

    def __init__(self, compute_increments: Callable):
        self._compute_increments = compute_increments

    def initialize(self, initial_chain_state, initial_kernel_results=None):
        """Returns sums of 0."""
        increments = self._compute_increments(initial_chain_state, initial_kernel_results)
        return {name: tf.zeros_like(increment) for name, increment in increments.items()}

    def one_step(
        self, new_chain_state, current_reducer_state, previous_kernel_results=None, axis=None
    ):
        """Returns the sums after one more state."""
        increments = self._compute_increments(new_chain_state, previous_kernel_results)
        sums = current_reducer_state
        return {name: sums[name] + increment for name, increment in increments.items()}

    def finalize(self, final_reducer_state):
        """Returns the sums."""
        return final_reducer_state


def _build_log_density(log_amplitude: Callable, domain: Domain, parameters) -> Callable:
    def log_density(free: tf.Tensor) -> tf.Tensor:
        values = log_amplitude(domain.fold(free), parameters)
        return 2.0 * values + domain.log_measure(free)

    return log_density


def _build_hmc_kernel(log_density: Callable, step_size, leapfrog_steps) -> Any:
    return tfp.mcmc.HamiltonianMonteCarlo(
        target_log_prob_fn=log_density, step_size=step_size, num_leapfrog_steps=leapfrog_steps
    )


def _set_step_size(results: Any, size: tf.Tensor) -> Any:
    accepted = results.accepted_results._replace(step_size=size)
    return results._replace(accepted_results=accepted)


def _build_burn_in_program(log_amplitude: Callable, kind: type[Domain]) -> Callable:
    """Returns a program that adapts the step size.

    Args:
      log_amplitude: See `Packet.compile_program`.
      kind: Class of the domain, which the program rebuilds from its fields.

    Returns:
      (state, parameters, fields, sizes, count, seed) -> (state, step size); sizes are the first
      step size and the largest one.
    """

    @tf.function(autograph=False, reduce_retracing=True)
    def run(state, parameters, fields, sizes, count, seed):
        initial_step_size, max_step_size = tf.unstack(sizes)
        log_density = _build_log_density(log_amplitude, kind(*fields), parameters)
        kernel = tfp.mcmc.DualAveragingStepSizeAdaptation(
            _build_hmc_kernel(log_density, initial_step_size, BURN_IN_LEAPFROG_STEPS),
            num_adaptation_steps=int(0.9 * count),
            step_size_setter_fn=lambda results, size: _set_step_size(
                results, tf.minimum(size, max_step_size)
            ),
            target_accept_prob=tf.constant(_TARGET_ACCEPTANCE, state.dtype),
        )
        states, step_sizes = tfp.mcmc.sample_chain(
            num_results=1,
            num_burnin_steps=count - 1,
            current_state=state,
            kernel=kernel,
            trace_fn=lambda _, results: results.new_step_size,
            seed=seed,
        )
        return states[-1], tf.minimum(step_sizes[-1], max_step_size)

    return run


def _build_chunk_program(
    log_amplitude: Callable, kind: type[Domain], covers_all_pixels: bool
) -> Callable:
    """Returns a program of `CHUNK_STEPS` steps.

    Args:
      log_amplitude: See `Packet.compile_program`.
      kind: Class of the domain, which the program rebuilds from its fields.
      covers_all_pixels: See `Axes`.

    Returns:
      (state, parameters, fields, axis tensors, step size, leapfrog steps, seed) -> (sums of each
      chain, state, acceptance, log density of the state).
    """

    @tf.function(autograph=False, reduce_retracing=True)
    def run(state, parameters, fields, axis_tensors, step_size, leapfrog_steps, seed):
        domain = kind(*fields)
        project = build_projection(*axis_tensors, covers_all_pixels)
        size = domain.fold(state).shape[1]
        origin = tf.cast(domain.reference_point(size), state.dtype)
        num_directions = axis_tensors[1].shape[0]

        def compute_increments(free, results):
            points = domain.fold(free)
            gradient = results.accepted_results.grads_target_log_prob[0]
            window_gradient = domain.window_gradient(points)
            columns = compute_columns(
                project(points - origin),
                project(domain.packet_gradient(free, gradient)),
                project(window_gradient),
                domain.window_curvature(points, project),
            )
            accepted = tf.cast(results.is_accepted, tf.float64)
            increments = compute_chain_increments(columns, num_directions)
            return {**increments, "accepted": accepted}

        log_density = _build_log_density(log_amplitude, domain, parameters)
        sums, state, _ = tfp.experimental.mcmc.sample_fold(
            num_steps=CHUNK_STEPS,
            current_state=state,
            kernel=_build_hmc_kernel(log_density, step_size, leapfrog_steps),
            reducer=_SumReducer(compute_increments),
            seed=seed,
        )
        acceptance = tf.reduce_mean(sums.pop("accepted")) / CHUNK_STEPS
        return sums, state, acceptance, log_density(state)

    return run


class _ChunkResult(NamedTuple):
    """The results of `CHUNK_STEPS` steps of every chain.

    Attributes:
      sums: See `relation`; the first axis is the chain.
      acceptance: Share of accepted steps.
      log_densities: Log density of the last free coordinates, up to a constant: [chains].
      points: The last points: [chains, size].
      leapfrog_steps: Leapfrog steps per step; each needs a gradient.
    """

    sums: dict[str, np.ndarray]
    acceptance: float
    log_densities: np.ndarray
    points: np.ndarray
    leapfrog_steps: int


class _HMCChains:
    """The states of all chains, their programs and their step size."""

    def __init__(self, packet: Packet, domain: Domain, axes: Axes, count: int, seed: int):
        """Samples the starts from the window, or raises an InputError (`check_finite`)."""
        kind, fields = type(domain), domains.to_tensors(domain, packet.dtype)
        self._seed, self._count = seed, count
        self._program_inputs = (packet.parameters, fields, axes.to_tensors(packet.dtype))
        self._dtype = packet.dtype
        self._burn_in_program = packet.compile_program(
            ("burn_in", kind), lambda log_amplitude: _build_burn_in_program(log_amplitude, kind)
        )
        self._chunk_program = packet.compile_program(
            ("chunk", kind, axes.covers_all_pixels),
            lambda log_amplitude: _build_chunk_program(log_amplitude, kind, axes.covers_all_pixels),
        )
        keys = prng.make_keys(seed, tf.range(count, dtype=tf.int64), -1)
        self._domain = domain = kind(*fields)
        self._state = domain.sample_start(keys, packet.size, packet.dtype)
        check_finite(*packet.value_and_gradient(domain.fold(self._state)))
        # Of the order of the window's width; adapted by `burn_in`.
        self._width = float(tf.math.reduce_std(self._state))
        self.step_size = 0.5 * self._width * packet.size**-0.25
        self._leapfrog_steps = BURN_IN_LEAPFROG_STEPS
        self._rng = np.random.default_rng(seed)

    def burn_in(self, steps: int) -> None:
        """Adapts the step size; a step is then a quarter of the period of a Gaussian."""
        # For a flat packet the adapted size would grow without limit.
        sizes = tf.constant((self.step_size, 2 * self._width), self._dtype)
        self._state, step_size = self._burn_in_program(
            self._state, *self._program_inputs[:2], sizes, steps, self._build_seed(0)
        )
        self.step_size = float(step_size)
        deviation = float(self._domain.mean_deviation(self._state))
        leapfrog_steps = round(0.5 * math.pi * deviation / self.step_size)
        self._leapfrog_steps = min(max(1, leapfrog_steps), _MAX_LEAPFROG_STEPS)

    def _build_seed(self, number: int) -> tf.Tensor:
        return tf.constant((self._seed, number), tf.int32)

    def run_chunk(self, number: int) -> _ChunkResult:
        """Runs the next steps; the random numbers depend on the seed and `number`."""
        # A random length, so that no coordinate has the period of the trajectories.
        low, high = (
            math.ceil(self._leapfrog_steps / 2),
            self._leapfrog_steps + self._leapfrog_steps // 2,
        )
        leapfrog_steps = int(self._rng.integers(low, high + 1))
        sums, self._state, acceptance, log_densities = self._chunk_program(
            self._state,
            *self._program_inputs,
            tf.constant(self.step_size, self._dtype),
            tf.constant(leapfrog_steps),
            self._build_seed(number + 1),
        )
        return _ChunkResult(
            sums={name: array.numpy() for name, array in sums.items()},
            acceptance=float(acceptance),
            log_densities=log_densities.numpy(),
            points=self._domain.fold(self._state).numpy(),
            leapfrog_steps=leapfrog_steps,
        )


def relation(
    packet: Packet,
    domain: Domain,
    *,
    axes: Axes | None = None,
    num_chains: int = 32,
    num_steps: int = 1000,
    num_burn_in: int = 200,
    seed: int = 0,
    min_effective_samples: float = MIN_EFFECTIVE_SAMPLES,
    on_progress: Callable[[int], None] | None = None,
) -> Relation:
    """Runs `num_chains` chains; every state has the weight 1.

    Args:
      packet: Of any number of coordinates.
      domain: Its domain.
      axes: None for every coordinate.
      num_chains: 4 or more; each half chain is a group of the jackknife.
      num_steps: Steps of each chain after the burn-in; rounded up to a multiple of 50.
      num_burn_in: Steps that adapt the step size, and whose states are not used.
      seed: Of starts, momenta and acceptances.
      min_effective_samples: Fewer effective samples, as the median over the axes, are an error;
        the values of a single axis with significantly fewer are NaN.
      on_progress: Called with the number of states after every chunk.

    Returns:
      The relation. Diagnostics: "r_hat" (largest over the axes), "acceptance", "step_size",
      "leapfrog_steps" (mean), "burn_in" and "least_effective_sample_size" (over the axes).

    Raises:
      TooFewError: Too few effective samples.
      InputError: Fewer than 4 chains; a packet that is zero at every start, or not finite.
    """
    axes = axes or build_axes(packet.size)
    errors.check_number("num_chains", num_chains, at_least=4)
    errors.check_number("num_steps", num_steps, at_least=1)
    errors.check_number("num_burn_in", num_burn_in, at_least=1)
    chains = _HMCChains(packet, domain, axes, num_chains, seed)
    chains.burn_in(num_burn_in)
    num_chunks = 2 * math.ceil(num_steps / (2 * CHUNK_STEPS))
    groups, chunks = GroupSums(2 * num_chains), []
    for number in range(num_chunks):
        chunks.append(chains.run_chunk(number))
        first_group = num_chains * (2 * number // num_chunks)
        _add_chunk(groups, first_group, chunks[-1])
        if on_progress is not None:
            on_progress(CHUNK_STEPS * num_chains)
    result = _build_relation(axes, domain, groups.arrays, chunks, min_effective_samples)
    burn_in_gradients = num_burn_in * num_chains * BURN_IN_LEAPFROG_STEPS
    return dataclasses.replace(
        result,
        gradient_calls=result.gradient_calls + burn_in_gradients,
        diagnostics={**result.diagnostics, "step_size": chains.step_size, "burn_in": num_burn_in},
    )


def _build_relation(
    axes: Axes,
    domain: Domain,
    group_sums: Sums,
    chunks: Sequence[_ChunkResult],
    min_effective_samples: float,
) -> Relation:
    """Returns the relation without the numbers of the burn-in."""
    count, (chains, size) = len(chunks), chunks[0].points.shape
    reference = axes.project_point(domain.reference_point(size))
    estimates = estimate_measures(group_sums, domain.vanishes, reference)
    sizes, r_hats = mixing.compute_effective_sizes(estimates), mixing.compute_r_hat(group_sums)
    mixing.check_effective_size(
        sizes, r_hats.max(), count * CHUNK_STEPS, chains, min_effective_samples
    )
    leapfrog_steps = sum(chunk.leapfrog_steps for chunk in chunks)
    return Relation(
        axes=axes,
        estimates=mixing.mask_unknown(estimates, sizes, 2 * chains - 1, min_effective_samples),
        estimator="mcmc",
        domain=domain.name,
        vanishes=domain.vanishes,
        n=count * CHUNK_STEPS * chains,
        gradient_calls=chains * (CHUNK_STEPS * leapfrog_steps + count),
        effective_sample_size=float(np.median(sizes)),
        groups=group_sums,
        retained_samples=_subsample_states(chunks),
        by_axis={"r_hat": r_hats, "effective_sample_size": sizes},
        traces={"log_density": np.stack([chunk.log_densities for chunk in chunks])},
        diagnostics={
            "r_hat": float(r_hats.max()),
            "acceptance": float(np.mean([chunk.acceptance for chunk in chunks])),
            "leapfrog_steps": leapfrog_steps / count,
            "least_effective_sample_size": float(sizes.min()),
        },
    )


def _add_chunk(groups: GroupSums, first_group: int, chunk: _ChunkResult) -> None:
    """Adds the sums of the first chain to `first_group`, of the second to the next group, ..."""
    for name, values in chunk.sums.items():
        if not np.isfinite(values).all():
            raise errors.InputError(
                f"The packet or its gradient is not finite at a state of a chain ({name}). "
                "Check the network's layers and weights."
            )
    for chain in range(len(chunk.log_densities)):
        chain_sums = {name: values[chain] for name, values in chunk.sums.items()}
        groups.add(first_group + chain, chain_sums)


def _subsample_states(chunks: Sequence[_ChunkResult]) -> SampleSubset:
    """Returns evenly spaced states of those at the ends of chunks."""
    count, chains = len(chunks), len(chunks[0].points)
    points = np.concatenate([chunk.points for chunk in chunks])
    halves = 2 * np.arange(count) // count
    groups = (chains * halves[:, None] + np.arange(chains)).ravel()
    step = max(1, len(points) // _NUM_RETAINED)
    # Without a common divisor the subset has states of every chain.
    while math.gcd(step, chains) > 1:
        step += 1
    points, groups = points[::step], groups[::step]
    return SampleSubset(points, np.ones(len(points)), groups)
