"""Where a packet lives, and the window that it is multiplied with.

A domain gives the window w, by ln w and its derivatives, and a density
q = w^2 / norm that can be sampled exactly: with it every mean over
rho = psi^2 = l^2 w^2 / norm is a mean over q with weights l^2.

| domain | w | vanishes at its boundary |
| --- | --- | --- |
| `Box` | 1 on [lower, upper]^M | no |
| `GaussianWindow` | exp(-|x - x0|^2 / 2 s^2) on R^M | yes |
| `SineWindow` | prod sin(pi (x_i - lower) / side) | yes |

Chains walk in free coordinates, R^k, where no wall and no zero of w is in
their way: `start`, `fold`, `log_measure`, `packet_slope` and `spread`.

Fields may be tensors, so that a domain can be rebuilt inside a program.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from qup import draws
from qup.measures.uncertainty.cubes import Box, SineWindow, as_tensor

# A Gaussian's density is below 1e-35 of its height beyond this many widths.
_LIMIT_WIDTHS = 9.0


@dataclasses.dataclass(frozen=True)
class GaussianWindow:
    """exp(-|x - x0|^2 / 2 s^2) on all of R^M, outside of [0, 1] as well.

    Attributes:
      centre: x0, [size].
      width: s; |psi|^2 of a constant loss has the deviation s / sqrt(2).
    """

    centre: Any
    width: Any
    vanishes = True
    name = "window"

    def sample(self, keys: tf.Tensor, size: int, dtype) -> tf.Tensor:
        """Draws from q = N(x0, s^2 / 2)."""
        noise = tf.cast(draws.normal(keys, (size,)), dtype)
        deviation = as_tensor(self.width, dtype) * math.sqrt(0.5)
        return as_tensor(self.centre, dtype) + deviation * noise

    def _displacement(self, points: tf.Tensor) -> tf.Tensor:
        return points - as_tensor(self.centre, points.dtype)

    def _width_squared(self, points: tf.Tensor) -> tf.Tensor:
        return as_tensor(self.width, points.dtype) ** 2

    def log_window(self, points: tf.Tensor) -> tf.Tensor:
        """Returns ln w: [n]."""
        squared_distance = tf.reduce_sum(self._displacement(points) ** 2, 1)
        return -0.5 * squared_distance / self._width_squared(points)

    def window_gradient(self, points: tf.Tensor) -> tf.Tensor:
        """Returns -(x - x0) / s^2."""
        return -self._displacement(points) / self._width_squared(points)

    def window_curvature(self, points: tf.Tensor, project: Callable) -> tf.Tensor:
        """Returns (u.(x - x0))^2 / s^4 - 1 / s^2, for unit vectors u."""
        width_squared = self._width_squared(points)
        return project(self._displacement(points)) ** 2 / width_squared**2 - 1.0 / width_squared

    def sample_start(self, keys: tf.Tensor, size: int, dtype) -> tf.Tensor:
        """Draws points of q."""
        return self.sample(keys, size, dtype)

    def fold(self, free: tf.Tensor) -> tf.Tensor:
        """Returns the points themselves."""
        return free

    def log_measure(self, free: tf.Tensor) -> tf.Tensor:
        """Returns ln q, up to a constant."""
        return 2.0 * self.log_window(free)

    def packet_gradient(self, free: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """Returns half the gradient, without the window's part."""
        return 0.5 * gradient - self.window_gradient(free)

    def mean_deviation(self, free: tf.Tensor) -> tf.Tensor:
        """Returns the mean deviation of the points."""
        return tf.reduce_mean(tf.math.reduce_std(free, 0))

    def limits(self, dimensions: int) -> list[tuple[float, float]]:
        """Returns x0 - 9 s and x0 + 9 s."""
        reach = _LIMIT_WIDTHS * float(self.width)
        centre = [float(c) for c in self.centre]
        return [(c - reach, c + reach) for c in centre]

    def reference_point(self, size: int) -> tf.Tensor:
        """Returns x0."""
        return as_tensor(self.centre, tf.float64)


Domain = Box | GaussianWindow | SineWindow


def to_tensors(domain: Domain, dtype=tf.float64) -> tuple[tf.Tensor, ...]:
    """Returns a domain's fields as tensors, for a program's arguments."""
    return tuple(tf.convert_to_tensor(value, dtype) for value in dataclasses.astuple(domain))
