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
from qup.measures.uncertainty.kernels import FIRST_LEAPS
from qup.measures.uncertainty.packets import Packet

_MOST_LEAPS = 64


class Stretch(NamedTuple):
    """What `kernels.STRETCH` steps of every chain left.

    Attributes:
      found: Sums, see `sums`; the first axis is the chain.
      acceptance: Share of accepted steps.
      heights: ln of the free coordinates' density where each chain stands, up
        to a constant: [chains].
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
        self._seed, self._count = seed, count
        self._given = (packet.parameters, fields, axes.tensors(packet.dtype))
        self._dtype = packet.dtype
        self._warm = packet.program(
            ("warm", kind), lambda call: kernels.build_burn_in(call, kind)
        )
        self._walk = packet.program(
            ("walk", kind, axes.whole),
            lambda call: kernels.build_walk(call, kind, axes.whole),
        )
        rows = draws.keys(seed, tf.range(count, dtype=tf.int64), -1)
        self._domain = domain = kind(*fields)
        self._state = domain.start(rows, packet.size, packet.dtype)
        packets.check(*packet.slopes(domain.fold(self._state)))
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
        spread = float(self._domain.spread(self._state))
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
            points=self._domain.fold(self._state).numpy(),
            leaps=leaps,
        )
