"""Hamiltonian Monte Carlo on a packet's density, a stretch at a time.

Chains walk on the free coordinates of a domain, whose points have the density
rho = l^2 w^2 exactly: the points themselves in a Gaussian window, reflected
ones on a box, angles of vectors under a sine window. Nothing but sums
is kept of a chain.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qup import draws
from qup.measures.uncertainty import domains, kernels, packets
from qup.measures.uncertainty.axes import Axes
from qup.measures.uncertainty.domains import Domain
from qup.measures.uncertainty.kernels import BURN_IN_LEAPFROG_STEPS
from qup.measures.uncertainty.packets import Packet

_MAX_LEAPFROG_STEPS = 64


class ChunkResult(NamedTuple):
    """What `kernels.STRETCH` steps of every chain left.

    Attributes:
      sums: Sums, see `sums`; the first axis is the chain.
      acceptance: Share of accepted steps.
      log_densities: ln of the free coordinates' density where each chain stands, up
        to a constant: [chains].
      points: Where each stands: [chains, size].
      leapfrog_steps: Leapfrog steps, each a gradient, of every step.
    """

    sums: dict[str, np.ndarray]
    acceptance: float
    log_densities: np.ndarray
    points: np.ndarray
    leapfrog_steps: int


class HMCChains:
    """Chains at their places, with a step size that was adapted."""

    def __init__(self, packet: Packet, domain: Domain, axes: Axes, count: int, seed: int):
        """Draws the starts from the window.

        Raises:
          InputError: The packet is zero at every start, or not finite.
        """
        kind, fields = type(domain), domains.to_tensors(domain, packet.dtype)
        self._seed, self._count = seed, count
        self._program_inputs = (packet.parameters, fields, axes.to_tensors(packet.dtype))
        self._dtype = packet.dtype
        self._burn_in_program = packet.compile_program(
            ("warm", kind), lambda log_amplitude: kernels.build_burn_in_program(log_amplitude, kind)
        )
        self._chunk_program = packet.compile_program(
            ("walk", kind, axes.covers_all_pixels),
            lambda log_amplitude: kernels.build_chunk_program(
                log_amplitude, kind, axes.covers_all_pixels
            ),
        )
        keys = draws.make_keys(seed, tf.range(count, dtype=tf.int64), -1)
        self._domain = domain = kind(*fields)
        self._state = domain.sample_start(keys, packet.size, packet.dtype)
        packets.check_finite(*packet.value_and_gradient(domain.fold(self._state)))
        # Of the order of the window's width; adapted by `burn_in`.
        self._width = float(tf.math.reduce_std(self._state))
        self.step_size = 0.5 * self._width * packet.size**-0.25
        self._leapfrog_steps = BURN_IN_LEAPFROG_STEPS
        self._rng = np.random.default_rng(seed)

    def burn_in(self, steps: int) -> None:
        """Adapts the step size, and leaves the starts behind.

        A step is then as long as a quarter of a Gaussian's period.
        """
        # Longer steps are never needed; a flat packet would ask for them.
        sizes = tf.constant((self.step_size, 2 * self._width), self._dtype)
        self._state, step_size = self._burn_in_program(
            self._state, *self._program_inputs[:2], sizes, steps, self._seeds(0)
        )
        self.step_size = float(step_size)
        deviation = float(self._domain.mean_deviation(self._state))
        leapfrog_steps = round(0.5 * math.pi * deviation / self.step_size)
        self._leapfrog_steps = min(max(1, leapfrog_steps), _MAX_LEAPFROG_STEPS)

    def _seeds(self, number: int) -> tf.Tensor:
        return tf.constant((self._seed, number), tf.int32)

    def run_chunk(self, number: int) -> ChunkResult:
        """Walks on; `number` tells this stretch's chance from others'."""
        # A random length, so that no coordinate is in step with it.
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
            self._seeds(number + 1),
        )
        return ChunkResult(
            sums={name: array.numpy() for name, array in sums.items()},
            acceptance=float(acceptance),
            log_densities=log_densities.numpy(),
            points=self._domain.fold(self._state).numpy(),
            leapfrog_steps=leapfrog_steps,
        )
