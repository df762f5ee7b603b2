"""Mixing of Markov chains along every axis.

Split R-hat: Gelman et al. 2013, Bayesian Data Analysis, section 11.4.
"""

from collections.abc import Mapping

import numpy as np
from scipy import stats

from qup.core import errors
from qup.uncertainty.checks import FALSE_ALARM_RATE
from qup.uncertainty.relation import Estimate, Sums


class TooFewError(errors.InputError):
    """Too few effective samples for an error.

    Attributes:
      size: Number of effective samples.
      count: Number of points or states.
    """

    def __init__(self, message: str, *, size: float, count: int):
        super().__init__(message)
        self.size, self.count = size, count


def compute_r_hat(groups: Sums) -> np.ndarray:
    """Returns the larger split R-hat of x and s along every axis: [axes]."""
    return np.maximum(*(_compute_r_hat(groups, name) for name in "ys"))


def _compute_r_hat(groups: Sums, name: str) -> np.ndarray:
    """Compares the variance between half chains with that within them."""
    count = groups["weight"][:, None]
    means = groups[name] / count
    squares = groups[f"{name}{name}"] / count - means**2
    within = (squares * count / np.maximum(count - 1, 1)).mean(0)
    between = means.var(0, ddof=1)
    length = count.mean()
    # Chains that do not move agree only at the same point.
    ratio = np.where(between > 0, np.inf, 0.0)
    np.divide(between, within, out=ratio, where=within > 0)
    return np.sqrt((length - 1) / length + ratio)


def compute_effective_sizes(estimates: Mapping[str, Estimate]) -> np.ndarray:
    """Returns sigma_x^2 / stderr(mean_x)^2 along every axis: [axes]."""
    mean_errors = np.maximum(estimates["mean_x"].stderr, 1e-300)
    return (estimates["sigma_x"].value / mean_errors) ** 2


def check_effective_size(
    sizes: np.ndarray, largest_r_hat: float, steps: int, chains: int, min_effective_samples: float
) -> None:
    """Raises a TooFewError where the median of the effective sizes is below the minimum.

    Args:
      sizes: See `compute_effective_sizes`.
      largest_r_hat: Over the axes.
      steps: Steps of each chain.
      chains: Number of chains.
      min_effective_samples: The minimum.
    """
    median_size = float(np.median(sizes))
    if median_size >= min_effective_samples:
        return
    suggested_steps = int(np.ceil(1.3 * steps * min_effective_samples / max(median_size, 1.0)))
    raise TooFewError(
        f"{steps * chains} states of {chains} chains have the effective size "
        f"{max(median_size, 0.0):.0f}; errors need at least {min_effective_samples:.0f}. "
        f"The largest R-hat is {largest_r_hat:.3f}. Use more steps (num_steps of about "
        f"{suggested_steps:,}) or more chains. If R-hat stays large, the chains do not mix: use a "
        "narrower window.",
        size=max(median_size, 0.0),
        count=steps * chains,
    )


def mask_unknown(
    estimates: Mapping[str, Estimate],
    sizes: np.ndarray,
    degrees_of_freedom: int,
    min_effective_samples: float,
) -> dict[str, Estimate]:
    """Returns the estimates with NaN along axes of significantly too few effective samples.

    Args:
      estimates: Arrays [axes]; exact ones, whose error is 0, stay.
      sizes: See `compute_effective_sizes`.
      degrees_of_freedom: Of their errors.
      min_effective_samples: See `check_effective_size`.
    """
    # The square of an error has a chi-square distribution.
    max_ratio = (
        stats.chi2.isf(FALSE_ALARM_RATE / len(sizes), degrees_of_freedom) / degrees_of_freedom
    )
    is_unknown = sizes * max_ratio < min_effective_samples
    masked = {}
    for name, estimate in estimates.items():
        is_masked = is_unknown & (estimate.stderr > 0)
        masked[name] = Estimate(
            *(np.where(is_masked, np.nan, array) for array in (estimate.value, estimate.stderr))
        )
    return masked
