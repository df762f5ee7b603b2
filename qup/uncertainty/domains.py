"""Domains of a packet, and the window that multiplies it.

A domain has a window w, by ln w and its derivatives, and samples q = w^2 / norm exactly. So every
mean over rho = psi^2 = l^2 w^2 / norm is a mean over q with weights l^2.

| domain | w | vanishes at its boundary |
| --- | --- | --- |
| `Box` | 1 on [lower, upper]^M | no |
| `GaussianWindow` | exp(-|x - x0|^2 / 2 s^2) on R^M | yes |
| `SineWindow` | prod sin(pi (x_i - lower) / side) | yes |

Markov chains run in free coordinates, R^k, without walls and without zeros of w: see
`sample_start`, `fold`, `log_measure`, `packet_gradient` and `mean_deviation`.

Fields may be tensors, so that a compiled program can rebuild a domain from its arguments.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from qup.core import prng


def _as_tensor(value, dtype) -> tf.Tensor:
    """Converts a number or a tensor without rounding to float32 in between."""
    if tf.is_tensor(value):
        return tf.cast(value, dtype)
    return tf.constant(value, dtype)


class _BoxDomain:
    """A domain between two faces in every coordinate."""

    lower: Any
    upper: Any

    @property
    def side(self):
        """Length of an edge."""
        return self.upper - self.lower

    def limits(self, dimensions: int) -> list[tuple[float, float]]:
        """Returns the limits of quadrature, a pair per coordinate."""
        return [(float(self.lower), float(self.upper))] * dimensions

    def reference_point(self, size: int) -> tf.Tensor:
        """Returns the origin of moments: float64 [size]."""
        return tf.fill((size,), _as_tensor((self.lower + self.upper) / 2, tf.float64))


@dataclasses.dataclass(frozen=True)
class Box(_BoxDomain):
    """The box [lower, upper]^M, without a window."""

    lower: Any = 0.0
    upper: Any = 1.0
    vanishes = False
    name = "box"

    def sample(self, keys: tf.Tensor, size: int, dtype) -> tf.Tensor:
        """Samples q, one point per key: [n, size]."""
        unit = tf.cast(prng.uniform(keys, (size,)), dtype)
        return self.lower + self.side * unit

    def log_window(self, points: tf.Tensor) -> tf.Tensor:
        """Returns ln w: [n]."""
        return tf.zeros_like(points[:, 0])

    def window_gradient(self, points: tf.Tensor) -> tf.Tensor:
        """Returns the gradient of ln w: [n, size]."""
        return tf.zeros_like(points)

    def window_curvature(self, points: tf.Tensor, project: Callable) -> tf.Tensor:
        """Returns (u.grad)^2 w / w along every axis u: [n, axes]."""
        return tf.zeros_like(project(points))

    def sample_start(self, keys: tf.Tensor, size: int, dtype) -> tf.Tensor:
        """Samples free coordinates whose points have the density q: [n, k]."""
        return self.sample(keys, size, dtype)

    def _fold_phase(self, free: tf.Tensor) -> tf.Tensor:
        return tf.math.floormod((free - self.lower) / self.side, 2.0)

    def fold(self, free: tf.Tensor) -> tf.Tensor:
        """Returns the points of free coordinates: [n, size].

        The triangle wave of period 2 sides: rho(fold(u)) is rho reflected at the faces.
        """
        return self.lower + self.side * (1.0 - tf.abs(self._fold_phase(free) - 1.0))

    def log_measure(self, free: tf.Tensor) -> tf.Tensor:
        """Returns the log density of free coordinates without l^2: [n]."""
        return tf.zeros_like(free[:, 0])

    def packet_gradient(self, free: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """Returns grad ln l at the points: [n, size].

        Args:
          free: [n, k].
          gradient: Of 2 ln l(fold(free)) + `log_measure(free)`, [n, k].
        """
        is_rising = self._fold_phase(free) < 1.0
        return tf.where(is_rising, 0.5 * gradient, -0.5 * gradient)

    def mean_deviation(self, free: tf.Tensor) -> tf.Tensor:
        """Returns the mean over coordinates of the standard deviation over n: []."""
        return tf.reduce_mean(tf.math.reduce_std(self.fold(free), 0))


@dataclasses.dataclass(frozen=True)
class SineWindow(_BoxDomain):
    """prod sin(pi (x_i - lower) / side): zero on the faces of the box."""

    lower: Any = 0.0
    upper: Any = 1.0
    vanishes = True
    name = "sine"

    def sample(self, keys: tf.Tensor, size: int, dtype) -> tf.Tensor:
        """Samples q, the product of 2 sin^2."""
        uniform_pairs = tf.cast(prng.uniform(keys, (2, size)), dtype)
        unit, coin = uniform_pairs[:, 0], uniform_pairs[:, 1]
        # Instead of a rejected u take u + 1/2 mod 1, whose sin^2 is cos^2 of u.
        accepted = coin < tf.sin(math.pi * unit) ** 2
        shifted = tf.math.floormod(unit + 0.5, 1.0)
        return self.lower + self.side * tf.where(accepted, unit, shifted)

    def _compute_angle(self, points: tf.Tensor) -> tf.Tensor:
        return math.pi * (points - self.lower) / self.side

    def log_window(self, points: tf.Tensor) -> tf.Tensor:
        """Returns ln w: [n]."""
        eps = tf.constant(1e-30, points.dtype)
        window = tf.maximum(tf.abs(tf.sin(self._compute_angle(points))), eps)
        return tf.reduce_sum(tf.math.log(window), 1)

    def window_gradient(self, points: tf.Tensor) -> tf.Tensor:
        """Returns (pi / side) cot of the angle."""
        return math.pi / self.side / tf.tan(self._compute_angle(points))

    def window_curvature(self, points: tf.Tensor, project: Callable) -> tf.Tensor:
        """Returns (u.t)^2 - sum u_i^2 t_i^2 - (pi / side)^2, with t = grad ln w."""
        gradient = self.window_gradient(points)
        squared_terms = project(gradient**2, squared=True)
        return project(gradient) ** 2 - squared_terms - (math.pi / self.side) ** 2

    # 2 sin^2 is the density of the angle between a uniformly random direction of R^4 and the
    # first axis. So each coordinate is the angle of a vector z, whose density has no zero. In the
    # coordinate itself steps near a face are rejected, and chains stick there.

    def sample_start(self, keys: tf.Tensor, size: int, dtype) -> tf.Tensor:
        """Samples the vectors, one after the other: [n, 4 size]."""
        normal = tf.cast(prng.normal(keys, (size, 4)), dtype)
        scaled = math.sqrt(12.0) * tf.linalg.l2_normalize(normal, -1)
        return tf.reshape(scaled, (-1, 4 * size))

    def _split_vectors(self, free: tf.Tensor) -> tf.Tensor:
        return tf.reshape(free, (-1, free.shape[1] // 4, 4))

    def _split_polar(self, free: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Returns z along the axis, the rest of z, and the length of the rest."""
        vectors = self._split_vectors(free)
        along, rest = vectors[..., 0], vectors[..., 1:]
        eps = tf.constant(1e-30, free.dtype)
        return along, rest, tf.sqrt(tf.reduce_sum(rest**2, -1) + eps)

    def fold(self, free: tf.Tensor) -> tf.Tensor:
        """Returns each vector's polar angle, scaled to the box."""
        along, _, rest_length = self._split_polar(free)
        return self.lower + self.side / math.pi * tf.atan2(rest_length, along)

    def log_measure(self, free: tf.Tensor) -> tf.Tensor:
        """Returns the log density of vectors whose squared length is chi-square of 12.

        The density of the angle does not depend on that of the length; this one avoids 0, where
        the gradient of the angle is unbounded.
        """
        squared_lengths = tf.reduce_sum(self._split_vectors(free) ** 2, -1)
        eps = tf.constant(1e-30, free.dtype)
        log_densities = 4.0 * tf.math.log(squared_lengths + eps) - 0.5 * squared_lengths
        return tf.reduce_sum(log_densities, 1)

    def packet_gradient(self, free: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """Returns half the derivative by the angle."""
        along, rest, rest_length = self._split_polar(free)
        vectors = self._split_vectors(gradient)
        radial = tf.reduce_sum(vectors[..., 1:] * rest, -1)
        tangential = along * radial / rest_length - rest_length * vectors[..., 0]
        return 0.5 * math.pi / self.side * tangential

    def mean_deviation(self, free: tf.Tensor) -> tf.Tensor:
        """Returns the mean standard deviation of the vectors' components."""
        return tf.reduce_mean(tf.math.reduce_std(free, 0))


# Beyond this many widths the density is below 1e-35 of its maximum.
_LIMIT_WIDTHS = 9.0


@dataclasses.dataclass(frozen=True)
class GaussianWindow:
    """exp(-|x - x0|^2 / 2 s^2) on all of R^M, also outside [0, 1].

    Attributes:
      centre: x0, [size].
      width: s; |psi|^2 of a constant loss has the standard deviation s / sqrt(2).
    """

    centre: Any
    width: Any
    vanishes = True
    name = "window"

    def sample(self, keys: tf.Tensor, size: int, dtype) -> tf.Tensor:
        """Samples q = N(x0, s^2 / 2)."""
        noise = tf.cast(prng.normal(keys, (size,)), dtype)
        deviation = _as_tensor(self.width, dtype) * math.sqrt(0.5)
        return _as_tensor(self.centre, dtype) + deviation * noise

    def _compute_displacement(self, points: tf.Tensor) -> tf.Tensor:
        return points - _as_tensor(self.centre, points.dtype)

    def _square_width(self, points: tf.Tensor) -> tf.Tensor:
        return _as_tensor(self.width, points.dtype) ** 2

    def log_window(self, points: tf.Tensor) -> tf.Tensor:
        """Returns ln w: [n]."""
        squared_distance = tf.reduce_sum(self._compute_displacement(points) ** 2, 1)
        return -0.5 * squared_distance / self._square_width(points)

    def window_gradient(self, points: tf.Tensor) -> tf.Tensor:
        """Returns -(x - x0) / s^2."""
        return -self._compute_displacement(points) / self._square_width(points)

    def window_curvature(self, points: tf.Tensor, project: Callable) -> tf.Tensor:
        """Returns (u.(x - x0))^2 / s^4 - 1 / s^2, for unit vectors u."""
        width_squared = self._square_width(points)
        return (
            project(self._compute_displacement(points)) ** 2 / width_squared**2
            - 1.0 / width_squared
        )

    def sample_start(self, keys: tf.Tensor, size: int, dtype) -> tf.Tensor:
        """Samples q."""
        return self.sample(keys, size, dtype)

    def fold(self, free: tf.Tensor) -> tf.Tensor:
        """Returns the points themselves."""
        return free

    def log_measure(self, free: tf.Tensor) -> tf.Tensor:
        """Returns ln q, up to a constant."""
        return 2.0 * self.log_window(free)

    def packet_gradient(self, free: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """Returns half the gradient minus that of the window."""
        return 0.5 * gradient - self.window_gradient(free)

    def mean_deviation(self, free: tf.Tensor) -> tf.Tensor:
        """Returns the mean standard deviation of the points."""
        return tf.reduce_mean(tf.math.reduce_std(free, 0))

    def limits(self, dimensions: int) -> list[tuple[float, float]]:
        """Returns x0 - 9 s and x0 + 9 s."""
        reach = _LIMIT_WIDTHS * float(self.width)
        centre = [float(c) for c in self.centre]
        return [(c - reach, c + reach) for c in centre]

    def reference_point(self, size: int) -> tf.Tensor:
        """Returns x0."""
        return _as_tensor(self.centre, tf.float64)


Domain = Box | GaussianWindow | SineWindow


def to_tensors(domain: Domain, dtype=tf.float64) -> tuple[tf.Tensor, ...]:
    """Returns a domain's fields as tensors, as arguments of a compiled program."""
    return tuple(tf.convert_to_tensor(value, dtype) for value in dataclasses.astuple(domain))
