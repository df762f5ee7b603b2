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


def compute_columns(
    displacement: tf.Tensor,
    packet_gradient: tf.Tensor,
    window_gradient: tf.Tensor,
    curvature: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """Returns what is summed along axes: float64 [n, axes] of each name.

    Args:
      displacement: x_u - reference, [n, axes].
      packet_gradient: u.grad ln l.
      window_gradient: u.grad ln w.
      curvature: (u.grad)^2 w / w.
    """
    y, sl, t, h = (
        tf.cast(column, tf.float64)
        for column in (displacement, packet_gradient, window_gradient, curvature)
    )
    s = sl + t
    return {"y": y, "yy": y * y, "s": s, "ss": s * s, "ys": y * s, "ll": sl * sl, "h": h}


def sum_batch(
    weights: tf.Tensor, columns: Mapping[str, tf.Tensor], num_directions: int
) -> dict[str, tf.Tensor]:
    """Returns the sums of one batch.

    Args:
      weights: float64 [n].
      columns: See `compute_columns`.
      num_directions: The last that many axes enter the matrices.
    """
    sums = {
        name: tf.linalg.matvec(column, weights, transpose_a=True)
        for name, column in columns.items()
    }
    sums["weight"] = tf.reduce_sum(weights)
    sums["weight_squared"] = tf.reduce_sum(weights**2)
    if num_directions:
        y, s = (columns[name][:, -num_directions:] for name in "ys")
        weighted_y, weighted_s = weights[:, None] * y, weights[:, None] * s
        sums["matrix_yy"] = tf.matmul(weighted_y, y, transpose_a=True)
        sums["matrix_ys"] = tf.matmul(weighted_y, s, transpose_a=True)
        sums["matrix_ss"] = tf.matmul(weighted_s, s, transpose_a=True)
    return sums


def compute_chain_increments(
    columns: Mapping[str, tf.Tensor], num_directions: int
) -> dict[str, tf.Tensor]:
    """Returns what one step adds to each chain's sums, with weights of 1.

    Args:
      columns: See `compute_columns`; the first axis is the chain.
      num_directions: See `sum_batch`.
    """
    ones = tf.ones_like(columns["y"][:, 0])
    increments = {**columns, "weight": ones, "weight_squared": ones}
    if num_directions:
        y, s = (columns[name][:, -num_directions:] for name in "ys")
        for name, first, second in (("yy", y, y), ("ys", y, s), ("ss", s, s)):
            increments[f"matrix_{name}"] = first[:, :, None] * second[:, None]
    return increments


class GroupSums:
    """Sums of every group, added to batch by batch."""

    def __init__(self, count: int):
        """Makes `count` empty groups."""
        self._count = count
        self._arrays: dict[str, np.ndarray] = {}

    def add(self, group: int, sums: Mapping[str, np.ndarray]) -> None:
        """Adds the sums of one batch to a group."""
        for name, value in sums.items():
            value = np.asarray(value)
            if name not in self._arrays:
                self._arrays[name] = np.zeros((self._count, *value.shape))
            self._arrays[name][group] += value

    def as_arrays(self) -> dict[str, np.ndarray]:
        """Returns arrays whose first axis is the group."""
        return dict(self._arrays)


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


def sum_groups(groups: Sums) -> dict[str, np.ndarray]:
    """Returns the sums of all groups together."""
    return {name: sums.sum(0) for name, sums in groups.items()}


def jackknife(
    groups: Sums, statistics: Callable[[Sums], dict[str, np.ndarray]], num_averaged: int = 1
) -> dict[str, Estimate]:
    """Estimates ratios of sums, their errors and the bias of first order.

    Every group is left out once (Quenouille 1956; Tukey 1958). Where a value
    is nearly stationary, as a product near 1/2 is, its slope says little of
    its error: twice the square of the bias, the variance of a term of second
    order in one normal number, is added.

    Args:
      groups: Arrays whose first axis is the group, two groups or more.
      statistics: Sums -> named arrays; leading axes pass through.
      num_averaged: Of how many axes each value is a mean, whose terms of second
        order are not alike.

    Returns:
      Of each: value - bias, and the standard error.
    """
    values, without = leave_one_out(groups, statistics)
    return {
        name: jackknife_estimate(value, without[name], num_averaged)
        for name, value in values.items()
    }


def leave_one_out(
    groups: Sums, statistics: Callable[[Sums], dict[str, np.ndarray]]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns statistics of all groups, and those without each of them."""
    totals = sum_groups(groups)
    without = {name: totals[name] - groups[name] for name in totals}
    return statistics(totals), statistics(without)


def jackknife_estimate(value: np.ndarray, without: np.ndarray, num_averaged: int = 1) -> Estimate:
    """Returns the jackknife's estimate.

    Args:
      value: Of all groups.
      without: The same without each of them: [groups, ...].
      num_averaged: See `jackknife`.
    """
    count, mean = len(without), without.mean(0)
    variance = ((without - mean) ** 2).mean(0) * (count - 1)
    bias = (count - 1) * (mean - value)
    return Estimate(value - bias, np.sqrt(variance + 2 * bias**2 / num_averaged))


def compute_effective_size(groups: Sums) -> float:
    """Returns (sum v)^2 / sum v^2 (Kish 1965)."""
    totals = sum_groups(groups)
    if totals["weight_squared"] <= 0:
        return 0.0
    return float(totals["weight"] ** 2 / totals["weight_squared"])
