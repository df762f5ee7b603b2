"""Planted adversarial points, and readouts that tell them from the rest.

```python
plants = Plants.of(case, num_inner=64)
plants.points, plants.weights, plants.offsets, plants.separated
```
"""

from typing import NamedTuple

import numpy as np

from qup import compilation
from qup.masking.case import DiagnosisCase
from qup.masking.features import build_feature_fn
from qup.masking.points import sample_in_ball, sample_on_surface
from qup.masking.slopes import compute_losses

# Inner points lie in the ball of this share of the radius, so that the
# planted one, on the boundary, is not next to one of them.
_INNER_RADIUS = 0.95
# The border between the classes lies so far back from the planted point, as
# a share of its distance to the best inner one: near, so that little else
# is adversarial, and farther than float32 errs.
_BORDER_SHARE = 0.05
# Boundary points of which the one that stands out most is planted, so that
# random search hardly finds another like it.
NUM_CANDIDATES = 32
# Added to the kernel's diagonal, as a share of its mean. With less, readouts
# live on features that are zero round the image, and PGD with restarts misses
# up to 6 % of the points on small untrained ReLU networks (none at 1.0).
_RELATIVE_RIDGE = 1.0
# The least gap of logits at an image, where its own is smaller.
_MIN_GAP = 1e-2


class PlantedExamples(NamedTuple):
    """One planted point and readout an image.

    Attributes:
      points: float32 [m, ...], in the image's ball and in the box.
      weights: float32 [m, size].
      offsets: float32 [m].
      is_separated: bool [m], the readout tells the planted point from all
        inner ones.
    """

    points: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray
    is_separated: np.ndarray

    @classmethod
    def plant(cls, case: DiagnosisCase, num_inner: int) -> "PlantedExamples":
        """Plants a point for each image of a case.

        The readout has, at the image, the gap of logits that the classifier
        has there, so that a loss that underflows on one does on the other.

        Args:
          case: Gives images, budget and seed.
          num_inner: Points of class 0 an image, besides itself.
        """
        inner = [_compute_features(case, case.images)]
        for draw in range(num_inner):
            # Every other one on the surface: else any random corner would
            # stand out as the planted one does.
            sample = sample_on_surface if draw % 2 else sample_in_ball
            perturbed = sample(case, NUM_CANDIDATES + draw, _INNER_RADIUS * case.epsilon)
            inner.append(_compute_features(case, perturbed))
        candidates = [
            _compute_features(case, sample_on_surface(case, draw)) for draw in range(NUM_CANDIDATES)
        ]
        inner, candidates = np.stack(inner, 1), np.stack(candidates, 1)
        best = _find_farthest(inner, candidates)
        points = np.empty_like(case.images)
        for draw in np.unique(best):
            points[best == draw] = sample_on_surface(case, draw)[best == draw]
        gaps = np.abs(compute_losses(case, "margin", case.images, case.labels))
        selected = candidates[np.arange(len(best)), best]
        return cls(points, *_fit_readouts(inner, selected, gaps))


def _compute_features(case: DiagnosisCase, images: np.ndarray) -> np.ndarray:
    call = build_feature_fn(case)

    def run(rows):
        return (compilation.predict(call, rows),)

    return case.run_batched(run, images)[0].astype(np.float64)


def _compute_ridge_kernel(features: np.ndarray) -> np.ndarray:
    """Returns the kernels of features [m, k, size], with the ridge added."""
    kernel = features @ features.transpose(0, 2, 1)
    count = kernel.shape[1]
    scale = np.trace(kernel, axis1=1, axis2=2) / count
    ridge = np.maximum(_RELATIVE_RIDGE * scale, 1e-30)[:, None, None]
    return kernel + ridge * np.eye(count)


def _find_farthest(inner: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Returns which try is farthest from the inner points: int [m].

    By the distance that divides each direction by the variance of the inner
    points along it, with a ridge (Mahalanobis), up to a factor.

    Args:
      inner: float64 [m, k, size].
      candidates: float64 [m, t, size].
    """
    mean = inner.mean(1, keepdims=True)
    inner, candidates = inner - mean, candidates - mean
    cross_kernel = inner @ candidates.transpose(0, 2, 1)
    explained = (cross_kernel * np.linalg.solve(_compute_ridge_kernel(inner), cross_kernel)).sum(1)
    return ((candidates**2).sum(2) - explained).argmax(1)


def _fit_readouts(
    inner: np.ndarray, planted: np.ndarray, gaps: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fits readouts by kernel ridge regression: 1 planted, 0 inner.

    Args:
      inner: float64 [m, k, size], the image's own features first.
      planted: float64 [m, size].
      gaps: float32 [m], of the logits at the image.

    Returns:
      (weights, offsets, separated), see `PlantedExamples`.
    """
    mean = inner.mean(1, keepdims=True)
    features = np.concatenate([inner, planted[:, None]], 1) - mean
    kernel = _compute_ridge_kernel(features)
    targets = np.zeros((*kernel.shape[:2], 1))
    targets[:, -1] = 1
    coefficients = np.linalg.solve(kernel, targets)
    weights = (features.transpose(0, 2, 1) @ coefficients)[..., 0]
    scores = (features @ weights[..., None])[..., 0]
    image_score, max_inner_score, planted_score = scores[:, 0], scores[:, :-1].max(1), scores[:, -1]
    border = planted_score - _BORDER_SHARE * (planted_score - max_inner_score)
    is_separated = planted_score > max_inner_score
    factor = np.maximum(gaps, _MIN_GAP) / np.where(is_separated, border - image_score, 1.0)
    weights = weights * factor[:, None]
    offsets = -border * factor - (weights * mean[:, 0]).sum(1)
    return weights.astype(np.float32), offsets.astype(np.float32), is_separated
