r"""Response frequency: how fast a network's output varies over its *inputs*.

The F-principle (supplement S4, ref. 6) says that training fits low response frequencies first. They
belong to the map from an image, a point with as many dimensions as pixels, to the output: the
Fourier transform is over the space of images. They are not the frequencies of the pixels of one
image (supplement Fig. 5, qup/robustness/spectrum.py). (The paper's sigma_p is the spread of the
response frequency of the loss.)

The transform in so many dimensions cannot be computed. Xu et al. give two substitutes: the
transform along one line through the images (`compute_line_response`), and the split into the result
of smoothing over neighbouring images and the rest (`compute_filtered_errors`).

```python
low, high = compute_filtered_errors(images, targets, outputs, width=2.0)
low.value  # |outputs - targets| / |targets| of the smooth part
```

Reference: Xu, Zhang, Luo, Xiao, Ma 2019, arXiv 1901.06523.
"""

from typing import NamedTuple

import numpy as np

from qup.core import errors, extras
from qup.robustness import spectrum

with extras.explain_missing("qup.robustness.response"):
    from scipy.sparse.linalg import svds

_NUM_JACKKNIFE_GROUPS = 20
# Rows of the distance matrix in memory.
_BLOCK_SIZE = 500


def compute_typical_distance(points: np.ndarray, max_points: int = 1000) -> float:
    """Returns the median L2 distance between points, a scale for widths.

    Args:
      points: float [n, dimensions], at least two.
      max_points: Use only the first `max_points` points.
    """
    if len(points) < 2:
        raise errors.InputError(f"Distances need at least 2 images; got {len(points)}.")
    subset = np.asarray(points[:max_points], np.float64)
    upper = np.triu_indices(len(subset), 1)
    return float(np.sqrt(np.median(_compute_squared_distances(subset, subset)[upper])))


def _compute_squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    squared_norms = (first**2).sum(1)[:, None] + (second**2).sum(1)
    return np.maximum(squared_norms - 2.0 * first @ second.T, 0.0)


def smooth_values(points: np.ndarray, values: np.ndarray, width: float) -> np.ndarray:
    """Averages values over neighbours, with Gaussian weights of the distance.

    low_i = sum_j w_ij y_j / sum_j w_ij, w_ij = exp(-|x_i - x_j|^2 / 2 s^2): the result has response
    frequencies up to about 1 / s.

    Args:
      points: float [n, dimensions].
      values: float [n, k].
      width: s, in the units of the points, above 0.

    Returns:
      float64 [n, k].
    """
    errors.check_number("width", width, above=0)
    points = np.asarray(points, np.float64)
    blocks = []
    for start in range(0, len(points), _BLOCK_SIZE):
        squared_distances = _compute_squared_distances(points[start : start + _BLOCK_SIZE], points)
        weights = np.exp(-0.5 * squared_distances / width**2)
        blocks.append(weights @ values / weights.sum(1, keepdims=True))
    return np.concatenate(blocks)


def compute_filtered_errors(
    points: np.ndarray, targets: np.ndarray, outputs: np.ndarray, width: float
) -> tuple[spectrum.RatioEstimate, spectrum.RatioEstimate]:
    """Returns the relative errors at low and at high response frequencies.

    Targets and outputs are each split into the smoothed part (low) and the rest (high). Each error
    is the root of a sum of squares, relative to that of the targets' part.

    Args:
      points: float [n, dimensions], images as points.
      targets: float [n, classes], one-hot labels.
      outputs: float [n, classes], probabilities.
      width: See `smooth_values`.

    Returns:
      (low, high); their standard errors over images ignore the uncertainty of the smoothing.
    """
    stacked = np.concatenate([targets, outputs], 1).astype(np.float64)
    low = smooth_values(points, stacked, width)
    return tuple(_compute_relative_error(component) for component in (low, stacked - low))


def _compute_relative_error(stacked: np.ndarray) -> spectrum.RatioEstimate:
    targets, outputs = np.split(stacked, 2, axis=1)
    squared_errors = ((outputs - targets) ** 2).sum(1)
    return spectrum.compute_ratio(squared_errors, (targets**2).sum(1))


class LineResponse(NamedTuple):
    """Response along one line, by frequency.

    Attributes:
      error: float64 [k], |F(outputs) - F(targets)| / |F(targets)|.
      stderr: float64 [k], by a jackknife of 20 groups of images.
      target: float64 [k], |F(targets)|, over all classes.
      noise: float64 [k], the expected |F(targets)| of shuffled labels; uneven positions have a
        transform as well.
    """

    error: np.ndarray
    stderr: np.ndarray
    target: np.ndarray
    noise: np.ndarray


def project_to_axis(points: np.ndarray) -> np.ndarray:
    """Returns the position of each point on the first principal axis, in [0, 1]."""
    centred = np.asarray(points, np.float64) - np.mean(points, 0)
    start = np.ones(min(centred.shape))
    _, _, axes = svds(centred, k=1, v0=start)
    positions = centred @ axes[0]
    return (positions - positions.min()) / max(float(np.ptp(positions)), 1e-30)


def compute_line_response(
    positions: np.ndarray, targets: np.ndarray, outputs: np.ndarray, frequencies: np.ndarray
) -> LineResponse:
    """Compares outputs with targets along a line, frequency by frequency.

    F_k(y) = 1/n sum_i y_i exp(-2 pi i k z_i), the transform at unevenly spaced positions z_i;
    magnitudes are over all classes.

    Args:
      positions: float [n] in [0, 1], see `project_to_axis`.
      targets: float [n, classes], one-hot labels.
      outputs: float [n, classes], probabilities.
      frequencies: [k], cycles per length of the line.
    """
    count = len(positions)
    waves = np.exp(-2j * np.pi * np.outer(frequencies, positions))
    stacked = np.concatenate([targets, outputs], 1)
    groups = min(_NUM_JACKKNIFE_GROUPS, count)
    group_sums = np.stack([waves[:, i::groups] @ stacked[i::groups] for i in range(groups)])
    total = group_sums.sum(0)
    error, target = _compute_line_errors(total / count)
    jackknife_errors = np.stack(
        [_compute_line_errors(total - group_sum)[0] for group_sum in group_sums]
    )
    spread = ((jackknife_errors - jackknife_errors.mean(0)) ** 2).sum(0)
    stderr = np.sqrt(spread * (groups - 1) / groups)
    # E |F_k|^2 = |mean y|^2 |D_k|^2 + var(y) (1 - |D_k|^2) / n, with D_k the transform of the
    # positions.
    density = np.abs(waves.mean(1)) ** 2
    noise = np.sum(np.mean(targets, 0) ** 2) * density
    noise += np.var(targets, axis=0).sum() * (1.0 - density) / count
    return LineResponse(error, stderr, target, np.sqrt(noise))


def _compute_line_errors(stacked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    targets, outputs = np.split(stacked, 2, axis=1)
    target_norm = np.linalg.norm(targets, axis=1)
    error_norm = np.linalg.norm(outputs - targets, axis=1)
    return error_norm / np.maximum(target_norm, 1e-30), target_norm
