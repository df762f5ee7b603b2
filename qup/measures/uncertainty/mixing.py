"""How well chains have mixed, along every axis.

Split R-hat: Gelman et al. 2013, Bayesian Data Analysis, section 11.4.
"""

from collections.abc import Mapping

import numpy as np
from scipy import stats

from qup import errors
from qup.measures.uncertainty.sums import Estimate, Sums

# That of all axes one is thought too poor by chance.
_CHANCE = 0.0027


class TooFewError(errors.InputError):
    """Too few effective samples for an error bar.

    Attributes:
      size: How many there are.
      count: Of how many points or states.
    """

    def __init__(self, message: str, *, size: float, count: int):
        """Takes the message for the user, and what was found."""
        super().__init__(message)
        self.size, self.count = size, count


def r_hat(groups: Sums) -> np.ndarray:
    """Returns the larger split R-hat of x and s along every axis: [axes]."""
    return np.maximum(*(_r_hat(groups, name) for name in "ys"))


def _r_hat(groups: Sums, name: str) -> np.ndarray:
    """Compares the variance between half chains with that within them."""
    count = groups["weight"][:, None]
    means = groups[name] / count
    squares = groups[2 * name] / count - means**2
    within = (squares * count / np.maximum(count - 1, 1)).mean(0)
    between = means.var(0, ddof=1)
    length = count.mean()
    # Chains that stand still agree only where they stand together.
    ratio = np.where(between > 0, np.inf, 0.0)
    np.divide(between, within, out=ratio, where=within > 0)
    return np.sqrt((length - 1) / length + ratio)


def effective(estimates: Mapping[str, Estimate]) -> np.ndarray:
    """Returns sigma_x^2 / stderr(mean_x)^2 along every axis: [axes]."""
    errors_of_mean = np.maximum(estimates["mean_x"].stderr, 1e-300)
    return (estimates["sigma_x"].value / errors_of_mean) ** 2


def check(
    sizes: np.ndarray, furthest: float, steps: int, chains: int, least: float
) -> None:
    """Raises a TooFewError where states are worth too few samples.

    Args:
      sizes: See `effective`.
      furthest: The largest R-hat.
      steps: Of each chain.
      chains: How many there are.
      least: How many effective samples the median of the axes needs.
    """
    middle = float(np.median(sizes))
    if middle >= least:
        return
    more = int(np.ceil(1.3 * steps * least / max(middle, 1.0)))
    raise TooFewError(
        f"{steps * chains} states of {chains} chains weigh as much as "
        f"{max(middle, 0.0):.0f} independent ones, fewer than the {least:.0f} "
        f"an error bar needs; the largest R-hat is {furthest:.3f}. Take more "
        f"steps (num_steps of about {more:,}) or more chains; where R-hat "
        "stays large they do not meet: take a narrower window.",
        size=max(middle, 0.0), count=steps * chains,
    )  # fmt: skip


def known(
    estimates: Mapping[str, Estimate],
    sizes: np.ndarray,
    freedom: int,
    least: float,
) -> dict[str, Estimate]:
    """Returns NaN along axes whose effective size is surely below `least`.

    Args:
      estimates: Arrays [axes].
      sizes: See `effective`.
      freedom: Degrees of freedom of their errors.
      least: See `check`.

    Returns:
      The estimates; what has no error is exact and stays.
    """
    # The square of an error is known as well as chi-square is.
    most = stats.chi2.isf(_CHANCE / len(sizes), freedom) / freedom
    lost = sizes * most < least
    found = {}
    for name, of in estimates.items():
        blank = lost & (of.stderr > 0)
        found[name] = Estimate(
            *(np.where(blank, np.nan, part) for part in (of.value, of.stderr))
        )
    return found
