"""CLEVER: the distance of an image to the decision boundary, estimated by extreme value theory.

With g_j(x) = z_label(x) - z_j(x) of the logits z, the score of an image x_0 against class j is

    min(g_j(x_0) / L_j, radius),   L_j = max_{|x - x_0|_p <= radius} |grad g_j(x)|_q

and 1/p + 1/q = 1. The gradient norm is sampled in the ball. The maxima of batches of samples follow
a reverse Weibull distribution, whose end point estimates L_j. The score is an estimate, not a
bound.

Reference: Weng et al. 2018, arXiv 1801.10578, Algorithm 1.

```python
result = compute_clever(classifier, images, labels, norm="l2")
result.untargeted  # float64 [n]
```
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qup.attacks import inputs
from qup.core import compilation, errors, extras, gradients, norms, prng
from qup.core.classifier import get_classifier_program, predict_logits
from qup.core.types import Bounds, LogitsFn

# Radii of the balls, in units of the width of the pixel range.
_DEFAULT_RADII = {"l2": 5.0, "linf": 0.1, "l1": 40.0}
# Samples whose relative difference is smaller count as equal.
_EQUAL_RTOL = 1e-6
# A fit with a smaller Kolmogorov-Smirnov p-value is rejected.
_MIN_P_VALUE = 1e-3
# Start values of the shape in the fit: the likelihood has several maxima.
_START_SHAPES = (0.1, 1, 5, 10, 20, 50, 100)
# Weight of the squared shape. Large shapes have distant end points.
_SHAPE_PENALTY = 0.01


class TargetedExamples(NamedTuple):
    """Images and the target classes of their logit gaps.

    Attributes:
      images: float32 [n, ...].
      labels: int32 [n].
      targets: int32 [n, k], of z_label - z_target.
      ids: int64 [n].
    """

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    ids: np.ndarray


class SampleBall(NamedTuple):
    """The balls around images in which samples are drawn.

    Attributes:
      norm: Norm of the perturbation.
      radius: In the units of the pixels.
      bounds: Range to which samples are clipped, or None.
      seed: Seed of all samples.
    """

    norm: str
    radius: float
    bounds: Bounds
    seed: int


class SampleSizes(NamedTuple):
    """Numbers of samples.

    Attributes:
      num_batches: Batches of samples per image; each gives one maximum.
      num_samples: Samples per batch.
      batch_size: Samples per call of the classifier, of any images.
    """

    num_batches: int
    num_samples: int
    batch_size: int


@dataclasses.dataclass(frozen=True)
class CleverResult:
    """The scores of n images against k classes each.

    Attributes:
      targets: int32 [n, k], the classes.
      scores: float64 [n, k], the estimated distance to the boundary with the class; at most the
        radius, and 0 where the class has the larger logit.
      lipschitz: float64 [n, k], L, the estimated largest gradient norm.
      fitted: bool [n, k], whether L is the end point of the Weibull fit; else it is the largest
        sample.
      p_values: float64 [n, k], Kolmogorov-Smirnov p-value of the fit; NaN where all samples are
        equal and no fit was made.
      gradient_calls: Gradient calls of the classifier per image.
    """

    targets: np.ndarray
    scores: np.ndarray
    lipschitz: np.ndarray
    fitted: np.ndarray
    p_values: np.ndarray
    gradient_calls: int

    @property
    def untargeted(self) -> np.ndarray:
        """The smallest score of each image: float64 [n]."""
        return self.scores.min(1)


def compute_clever(
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
    """Estimates the distance of each image to the boundaries of its class.

    An image needs one forward call, and num_batches * num_samples gradient calls per target:
    115,200 with ten classes.

    Args:
      logits_fn: The classifier; logits, not probabilities.
      images: float [n, ...], inside `bounds`.
      labels: Integers [n], the true classes.
      norm: Norm of the perturbation: "l2", "linf" or "l1".
      radius: Radius of the ball in units of the pixels, the largest possible score. None means 5
        (l2), 0.1 (linf) or 40 (l1) times the width of `bounds`.
      targets: Integers [n] or [n, k]; None means all classes except the label.
      num_batches: Number of maxima (the authors: 500).
      num_samples: Samples per maximum (the authors: 1,024).
      batch_size: Samples per call of the classifier; batch_size * k gradients are in memory.
      bounds: Range to which samples are clipped, or None.
      ids: Integers [n] that select the samples; None means 0, 1, 2, ...
      seed: Seed of all samples.
      xla: "auto", "on" or "off".

    Raises:
      InputError: An argument or a classifier that cannot be used.
    """
    extras.check_installed("compute_clever", "scipy")
    ball = _build_ball(norm, radius, bounds, seed)
    sizes = SampleSizes(num_batches, num_samples, batch_size)
    _check_sizes(sizes)
    images, labels, ids = _check_examples(images, labels, ids, ball)
    logits = _predict_logits(logits_fn, images, batch_size)
    targets = _check_targets(targets, labels, logits.shape[1])
    examples = TargetedExamples(images, labels, targets, ids)
    maxima = compute_max_gradients(logits_fn, examples, ball, sizes, xla)
    gaps = compute_logit_gaps(logits, labels, targets).numpy()
    return _build_clever_result(targets, gaps, maxima, num_samples, ball.radius)


def _predict_logits(logits_fn: LogitsFn, images, batch_size: int) -> np.ndarray:
    return np.concatenate(
        [
            predict_logits(logits_fn, images[start : start + batch_size]).numpy()
            for start in range(0, len(images), batch_size)
        ]
    )


def _build_clever_result(targets, gaps, maxima, num_samples: int, radius: float) -> CleverResult:
    """Returns the scores.

    Args:
      targets: int32 [n, k].
      gaps: float32 [n, k], z_label - z_target of the images.
      maxima: float64 [n, num_batches, k].
      num_samples: Samples per maximum.
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
    """Returns L, whether it is the fit's end point, and the fit's p-value."""
    largest = float(sample.max())
    if np.ptp(sample) <= _EQUAL_RTOL * largest:
        return largest, False, np.nan
    end, p_value = fit_reverse_weibull(sample)
    is_good_fit = p_value >= _MIN_P_VALUE
    return (end if is_good_fit else largest), is_good_fit, p_value


def compute_logit_gaps(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Returns z_label - z_target: float32 [rows, k].

    Args:
      logits: float32 [rows, classes].
      labels: int32 [rows].
      targets: int32 [rows, k].
    """
    label_logits = tf.gather(logits, labels[:, None], batch_dims=1)
    return label_logits - tf.gather(logits, targets, batch_dims=1)


def compute_max_gradients(
    logits_fn: LogitsFn, examples: TargetedExamples, ball: SampleBall, sizes: SampleSizes, xla: str
) -> np.ndarray:
    """Returns the largest gradient norm of each batch of samples.

    The samples of an image depend on the seed, its id and their number alone.

    Returns:
      float64 [n, num_batches, k], in the dual norm.

    Raises:
      InputError: The classifier has no gradient, or one that is not finite.
    """
    run = get_classifier_program(
        logits_fn,
        ("gradient norms", ball.norm, ball.bounds, xla),
        lambda call: _build_gradient_norm_fn(call, ball.norm, ball.bounds, xla),
    )
    num_batches, num_samples, batch_size = sizes
    samples_per_image, (count, classes) = num_batches * num_samples, examples.targets.shape
    columns = [tf.constant(column) for column in examples]
    radius = tf.constant(ball.radius, tf.float32)
    seed = tf.constant(ball.seed, tf.int64)
    maxima = np.zeros((count * num_batches, classes))
    for start in range(0, count * samples_per_image, batch_size):
        # The last batch is padded by repeats of the last sample.
        sample_indices = np.arange(start, start + batch_size)
        sample_indices = np.minimum(sample_indices, count * samples_per_image - 1)
        row, number = np.divmod(sample_indices, samples_per_image)
        batch = TargetedExamples(*(tf.gather(column, row) for column in columns))
        gradient_norms = run(batch, number, radius, seed).numpy()
        np.maximum.at(maxima, sample_indices // num_samples, gradient_norms)
    if not np.isfinite(maxima).all():
        raise errors.InputError(
            "The classifier's gradient is NaN or infinite near an image. Check its layers, or "
            "choose a smaller radius."
        )
    return maxima.reshape(count, num_batches, classes)


def _build_gradient_norm_fn(call: LogitsFn, norm: str, bounds: Bounds, xla: str) -> Callable:
    @tf.function(autograph=False, jit_compile=compilation.use_xla(xla))
    def run(examples, number, radius, seed):
        images, labels, targets, ids = examples
        keys = prng.make_keys(seed, ids, number)
        points = images + norms.sample(images, radius, norm, keys)
        if bounds is not None:
            points = tf.clip_by_value(points, *bounds)
        # One forward pass, and one backward pass per target.
        _, jacobian = gradients.compute_class_jacobian(
            call,
            lambda logits: compute_logit_gaps(logits, labels, targets),
            points,
            keep_non_finite=True,
        )
        if jacobian is None:
            raise errors.InputError(
                "The classifier has no gradient with respect to its input. CLEVER needs gradients."
            )
        rows, classes = jacobian.shape[:2]
        flat = tf.reshape(jacobian, (rows * classes, -1))
        return tf.reshape(norms.compute_norm(flat, norms.DUAL_NORM[norm]), (rows, classes))

    return run


# The end point of a reverse Weibull distribution, by penalised maximum likelihood


def fit_reverse_weibull(sample: np.ndarray) -> tuple[float, float]:
    """Fits a reverse Weibull distribution to maxima, float64 [n], not all equal.

    Of the fits from several start values, the one with the smallest Kolmogorov-Smirnov distance is
    returned.

    Returns:
      (end_point, p_value): the upper end of the distribution's support, and the Kolmogorov-Smirnov
      p-value of the fit.
    """
    # The rest of this package needs no SciPy.
    from scipy import stats

    largest, span = sample.max(), np.ptp(sample)
    # In [0, 1], ascending: the distances from the largest.
    gaps = np.sort((largest - sample) / span)
    fits = [_maximise_likelihood(gaps, shape) for shape in _START_SHAPES]
    ks_distances = [_compute_ks_distance(gaps, *fit) for fit in fits]
    best = int(np.argmin(ks_distances))
    p_value = stats.kstwo.sf(ks_distances[best], len(gaps))
    return float(largest - span * fits[best][1]), float(p_value)


def _maximise_likelihood(gaps: np.ndarray, shape: float) -> tuple[float, float]:
    """Returns the (shape, location) of the local maximum that is found from `shape`."""
    from scipy import optimize, special

    # The location whose distribution has the sample's mean and variance.
    mean, square = (special.gamma(1 + power / shape) for power in (1, 2))
    scale = gaps.std() / np.sqrt(max(square - mean**2, 1e-12))
    start = min(gaps.mean() - scale * mean, -1e-3)
    optimum = optimize.fmin(_compute_penalised_loss, (shape, start), (gaps,), disp=False)
    return float(optimum[0]), float(optimum[1])


def _compute_log_scale(shape: float, logs: np.ndarray) -> float:
    """Returns ln s for the optimal scale s of a shape c: s^c = mean (x - loc)^c."""
    max_log = logs[-1]
    share = np.exp(shape * (logs - max_log)).sum() / logs.size
    return max_log + np.log(share) / shape


def _compute_penalised_loss(parameters: np.ndarray, gaps: np.ndarray) -> float:
    """Returns the negative log likelihood at the optimal scale, plus the penalty."""
    shape, location = parameters
    if shape <= 0 or location >= gaps[0]:
        return np.inf
    logs, count = np.log(gaps - location), gaps.size
    term = np.log(shape) - shape * _compute_log_scale(shape, logs) - 1
    # -sum_i [log(c/s ((x_i - loc)/s)^(c-1)) - ((x_i - loc)/s)^c] + a c^2; the last power sums to n
    # at the optimal s.
    return _SHAPE_PENALTY * shape**2 - count * term - (shape - 1) * logs.sum()


def _compute_ks_distance(gaps: np.ndarray, shape: float, location: float) -> float:
    """Returns the largest distance between the two distribution functions."""
    logs = np.log(gaps - location)
    cdf = -np.expm1(-np.exp(shape * (logs - _compute_log_scale(shape, logs))))
    ranks = np.arange(gaps.size + 1) / gaps.size
    return max((ranks[1:] - cdf).max(), (cdf - ranks[:-1]).max())


# Checks of the arguments


def _build_ball(norm, radius, bounds: Bounds, seed) -> SampleBall:
    norms.check_norm(norm)
    bounds = inputs.validate_bounds(bounds)
    if radius is None:
        radius = _DEFAULT_RADII[norm] * (1.0 if bounds is None else bounds[1] - bounds[0])
    errors.check_number("radius", radius, above=0)
    inputs.check_integer("seed", seed)
    return SampleBall(norm, float(radius), bounds, seed)


def _check_sizes(sizes: SampleSizes) -> None:
    for name, value in sizes._asdict().items():
        inputs.check_integer(name, value, least=1)


def _check_examples(images, labels, ids, ball: SampleBall):
    """Returns images, labels and ids as arrays of float32, int32 and int64."""
    images, labels = inputs.check_batch(images, labels, ball.bounds)
    if not len(labels):
        raise errors.InputError("At least one image is needed; got none.")
    return images.numpy(), labels.numpy(), inputs.validate_ids(ids, len(labels))


def _check_targets(targets, labels, num_classes: int) -> np.ndarray:
    """Returns int32 [n, k]; None means all classes except the label."""
    inputs.check_label_range(labels, num_classes)
    if targets is None:
        others = labels[:, None] + np.arange(1, num_classes)
        targets = np.sort(others % num_classes, 1)
    targets = np.asarray(targets)
    if targets.ndim == 1:
        targets = targets[:, None]
    is_valid = (
        np.issubdtype(targets.dtype, np.integer)
        and targets.ndim == 2
        and targets.shape == (len(labels), max(targets.shape[1], 1))
        and ((targets >= 0) & (targets < num_classes)).all()
        and (targets != labels[:, None]).all()
    )
    if not is_valid:
        raise errors.InputError(
            f"Targets must be classes, integers [{len(labels)}] or "
            f"[{len(labels)}, k] from 0 to {num_classes - 1}, different from the image's label; "
            f"got {targets.dtype} {targets.shape}."
        )
    return targets.astype(np.int32)
