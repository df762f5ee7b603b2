"""The compiled programs of Hamiltonian Monte Carlo, and what they sum.

The kernels are TensorFlow Probability's (Duane et al. 1987; dual averaging:
Hoffman and Gelman 2014, arXiv 1111.4246).
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from qup.measures.uncertainty import axes as lines
from qup.measures.uncertainty import sums
from qup.measures.uncertainty.domains import Domain

# Steps of a chain in one call of the program.
STRETCH = 25
# Leapfrog steps while the step size is adapted.
FIRST_LEAPS = 4
_ACCEPTANCE = 0.8


class _Sums(tfp.experimental.mcmc.Reducer):
    """Adds a state to the sums of its chain."""

    def __init__(self, given: Callable):
        self._given = given

    def initialize(self, initial_chain_state, initial_kernel_results=None):
        """Returns empty sums."""
        found = self._given(initial_chain_state, initial_kernel_results)
        return {name: tf.zeros_like(part) for name, part in found.items()}

    def one_step(
        self, new_chain_state, current_reducer_state,
        previous_kernel_results=None, axis=None,
    ):  # fmt: skip
        """Returns the sums with one state more."""
        found = self._given(new_chain_state, previous_kernel_results)
        held = current_reducer_state
        return {name: held[name] + part for name, part in found.items()}

    def finalize(self, final_reducer_state):
        """Returns the sums."""
        return final_reducer_state


def _target(log_amplitude: Callable, domain: Domain, parameters) -> Callable:
    def log_density(free: tf.Tensor) -> tf.Tensor:
        values = log_amplitude(domain.fold(free), parameters)
        return 2.0 * values + domain.log_measure(free)

    return log_density


def _hmc(target: Callable, step_size, leaps) -> Any:
    return tfp.mcmc.HamiltonianMonteCarlo(
        target_log_prob_fn=target,
        step_size=step_size,
        num_leapfrog_steps=leaps,
    )


def _with_step_size(results: Any, size: tf.Tensor) -> Any:
    accepted = results.accepted_results._replace(step_size=size)
    return results._replace(accepted_results=accepted)


def build_burn_in(log_amplitude: Callable, kind: type) -> Callable:
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
        first, longest = tf.unstack(sizes)
        target = _target(log_amplitude, kind(*fields), parameters)
        kernel = tfp.mcmc.DualAveragingStepSizeAdaptation(
            _hmc(target, first, FIRST_LEAPS),
            num_adaptation_steps=int(0.9 * count),
            step_size_setter_fn=lambda results, size: _with_step_size(
                results, tf.minimum(size, longest)
            ),
            target_accept_prob=tf.constant(_ACCEPTANCE, state.dtype),
        )
        states, tried = tfp.mcmc.sample_chain(
            num_results=1,
            num_burnin_steps=count - 1,
            current_state=state,
            kernel=kernel,
            trace_fn=lambda _, results: results.new_step_size,
            seed=seed,
        )
        return states[-1], tf.minimum(tried[-1], longest)

    return run


def build_walk(log_amplitude: Callable, kind: type, whole: bool) -> Callable:
    """Returns a program that walks `STRETCH` steps.

    Args:
      log_amplitude: See `Packet.program`.
      kind: Class of the domain, rebuilt of its fields.
      whole: See `axes.projection`.

    Returns:
      (state, parameters, fields, along, step_size, leaps, seed) -> (sums of
      each chain, state, acceptance, ln rho of the state).
    """

    @tf.function(autograph=False, reduce_retracing=True)
    def run(state, parameters, fields, along, step_size, leaps, seed):
        domain = kind(*fields)
        project = lines.projection(*along, whole)
        size = domain.fold(state).shape[1]
        origin = tf.cast(domain.reference(size), state.dtype)
        directions = along[1].shape[0]

        def given(free, results):
            points = domain.fold(free)
            gradient = results.accepted_results.grads_target_log_prob[0]
            window = domain.slope(points)
            found = sums.columns(
                project(points - origin),
                project(domain.packet_slope(free, gradient)),
                project(window),
                domain.curvature(points, project),
            )
            rate = tf.cast(results.is_accepted, tf.float64)
            added = sums.of_chains(found, directions)
            return {**added, "accepted": rate}

        target = _target(log_amplitude, domain, parameters)
        found, state, _ = tfp.experimental.mcmc.sample_fold(
            num_steps=STRETCH,
            current_state=state,
            kernel=_hmc(target, step_size, leaps),
            reducer=_Sums(given),
            seed=seed,
        )
        rate = tf.reduce_mean(found.pop("accepted")) / STRETCH
        return found, state, rate, target(state)

    return run
