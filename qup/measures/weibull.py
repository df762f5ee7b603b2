"""The end point of a reverse Weibull distribution, by maximum likelihood.

```python
end, p_value = end_point(maxima)
```
"""

import numpy as np
from scipy import optimize, special, stats

# Shapes from which the likelihood is climbed: it has several maxima.
_START_SHAPES = (0.1, 1, 5, 10, 20, 50, 100)
# The weight of the squared shape; large shapes have end points far away.
_SHAPE_PENALTY = 0.01


def fit_reverse_weibull(sample: np.ndarray) -> tuple[float, float]:
    """Fits a reverse Weibull distribution to maxima.

    Of the fits from several shapes, the one whose distribution is nearest
    to the sample's counts.

    Args:
      sample: float64 [n], not all equal.

    Returns:
      (end, p_value): the largest number the distribution can give, and the
      Kolmogorov-Smirnov p-value of the fit.
    """
    largest, span = sample.max(), np.ptp(sample)
    # In [0, 1], smallest first: how far each is below the largest.
    gaps = np.sort((largest - sample) / span)
    fits = [_maximise_likelihood(gaps, shape) for shape in _START_SHAPES]
    ks_distances = [_compute_ks_distance(gaps, *fit) for fit in fits]
    best = int(np.argmin(ks_distances))
    p_value = stats.kstwo.sf(ks_distances[best], len(gaps))
    return float(largest - span * fits[best][1]), float(p_value)


def _maximise_likelihood(gaps: np.ndarray, shape: float) -> tuple[float, float]:
    """Returns the (shape, location) that a climb from `shape` ends at."""
    # The location whose distribution has the sample's mean and variance.
    mean, square = (special.gamma(1 + power / shape) for power in (1, 2))
    scale = gaps.std() / np.sqrt(max(square - mean**2, 1e-12))
    start = min(gaps.mean() - scale * mean, -1e-3)
    optimum = optimize.fmin(_compute_penalised_loss, (shape, start), (gaps,), disp=False)
    return float(optimum[0]), float(optimum[1])


def _compute_log_scale(shape: float, logs: np.ndarray) -> float:
    """Log of s, the best of its shape: s^c = mean (x - loc)^c."""
    max_log = logs[-1]
    share = np.exp(shape * (logs - max_log)).sum() / logs.size
    return max_log + np.log(share) / shape


def _compute_penalised_loss(parameters: np.ndarray, gaps: np.ndarray) -> float:
    """Negative log likelihood at the best scale, and the penalty."""
    shape, location = parameters
    if shape <= 0 or location >= gaps[0]:
        return np.inf
    logs, count = np.log(gaps - location), gaps.size
    term = np.log(shape) - shape * _compute_log_scale(shape, logs) - 1
    # -sum_i [log(c/s ((x_i - loc)/s)^(c-1)) - ((x_i - loc)/s)^c] + a c^2,
    # where the last power sums to n at the best s.
    return _SHAPE_PENALTY * shape**2 - count * term - (shape - 1) * logs.sum()


def _compute_ks_distance(gaps: np.ndarray, shape: float, location: float) -> float:
    """Returns the greatest distance of the two distribution functions."""
    logs = np.log(gaps - location)
    cdf = -np.expm1(-np.exp(shape * (logs - _compute_log_scale(shape, logs))))
    ranks = np.arange(gaps.size + 1) / gaps.size
    return max((ranks[1:] - cdf).max(), (cdf - ranks[:-1]).max())
