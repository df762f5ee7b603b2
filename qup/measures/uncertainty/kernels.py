"""The compiled programs of Hamiltonian Monte Carlo, and what they sum.

The kernels are TensorFlow Probability's (Duane et al. 1987; dual averaging:
Hoffman and Gelman 2014, arXiv 1111.4246).
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from qup.measures.uncertainty import axes as axes_module
from qup.measures.uncertainty.domains import Domain

# Steps of a chain in one call of the program.
CHUNK_STEPS = 25
# Leapfrog steps while the step size is adapted.
BURN_IN_LEAPFROG_STEPS = 4
_TARGET_ACCEPTANCE = 0.8


class _SumReducer(tfp.experimental.mcmc.Reducer):
    """Adds a state to the sums of its chain."""

    def __init__(self, compute_increments: Callable):
        self._compute_increments = compute_increments

    def initialize(self, initial_chain_state, initial_kernel_results=None):
        """Returns empty sums."""
        increments = self._compute_increments(initial_chain_state, initial_kernel_results)
        return {name: tf.zeros_like(increment) for name, increment in increments.items()}

    def one_step(
        self, new_chain_state, current_reducer_state, previous_kernel_results=None, axis=None
    ):
        """Returns the sums with one state more."""
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


def build_burn_in_program(log_amplitude: Callable, kind: type) -> Callable:
    """Returns a program that adapts the step size.

    Args:
      log_amplitude: See `Packet.program`.
      kind: Class of the domain, rebuilt of its fields.

    Returns:
      (state, parameters, fields, sizes, count, seed) -> (state, step size);
      sizes are the first step and the longest.
    """

    @tf.function(autograph=False, reduce_retracing=True)
    def run(state, parameters, fields, sizes, count, seed):
        first_size, longest_size = tf.unstack(sizes)
        log_density = _build_log_density(log_amplitude, kind(*fields), parameters)
        kernel = tfp.mcmc.DualAveragingStepSizeAdaptation(
            _build_hmc_kernel(log_density, first_size, BURN_IN_LEAPFROG_STEPS),
            num_adaptation_steps=int(0.9 * count),
            step_size_setter_fn=lambda results, size: _set_step_size(
                results, tf.minimum(size, longest_size)
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
        return states[-1], tf.minimum(step_sizes[-1], longest_size)

    return run


def build_chunk_program(log_amplitude: Callable, kind: type, covers_all_pixels: bool) -> Callable:
    """Returns a program that walks `CHUNK_STEPS` steps.

    Args:
      log_amplitude: See `Packet.program`.
      kind: Class of the domain, rebuilt of its fields.
      covers_all_pixels: See `axes.projection`.

    Returns:
      (state, parameters, fields, along, step_size, leaps, seed) -> (sums of
      each chain, state, acceptance, ln rho of the state).
    """

    @tf.function(autograph=False, reduce_retracing=True)
    def run(state, parameters, fields, axis_tensors, step_size, leapfrog_steps, seed):
        domain = kind(*fields)
        project = axes_module.build_projection(*axis_tensors, covers_all_pixels)
        size = domain.fold(state).shape[1]
        origin = tf.cast(domain.reference_point(size), state.dtype)
        num_directions = axis_tensors[1].shape[0]

        def compute_increments(free, results):
            points = domain.fold(free)
            gradient = results.accepted_results.grads_target_log_prob[0]
            window_gradient = domain.window_gradient(points)
            columns = sums.compute_columns(
                project(points - origin),
                project(domain.packet_gradient(free, gradient)),
                project(window_gradient),
                domain.window_curvature(points, project),
            )
            accepted = tf.cast(results.is_accepted, tf.float64)
            increments = sums.compute_chain_increments(columns, num_directions)
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
