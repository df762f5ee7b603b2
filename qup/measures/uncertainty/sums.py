"""Weighted sums over samples, in groups, and what a jackknife makes of them.

Memory does not depend on the number of samples: a group is a sum.

| name | sum of weight times | shape |
| --- | --- | --- |
| weight, weight_squared | 1, weight | [] |
| y, yy | x_u - reference, its square | [axes] |
| s, ss, ys | s_u = u.grad ln psi, its square, y s_u | [axes] |
| ll | (u.grad ln l)^2 | [axes] |
| h | (u.grad)^2 w / w | [axes] |
| matrix_yy, matrix_ss, matrix_ys | outer products along directions | [k, k] |
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

Sums = Mapping[str, np.ndarray]


def columns(
    away: tf.Tensor,
    packet_slope: tf.Tensor,
    window_slope: tf.Tensor,
    curvature: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """Returns what is summed along axes: float64 [n, axes] of each name.

    Args:
      away: x_u - reference, [n, axes].
      packet_slope: u.grad ln l.
      window_slope: u.grad ln w.
      curvature: (u.grad)^2 w / w.
    """
    y, sl, t, h = (
        tf.cast(part, tf.float64)
        for part in (away, packet_slope, window_slope, curvature)
    )
    s = sl + t
    return {"y": y, "yy": y * y, "s": s, "ss": s * s, "ys": y * s,
            "ll": sl * sl, "h": h}  # fmt: skip


def of_batch(
    weights: tf.Tensor, found: Mapping[str, tf.Tensor], directions: int
) -> dict[str, tf.Tensor]:
    """Returns the sums of one batch.

    Args:
      weights: float64 [n].
      found: See `columns`.
      directions: The last that many axes enter the matrices.
    """
    reduced = {
        name: tf.linalg.matvec(column, weights, transpose_a=True)
        for name, column in found.items()
    }
    reduced["weight"] = tf.reduce_sum(weights)
    reduced["weight_squared"] = tf.reduce_sum(weights**2)
    if directions:
        y, s = (found[name][:, -directions:] for name in "ys")
        heavy_y, heavy_s = weights[:, None] * y, weights[:, None] * s
        reduced["matrix_yy"] = tf.matmul(heavy_y, y, transpose_a=True)
        reduced["matrix_ys"] = tf.matmul(heavy_y, s, transpose_a=True)
        reduced["matrix_ss"] = tf.matmul(heavy_s, s, transpose_a=True)
    return reduced


def of_chains(
    found: Mapping[str, tf.Tensor], directions: int
) -> dict[str, tf.Tensor]:
    """Returns what one step adds to each chain's sums, with weights of 1.

    Args:
      found: See `columns`; the first axis is the chain.
      directions: See `of_batch`.
    """
    one = tf.ones_like(found["y"][:, 0])
    reduced = {**found, "weight": one, "weight_squared": one}
    if directions:
        y, s = (found[name][:, -directions:] for name in "ys")
        for name, left, right in (("yy", y, y), ("ys", y, s), ("ss", s, s)):
            reduced[f"matrix_{name}"] = left[:, :, None] * right[:, None]
    return reduced


class Groups:
    """Sums of every group, added to batch by batch."""

    def __init__(self, count: int):
        """Makes `count` empty groups."""
        self._count = count
        self._sums: dict[str, np.ndarray] = {}

    def add(self, group: int, found: Mapping[str, np.ndarray]) -> None:
        """Adds the sums of one batch to a group."""
        for name, value in found.items():
            value = np.asarray(value)
            if name not in self._sums:
                self._sums[name] = np.zeros((self._count, *value.shape))
            self._sums[name][group] += value

    def sums(self) -> dict[str, np.ndarray]:
        """Returns arrays whose first axis is the group."""
        return dict(self._sums)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with its standard error, along every axis.

    Attributes:
      value: float64; NaN where it could not be estimated.
      stderr: Of the same shape; None where nothing was sampled.
    """

    value: np.ndarray
    stderr: np.ndarray | None = None

    def __getitem__(self, index) -> "Estimate":
        error = None if self.stderr is None else self.stderr[index]
        return Estimate(self.value[index], error)


def total(groups: Sums) -> dict[str, np.ndarray]:
    """Returns the sums of all groups together."""
    return {name: each.sum(0) for name, each in groups.items()}


def jackknife(
    groups: Sums,
    statistics: Callable[[Sums], dict[str, np.ndarray]],
    averaged: int = 1,
) -> dict[str, Estimate]:
    """Estimates ratios of sums, their errors and the bias of first order.

    Every group is left out once (Quenouille 1956; Tukey 1958). Where a value
    is nearly stationary, as a product near 1/2 is, its slope says little of
    its error: twice the square of the bias, the variance of a term of second
    order in one normal number, is added.

    Args:
      groups: Arrays whose first axis is the group, two groups or more.
      statistics: Sums -> named arrays; leading axes pass through.
      averaged: Of how many axes each value is a mean, whose terms of second
        order are not alike.

    Returns:
      Of each: value - bias, and the standard error.
    """
    plain, without = left_out(groups, statistics)
    return {
        name: of_left_out(value, without[name], averaged)
        for name, value in plain.items()
    }


def left_out(
    groups: Sums, statistics: Callable[[Sums], dict[str, np.ndarray]]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns statistics of all groups, and those without each of them."""
    every = total(groups)
    without = {name: every[name] - groups[name] for name in every}
    return statistics(every), statistics(without)


def of_left_out(
    value: np.ndarray, without: np.ndarray, averaged: int = 1
) -> Estimate:
    """Returns the jackknife's estimate.

    Args:
      value: Of all groups.
      without: The same without each of them: [groups, ...].
      averaged: See `jackknife`.
    """
    count, mean = len(without), without.mean(0)
    variance = ((without - mean) ** 2).mean(0) * (count - 1)
    bias = (count - 1) * (mean - value)
    return Estimate(value - bias, np.sqrt(variance + 2 * bias**2 / averaged))


def effective_sample_size(groups: Sums) -> float:
    """Returns (sum v)^2 / sum v^2 (Kish 1965)."""
    every = total(groups)
    if every["weight_squared"] <= 0:
        return 0.0
    return float(every["weight"] ** 2 / every["weight_squared"])
