"""Planted adversarial points, and readouts that tell them from the rest.

```python
plants = Plants.of(case, num_inner=64)
plants.points, plants.weights, plants.offsets, plants.separated
```
"""

from typing import NamedTuple

import numpy as np

from qup import compilation
from qup.masking.case import Case
from qup.masking.features import features
from qup.masking.points import on_surface, scattered
from qup.masking.slopes import values

# Inner points lie in the ball of this share of the radius, so that the
# planted one, on the boundary, is not next to one of them.
_INNER = 0.95
# The border between the classes lies so far back from the planted point, as
# a share of its distance to the best inner one: near, so that little else
# is adversarial, and farther than float32 errs.
_BACK = 0.05
# Boundary points of which the one that stands out most is planted, so that
# random search hardly finds another like it.
TRIES = 32
# Added to the kernel's diagonal, as a share of its mean. With less, readouts
# live on features that are zero round the image, and PGD with restarts misses
# up to 6 % of the points on small untrained ReLU networks (none at 1.0).
_RIDGE = 1.0
# The least gap of logits at an image, where its own is smaller.
_LEAST_GAP = 1e-2


class Plants(NamedTuple):
    """One planted point and readout an image.

    Attributes:
      points: float32 [m, ...], in the image's ball and in the box.
      weights: float32 [m, size].
      offsets: float32 [m].
      separated: bool [m], the readout tells the planted point from all
        inner ones.
    """

    points: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray
    separated: np.ndarray

    @classmethod
    def of(cls, case: Case, num_inner: int) -> "Plants":
        """Plants a point for each image of a case.

        The readout has, at the image, the gap of logits that the classifier
        has there, so that a loss that underflows on one does on the other.

        Args:
          case: Gives images, budget and seed.
          num_inner: Points of class 0 an image, besides itself.
        """
        inner = [_featured(case, case.images)]
        for draw in range(num_inner):
            # Every other one on the surface: else any random corner would
            # stand out as the planted one does.
            place = on_surface if draw % 2 else scattered
            moved = place(case, TRIES + draw, _INNER * case.epsilon)
            inner.append(_featured(case, moved))
        tries = [
            _featured(case, on_surface(case, draw)) for draw in range(TRIES)
        ]
        inner, tries = np.stack(inner, 1), np.stack(tries, 1)
        best = _farthest(inner, tries)
        points = np.empty_like(case.images)
        for draw in np.unique(best):
            points[best == draw] = on_surface(case, draw)[best == draw]
        gaps = np.abs(values(case, "margin", case.images, case.labels))
        chosen = tries[np.arange(len(best)), best]
        return cls(points, *_fitted(inner, chosen, gaps))


def _featured(case: Case, images: np.ndarray) -> np.ndarray:
    call = features(case)

    def run(rows):
        return (compilation.predict(call, rows),)

    return case.batched(run, images)[0].astype(np.float64)


def _regular(features: np.ndarray) -> np.ndarray:
    """Returns the kernels of features [m, k, size], with the ridge added."""
    kernel = features @ features.transpose(0, 2, 1)
    count = kernel.shape[1]
    scale = np.trace(kernel, axis1=1, axis2=2) / count
    ridge = np.maximum(_RIDGE * scale, 1e-30)[:, None, None]
    return kernel + ridge * np.eye(count)


def _farthest(inner: np.ndarray, tries: np.ndarray) -> np.ndarray:
    """Returns which try is farthest from the inner points: int [m].

    By the distance that divides each direction by the variance of the inner
    points along it, with a ridge (Mahalanobis), up to a factor.

    Args:
      inner: float64 [m, k, size].
      tries: float64 [m, t, size].
    """
    mean = inner.mean(1, keepdims=True)
    inner, tries = inner - mean, tries - mean
    shared = inner @ tries.transpose(0, 2, 1)
    explained = (shared * np.linalg.solve(_regular(inner), shared)).sum(1)
    return ((tries**2).sum(2) - explained).argmax(1)


def _fitted(
    inner: np.ndarray, planted: np.ndarray, gaps: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fits readouts by kernel ridge regression: 1 planted, 0 inner.

    Args:
      inner: float64 [m, k, size], the image's own features first.
      planted: float64 [m, size].
      gaps: float32 [m], of the logits at the image.

    Returns:
      (weights, offsets, separated), see `Plants`.
    """
    mean = inner.mean(1, keepdims=True)
    features = np.concatenate([inner, planted[:, None]], 1) - mean
    kernel = _regular(features)
    wanted = np.zeros((*kernel.shape[:2], 1))
    wanted[:, -1] = 1
    shares = np.linalg.solve(kernel, wanted)
    weights = (features.transpose(0, 2, 1) @ shares)[..., 0]
    scores = (features @ weights[..., None])[..., 0]
    own, most, top = scores[:, 0], scores[:, :-1].max(1), scores[:, -1]
    border = top - _BACK * (top - most)
    separated = top > most
    factor = np.maximum(gaps, _LEAST_GAP) / np.where(
        separated, border - own, 1.0
    )
    weights = weights * factor[:, None]
    offsets = -border * factor - (weights * mean[:, 0]).sum(1)
    return weights.astype(np.float32), offsets.astype(np.float32), separated
