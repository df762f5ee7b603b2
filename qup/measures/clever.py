"""CLEVER: how far an image is from any boundary, by extreme values.

The gradient norm of z_label - z_target is sampled in a ball around the
image. The largest of each batch of samples follow a reverse Weibull
distribution, whose end point L estimates the local Lipschitz constant, and
(z_label - z_target) / L the distance: an estimate, and no bound.

```python
result = measures.clever(classifier, images, labels, norm="l2")
result.untargeted  # float64 [n]
```
"""

import dataclasses

import numpy as np

from qup import compilation
from qup.measures import checks, slopes, weibull
from qup.types import Bounds, LogitsFn

# Samples that differ less, relative to the largest, count as equal.
_EQUAL_RTOL = 1e-6
# A fit of a lower Kolmogorov-Smirnov p-value is not believed.
_MIN_P_VALUE = 1e-3


@dataclasses.dataclass(frozen=True)
class CleverResult:
    """The scores of n images against k classes each.

    Attributes:
      targets: int32 [n, k], the classes.
      scores: float64 [n, k], the estimated distance to the boundary with the
        class; at most the radius, and 0 where the class is ahead.
      lipschitz: float64 [n, k], L: the estimated largest gradient norm.
      fitted: bool [n, k], whether L is the end point of the Weibull fit;
        else it is the largest sample.
      p_values: float64 [n, k], Kolmogorov-Smirnov, of the fit; NaN where
        all samples were equal and none was made.
      gradient_calls: Of the classifier, for each image.
    """

    targets: np.ndarray
    scores: np.ndarray
    lipschitz: np.ndarray
    fitted: np.ndarray
    p_values: np.ndarray
    gradient_calls: int

    @property
    def untargeted(self) -> np.ndarray:
        """The least score of each image: float64 [n]."""
        return self.scores.min(1)


def clever(
    logits_fn: LogitsFn,
    images,
    labels,
    *,
    norm: str = "l2",
    radius: float | None = None,
    targets=None,
    num_batches: int = 50,
    num_samples: int = 256,
    batch_size: int = 256,
    bounds: Bounds = (0.0, 1.0),
    ids=None,
    seed: int = 0,
    xla: str = "auto",
) -> CleverResult:
    """Estimates how far each image is from the boundaries of its class.

    An image takes one forward call, and num_batches * num_samples gradient
    calls a target: 115,200 with ten classes.

    Args:
      logits_fn: The classifier; logits, not probabilities.
      images: float [n, ...], inside `bounds`.
      labels: Integers [n], the true classes.
      norm: Of the perturbation: "l2", "linf" or "l1".
      radius: Of the ball, in units of the pixels; no score is larger. None
        means 5 (l2), 0.1 (linf) or 40 (l1) widths of the box.
      targets: Integers [n] or [n, k]; None means all classes but the label.
      num_batches: Number of maxima (the authors: 500).
      num_samples: Samples to a maximum (the authors: 1,024).
      batch_size: Samples the classifier is given at a time; batch_size * k
        gradients of an image's size are held.
      bounds: The box to which samples are clipped, or None.
      ids: Integers [n] that choose the samples; None means 0, 1, 2, ...
      seed: Drives every sample.
      xla: "auto", "on" or "off".

    Raises:
      InputError: An argument or a classifier that cannot be used.

    Reference: Weng et al. 2018, arXiv 1801.10578, Algorithm 1.
    """
    ball = checks.build_ball(norm, radius, bounds, seed)
    sizes = slopes.SampleSizes(num_batches, num_samples, batch_size)
    checks.check_sizes(sizes)
    images, labels, ids = checks.check_examples(images, labels, ids, ball)
    logits = _predict_logits(logits_fn, images, batch_size)
    targets = checks.check_targets(targets, labels, logits.shape[1])
    examples = slopes.TargetedExamples(images, labels, targets, ids)
    maxima = slopes.compute_max_gradients(logits_fn, examples, ball, sizes, xla)
    gaps = slopes.compute_logit_gaps(logits, labels, targets).numpy()
    return _build_clever_result(targets, gaps, maxima, num_samples, ball.radius)


def _predict_logits(logits_fn: LogitsFn, images, batch_size: int) -> np.ndarray:
    starts = range(0, len(images), batch_size)
    batches = [images[start : start + batch_size] for start in starts]
    predict = compilation.predict
    return np.concatenate([predict(logits_fn, batch).numpy() for batch in batches])


def _build_clever_result(targets, gaps, maxima, num_samples: int, radius: float) -> CleverResult:
    """Returns the scores.

    Args:
      targets: int32 [n, k].
      gaps: float32 [n, k], z_label - z_target of the images.
      maxima: float64 [n, num_batches, k].
      num_samples: Samples a maximum.
      radius: The largest score.
    """
    fits = [_estimate_lipschitz(row[:, k]) for row in maxima for k in range(row.shape[1])]
    lipschitz, fitted, p_values = (
        np.reshape(column, targets.shape) for column in zip(*fits, strict=True)
    )
    # min((z_label - z_target) / L, radius), 0 where misclassified
    distances = np.full(targets.shape, np.inf)
    np.divide(gaps, lipschitz, out=distances, where=lipschitz > 0)
    return CleverResult(
        targets=targets,
        scores=np.where(gaps > 0, np.minimum(distances, radius), 0.0),
        lipschitz=lipschitz,
        fitted=fitted,
        p_values=p_values,
        gradient_calls=maxima.shape[1] * num_samples * targets.shape[1],
    )


def _estimate_lipschitz(sample: np.ndarray) -> tuple[float, bool, float]:
    """Returns L, whether it is a fit's, and the fit's p-value."""
    largest = float(sample.max())
    if np.ptp(sample) <= _EQUAL_RTOL * largest:
        return largest, False, np.nan
    end, p_value = weibull.fit_reverse_weibull(sample)
    is_good_fit = p_value >= _MIN_P_VALUE
    return (end if is_good_fit else largest), is_good_fit, p_value
