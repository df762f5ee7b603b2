"""Hamiltonian Monte Carlo on a packet's density, a stretch at a time.

Chains walk on ln rho = 2 ln l + 2 ln w; on a box on ln rho(fold(u)), u in
R^M, where fold is the triangle wave: exact, because rho(fold(u)) is rho
reflected at its faces. Nothing but sums is kept of a chain.

The kernels are TensorFlow Probability's (Duane et al. 1987; dual averaging:
Hoffman and Gelman 2014, arXiv 1111.4246).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from qup import draws
from qup.measures.uncertainty import axes as lines
from qup.measures.uncertainty import domains, packets, sums
from qup.measures.uncertainty.axes import Axes
from qup.measures.uncertainty.domains import Domain
from qup.measures.uncertainty.packets import Packet

# Steps of a chain in one call of the program.
STRETCH = 25
# Leapfrog steps while the step size is adapted.
FIRST_LEAPS = 4
_MOST_LEAPS = 64
_ACCEPTANCE = 0.8


class Stretch(NamedTuple):
    """What `STRETCH` steps of every chain left.

    Attributes:
      found: Sums, see `sums`; the first axis is the chain.
      acceptance: Share of accepted steps.
      heights: ln rho where each chain stands, up to a constant: [chains].
      points: Where each stands: [chains, size].
      leaps: Leapfrog steps, each a gradient, of every step.
    """

    found: dict[str, np.ndarray]
    acceptance: float
    heights: np.ndarray
    points: np.ndarray
    leaps: int


class Chains:
    """Chains at their places, with a step size that was adapted."""

    def __init__(
        self, packet: Packet, domain: Domain, axes: Axes, count: int, seed: int
    ):
        """Draws the starts from the window.

        Raises:
          InputError: The packet is zero at every start, or not finite.
        """
        kind, fields = type(domain), domains.tensors(domain, packet.dtype)
        self._domain, self._seed, self._count = domain, seed, count
        self._given = (packet.parameters, fields, axes.tensors(packet.dtype))
        self._dtype = packet.dtype
        self._warm = packet.program(
            ("warm", kind), lambda call: _build_burn_in(call, kind)
        )
        self._walk = packet.program(
            ("walk", kind, axes.whole),
            lambda call: _build_walk(call, kind, axes.whole),
        )
        rows = draws.keys(seed, tf.range(count, dtype=tf.int64), -1)
        self._state = kind(*fields).sample(rows, packet.size, packet.dtype)
        packets.check(*packet.slopes(self._state))
        # Of the order of the window's width; adapted by `burn_in`.
        self._width = float(tf.math.reduce_std(self._state))
        self.step_size = 0.5 * self._width * packet.size**-0.25
        self._leaps = FIRST_LEAPS
        self._chance = np.random.default_rng(seed)

    def burn_in(self, steps: int) -> None:
        """Adapts the step size, and leaves the starts behind.

        A step is then as long as a quarter of a Gaussian's period.
        """
        # Longer steps are never needed; a flat packet would ask for them.
        sizes = tf.constant((self.step_size, 2 * self._width), self._dtype)
        self._state, size = self._warm(
            self._state, *self._given[:2], sizes, steps, self._seeds(0)
        )
        self.step_size = float(size)
        points, _ = self._domain.fold(tf.cast(self._state, tf.float64))
        spread = float(tf.reduce_mean(tf.math.reduce_std(points, 0)))
        leaps = round(0.5 * math.pi * spread / self.step_size)
        self._leaps = min(max(1, leaps), _MOST_LEAPS)

    def _seeds(self, number: int) -> tf.Tensor:
        return tf.constant((self._seed, number), tf.int32)

    def stretch(self, number: int) -> Stretch:
        """Walks on; `number` tells this stretch's chance from others'."""
        # A random length, so that no coordinate is in step with it.
        low, high = math.ceil(self._leaps / 2), self._leaps + self._leaps // 2
        leaps = int(self._chance.integers(low, high + 1))
        found, self._state, rate, heights = self._walk(
            self._state,
            *self._given,
            tf.constant(self.step_size, self._dtype),
            tf.constant(leaps),
            self._seeds(number + 1),
        )
        return Stretch(
            found={name: part.numpy() for name, part in found.items()},
            acceptance=float(rate),
            heights=heights.numpy(),
            points=self._domain.fold(self._state)[0].numpy(),
            leaps=leaps,
        )


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
        points, _ = domain.fold(free)
        values = log_amplitude(points, parameters)
        return 2.0 * (values + domain.log_window(points))

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


def _build_burn_in(log_amplitude: Callable, kind: type) -> Callable:
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


def _build_walk(log_amplitude: Callable, kind: type, whole: bool) -> Callable:
    @tf.function(autograph=False, reduce_retracing=True)
    def run(state, parameters, fields, along, step_size, leaps, seed):
        domain = kind(*fields)
        project = lines.projection(*along, whole)
        origin = tf.cast(domain.reference(state.shape[1]), state.dtype)
        directions = along[1].shape[0]

        def given(free, results):
            points, signs = domain.fold(free)
            # grad ln rho = 2 (grad ln l + grad ln w)
            gradient = results.accepted_results.grads_target_log_prob[0]
            window = domain.slope(points)
            found = sums.columns(
                project(points - origin),
                project(0.5 * signs * gradient - window),
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
