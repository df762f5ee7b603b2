"""Where a packet lives, and the window that it is multiplied with.

A domain gives the window w, by ln w and its derivatives, and a density
q = w^2 / norm that can be sampled exactly: with it every mean over
rho = psi^2 = l^2 w^2 / norm is a mean over q with weights l^2.

| domain | w | vanishes at its boundary |
| --- | --- | --- |
| `Box` | 1 on [lower, upper]^M | no |
| `GaussianWindow` | exp(-|x - x0|^2 / 2 s^2) on R^M | yes |
| `SineWindow` | prod sin(pi (x_i - lower) / side) | yes |

Fields may be tensors, so that a domain can be rebuilt inside a program.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from qup import draws

# A Gaussian's density is below 1e-35 of its height beyond this many widths.
_WIDTHS = 9.0


def _typed(value, dtype) -> tf.Tensor:
    """Returns a number or a tensor in a type, without a way by float32."""
    if tf.is_tensor(value):
        return tf.cast(value, dtype)
    return tf.constant(value, dtype)


class _Cube:
    """What lives between two faces in every coordinate."""

    lower: Any
    upper: Any

    @property
    def side(self):
        """Length of an edge."""
        return self.upper - self.lower

    def fold(self, free: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Folds R onto the box by the triangle wave of period 2 sides.

        Args:
          free: [n, size].

        Returns:
          (points, signs): d points / d free is the sign.
        """
        phase = tf.math.floormod((free - self.lower) / self.side, 2.0)
        signs = tf.where(phase < 1.0, tf.ones_like(phase), -tf.ones_like(phase))
        unit = 1.0 - tf.abs(phase - 1.0)
        return self.lower + self.side * unit, signs

    def limits(self, dimensions: int) -> list[tuple[float, float]]:
        """Returns where quadrature integrates, a pair a coordinate."""
        return [(float(self.lower), float(self.upper))] * dimensions

    def reference(self, size: int) -> tf.Tensor:
        """Returns the point from which moments are counted: [size]."""
        middle = _typed((self.lower + self.upper) / 2, tf.float64)
        return tf.fill((size,), middle)


@dataclasses.dataclass(frozen=True)
class Box(_Cube):
    """The box [lower, upper]^M, without a window."""

    lower: Any = 0.0
    upper: Any = 1.0
    vanishes = False
    name = "box"

    def sample(self, rows: tf.Tensor, size: int, dtype) -> tf.Tensor:
        """Draws from q, one point for each key: [n, size]."""
        unit = tf.cast(draws.uniform(rows, (size,)), dtype)
        return self.lower + self.side * unit

    def log_window(self, points: tf.Tensor) -> tf.Tensor:
        """Returns ln w: [n]."""
        return tf.zeros_like(points[:, 0])

    def slope(self, points: tf.Tensor) -> tf.Tensor:
        """Returns the gradient of ln w: [n, size]."""
        return tf.zeros_like(points)

    def curvature(self, points: tf.Tensor, project: Callable) -> tf.Tensor:
        """Returns (u.grad)^2 w / w along every axis u: [n, axes]."""
        return tf.zeros_like(project(points))


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

    def sample(self, rows: tf.Tensor, size: int, dtype) -> tf.Tensor:
        """Draws from q = N(x0, s^2 / 2)."""
        noise = tf.cast(draws.normal(rows, (size,)), dtype)
        spread = _typed(self.width, dtype) * math.sqrt(0.5)
        return _typed(self.centre, dtype) + spread * noise

    def _away(self, points: tf.Tensor) -> tf.Tensor:
        return points - _typed(self.centre, points.dtype)

    def _square(self, points: tf.Tensor) -> tf.Tensor:
        return _typed(self.width, points.dtype) ** 2

    def log_window(self, points: tf.Tensor) -> tf.Tensor:
        """Returns ln w: [n]."""
        far = tf.reduce_sum(self._away(points) ** 2, 1)
        return -0.5 * far / self._square(points)

    def slope(self, points: tf.Tensor) -> tf.Tensor:
        """Returns -(x - x0) / s^2."""
        return -self._away(points) / self._square(points)

    def curvature(self, points: tf.Tensor, project: Callable) -> tf.Tensor:
        """Returns (u.(x - x0))^2 / s^4 - 1 / s^2, for unit vectors u."""
        square = self._square(points)
        return project(self._away(points)) ** 2 / square**2 - 1.0 / square

    def fold(self, free: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the points themselves, and signs of 1."""
        return free, tf.ones_like(free)

    def limits(self, dimensions: int) -> list[tuple[float, float]]:
        """Returns x0 - 9 s and x0 + 9 s."""
        reach = _WIDTHS * float(self.width)
        centre = [float(c) for c in self.centre]
        return [(c - reach, c + reach) for c in centre]

    def reference(self, size: int) -> tf.Tensor:
        """Returns x0."""
        return _typed(self.centre, tf.float64)


@dataclasses.dataclass(frozen=True)
class SineWindow(_Cube):
    """prod sin(pi (x_i - lower) / side): zero on the faces of the box."""

    lower: Any = 0.0
    upper: Any = 1.0
    vanishes = True
    name = "sine"

    def sample(self, rows: tf.Tensor, size: int, dtype) -> tf.Tensor:
        """Draws from q, the product of 2 sin^2."""
        both = tf.cast(draws.uniform(rows, (2, size)), dtype)
        unit, coin = both[:, 0], both[:, 1]
        # Where u is refused, u + 1/2 mod 1 has sin^2 = cos^2 of u.
        kept = coin < tf.sin(math.pi * unit) ** 2
        other = tf.math.floormod(unit + 0.5, 1.0)
        return self.lower + self.side * tf.where(kept, unit, other)

    def _angle(self, points: tf.Tensor) -> tf.Tensor:
        return math.pi * (points - self.lower) / self.side

    def log_window(self, points: tf.Tensor) -> tf.Tensor:
        """Returns ln w: [n]."""
        tiny = tf.constant(1e-30, points.dtype)
        height = tf.maximum(tf.abs(tf.sin(self._angle(points))), tiny)
        return tf.reduce_sum(tf.math.log(height), 1)

    def slope(self, points: tf.Tensor) -> tf.Tensor:
        """Returns (pi / side) cot of the angle."""
        return math.pi / self.side / tf.tan(self._angle(points))

    def curvature(self, points: tf.Tensor, project: Callable) -> tf.Tensor:
        """Returns (u.t)^2 - sum u_i^2 t_i^2 - (pi / side)^2, t = grad ln w.

        `project` is asked for the squares by the squared axes.
        """
        slope = self.slope(points)
        squares = project(slope**2, squared=True)
        return project(slope) ** 2 - squares - (math.pi / self.side) ** 2


Domain = Box | GaussianWindow | SineWindow


def tensors(domain: Domain, dtype=tf.float64) -> tuple[tf.Tensor, ...]:
    """Returns a domain's fields as tensors, for a program's arguments."""
    return tuple(
        tf.convert_to_tensor(value, dtype)
        for value in dataclasses.astuple(domain)
    )
