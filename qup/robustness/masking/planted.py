"""The planted-example test: a sound attack finds an adversarial point that is known to exist.

```python
masking.get("planted")(classifier, images, labels, epsilon=0.1, attack="apgd_ce")
```

Reference: Zimmermann, Brendel, Tramer, Carlini 2022, arXiv 2206.13991.
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from qup.core import compilation, errors, norms
from qup.core.classifier import get_classifier_program
from qup.core.types import LogitsFn
from qup.robustness import masking
from qup.robustness.masking.case import FLAGGED, NOT_CHECKED, PASSED, CheckResult, DiagnosisCase
from qup.robustness.masking.comparisons import run_white_box, sample_in_ball, sample_on_surface
from qup.robustness.masking.gradient_checks import compute_losses

# A sound attack finds nearly all points; one readout in twenty may be difficult.
MIN_SUCCESS_PERCENT = 95.0
# If random points find half of them, success says little.
MAX_RANDOM_PERCENT = 50.0
# With fewer planted points one failure is more than ten percentage points.
MIN_PLANTED = 10
# Images per classifier of readouts; all groups share the compiled program.
GROUP_SIZE = 32
# Inner points are in the ball of this share of the radius, so that the planted one, on the surface,
# is not close to one of them.
_INNER_RADIUS = 0.95
# Distance of the decision boundary from the planted point, as a share of the distance in score to
# the best inner point: small, so that few other points are adversarial, and above float32 errors.
_BORDER_SHARE = 0.05
# Surface points from which the most distinct one is planted, so that random search hardly finds
# another like it.
NUM_CANDIDATES = 32
# Added to the kernel's diagonal, as a share of its mean. With less, readouts depend on features
# that are zero around the image, and PGD with restarts misses up to 6 % of the points on small
# untrained ReLU networks (none at 1.0).
_RELATIVE_RIDGE = 1.0
# Minimum of the gap of logits at an image.
_MIN_GAP = 1e-2


@masking.register
def planted(
    case: DiagnosisCase, *, num_images: int = 64, num_inner: int = 64, num_random: int = 200
) -> CheckResult:
    """Replaces the last layer so that an adversarial point certainly exists.

    Around each image, points inside its ball are class 0 and one random point on the surface is
    class 1. A linear readout on the frozen features (of a Keras model the input of its last Dense
    layer, else the logits) separates them. The attack under test starts at the image and must reach
    class 1. If something before the readout hides the gradient, it fails. Images whose balls touch
    another's, and those whose point the readout does not separate, are omitted.

    Args:
      case: See `DiagnosisCase`; the attack must accept two classes.
      num_images: Largest number of images; the first ones are used.
      num_inner: Random points of class 0 per image.
      num_random: Random surface points that are tried instead of the attack.

    Returns:
      "attack_success" and "random_success" in percent, and the number "planted". Flagged if the
      attack finds less than 95 %; "not checked" if fewer than 10 points could be planted, or random
      points find more than half of them.

    Raises:
      InputError: A number out of its range.
    """
    errors.check_number("num_images", num_images, at_least=1)
    errors.check_number("num_inner", num_inner, at_least=1)
    errors.check_number("num_random", num_random, at_least=1)
    selected = select_separated(case.images, case.epsilon, case.norm, num_images)
    case = dataclasses.replace(case, batch_size=min(case.batch_size, GROUP_SIZE))
    readouts, attack_success, random_success = Readouts.from_case(case), [], []
    for start in range(0, len(selected), GROUP_SIZE):
        rows = selected[start : start + GROUP_SIZE]
        group = case.with_classifier(case.classifier, case.images[rows], case.labels[rows])
        examples = PlantedExamples.plant(group, num_inner)
        readouts.assign(group.images, examples.weights, examples.offsets)
        problem = group.with_classifier(
            readouts.logits, group.images, np.zeros(len(rows), np.int32)
        )
        usable = examples.is_separated & problem.clean_correct
        usable &= ~problem.compute_correct_mask(examples.points)
        attack_success.append(run_white_box(problem)[usable])
        random_success.append(
            _compute_random_success(problem, NUM_CANDIDATES + num_inner, num_random)[usable]
        )
    return _build_planted_result(np.concatenate(attack_success), np.concatenate(random_success))


def _compute_random_success(problem: DiagnosisCase, first: int, count: int) -> np.ndarray:
    """Marks the images with a random surface point of class 1."""
    success = np.zeros(len(problem.labels), bool)
    for draw in range(first, first + count):
        success |= ~problem.compute_correct_mask(sample_on_surface(problem, draw))
    return success


def _build_planted_result(attack_success: np.ndarray, random_success: np.ndarray) -> CheckResult:
    count = len(attack_success)
    if count < MIN_PLANTED:
        return CheckResult(
            "planted",
            {"planted": count},
            NOT_CHECKED,
            f"A point could be planted for only {count} images, fewer than {MIN_PLANTED}. Give "
            "more images, or images more than two epsilons apart. It is impossible for a "
            "randomised classifier.",
            count,
        )
    values = {
        "attack_success": 100.0 * float(attack_success.mean()),
        "random_success": 100.0 * float(random_success.mean()),
        "planted": count,
    }
    message = (
        f"Of {count} planted adversarial points the attack finds "
        f"{values['attack_success']:.1f} %, random points "
        f"{values['random_success']:.1f} %."
    )
    status = PASSED
    if values["attack_success"] < MIN_SUCCESS_PERCENT:
        status = FLAGGED
        message += (
            " It misses points that exist, so its failure on the classifier itself is no sign of "
            "robustness."
        )
    elif values["random_success"] > MAX_RANDOM_PERCENT:
        status = NOT_CHECKED
        message += " Undecided: random search finds them as well."
    return CheckResult("planted", values, status, message, count)


def select_separated(images: np.ndarray, epsilon: float, norm: str, max_images: int) -> np.ndarray:
    """Selects images whose balls do not touch, in order: int [m], indices.

    Args:
      images: float32 [n, ...].
      epsilon: Radius of the balls.
      norm: Norm of the balls.
      max_images: Largest number of images.
    """
    selected: list[int] = []
    for index in range(len(images)):
        differences = images[selected] - images[index]
        distances = norms.compute_norm(tf.constant(differences), norm).numpy()
        if not selected or distances.min() > 2.001 * epsilon:
            selected.append(index)
        if len(selected) == max_images:
            break
    return np.array(selected)


# Features


def build_feature_fn(case: DiagnosisCase) -> LogitsFn:
    """Returns the features of a case's classifier, on which a linear readout is fitted.

    Returns:
      A function of images, the same at every call; float32 [batch, size]. For a functional Keras
      model with a Dense layer, the input of the last Dense layer; for anything else the logits.
    """

    def build(call: LogitsFn) -> LogitsFn:
        feature_model = None
        if isinstance(case.classifier, keras.Model):
            feature_model = _truncate_at_last_dense(case.classifier)
        if feature_model is None:
            feature_fn = call
        else:
            feature_fn = functools.partial(feature_model, training=False)

        def compute_features(images: tf.Tensor) -> tf.Tensor:
            values = feature_fn(images)
            return tf.reshape(values, (-1, math.prod(values.shape[1:])))

        return compute_features

    return get_classifier_program(case.classifier, "masking features", build)


def _truncate_at_last_dense(model: keras.Model) -> keras.Model | None:
    for layer in reversed(model.layers):
        if isinstance(layer, keras.layers.Dense):
            try:
                return keras.Model(model.inputs, layer.input)
            except (AttributeError, ValueError):
                # A subclassed model has no graph, and a shared layer has no single input.
                return None
    return None


def _compute_features(case: DiagnosisCase, images: np.ndarray) -> np.ndarray:
    call = build_feature_fn(case)
    (features,) = case.run_batched(lambda rows: (compilation.predict(call, rows),), images)
    return features.astype(np.float64)


# Planted points


class PlantedExamples(NamedTuple):
    """One planted point and one readout per image.

    Attributes:
      points: float32 [m, ...], in the image's ball and within the bounds.
      weights: float32 [m, size].
      offsets: float32 [m].
      is_separated: bool [m], whether the readout separates the planted point from all inner ones.
    """

    points: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray
    is_separated: np.ndarray

    @classmethod
    def plant(cls, case: DiagnosisCase, num_inner: int) -> "PlantedExamples":
        """Plants a point for each image of a case.

        At the image, the readout has the same gap of logits as the classifier, so that a loss that
        underflows for one underflows for the other.

        Args:
          case: Gives images, budget and seed.
          num_inner: Points of class 0 per image, in addition to the image.
        """
        inner = [_compute_features(case, case.images)]
        for draw in range(num_inner):
            # Every second one on the surface. Otherwise any random corner would be as distinct as
            # the planted one.
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


def _compute_ridge_kernel(features: np.ndarray) -> np.ndarray:
    """Returns the kernels of features [m, k, size], plus the ridge."""
    kernel = features @ features.transpose(0, 2, 1)
    count = kernel.shape[1]
    scale = np.trace(kernel, axis1=1, axis2=2) / count
    ridge = np.maximum(_RELATIVE_RIDGE * scale, 1e-30)[:, None, None]
    return kernel + ridge * np.eye(count)


def _find_farthest(inner: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Returns the index of the candidate farthest from the inner points: int [m].

    The Mahalanobis distance, with a ridge: each direction is divided by the variance of the inner
    points along it.

    Args:
      inner: float64 [m, k, size].
      candidates: float64 [m, t, size].
    """
    mean = inner.mean(1, keepdims=True)
    inner, candidates = inner - mean, candidates - mean
    cross_kernel = inner @ candidates.transpose(0, 2, 1)
    projected_norms = (
        cross_kernel * np.linalg.solve(_compute_ridge_kernel(inner), cross_kernel)
    ).sum(1)
    return ((candidates**2).sum(2) - projected_norms).argmax(1)


def _fit_readouts(
    inner: np.ndarray, planted: np.ndarray, gaps: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fits readouts by kernel ridge regression: 1 for planted, 0 for inner points.

    Args:
      inner: float64 [m, k, size], the features of the image first.
      planted: float64 [m, size].
      gaps: float32 [m], of the logits at the image.

    Returns:
      (weights, offsets, is_separated), see `PlantedExamples`.
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


# Readouts


class Readouts:
    """Two-class classifiers of a group of images, in one function.

    A readout is a linear function of features. The image closest to a point selects its readout, so
    the function supports any attack, with any order and number of queries.

    Attributes:
      logits: float32 [batch, ...] -> float32 [batch, 2]; class 1 is the planted one.
    """

    def __init__(self, call: LogitsFn, example: tf.Tensor, norm: str):
        """Creates readouts of zero.

        Args:
          call: Images -> float32 [batch, size].
          example: float32 [1, ...], an image.
          norm: The norm that defines the closest image.
        """
        size = call(example).shape[1]
        self._features, self._norm = call, norm
        self._centres = tf.Variable(tf.zeros((GROUP_SIZE, *example.shape[1:])))
        self._weights = tf.Variable(tf.zeros((GROUP_SIZE, size)))
        self._offsets = tf.Variable(tf.zeros(GROUP_SIZE))
        # A function, because it can have weak references; a bound method is a new object at each
        # access.
        self.logits = lambda images: self._compute_logits(images)

    @classmethod
    def from_case(cls, case: DiagnosisCase) -> "Readouts":
        """Returns the readouts of a case's classifier, built and compiled once."""
        call, example = build_feature_fn(case), tf.constant(case.images[:1])
        return get_classifier_program(
            case.classifier,
            ("masking readouts", case.norm),
            lambda _: cls(call, example, case.norm),
        )

    def assign(self, centres: np.ndarray, weights: np.ndarray, offsets: np.ndarray) -> None:
        """Sets the readouts; a group with fewer than `GROUP_SIZE` repeats its first.

        Args:
          centres: float32 [m, ...], the images; m at most `GROUP_SIZE`.
          weights: float32 [m, size].
          offsets: float32 [m].
        """
        rows = np.arange(GROUP_SIZE)
        rows[len(centres) :] = 0
        self._centres.assign(centres[rows])
        self._weights.assign(weights[rows])
        self._offsets.assign(offsets[rows])

    def _compute_logits(self, images: tf.Tensor) -> tf.Tensor:
        rows = self._find_closest(images)
        products = self._features(images) * tf.gather(self._weights, rows)
        score = tf.reduce_sum(products, -1) + tf.gather(self._offsets, rows)
        return tf.stack([-score / 2, score / 2], -1)

    def _find_closest(self, images: tf.Tensor) -> tf.Tensor:
        points = tf.stop_gradient(images)
        # One centre at a time: all differences at once would fill the memory.
        distances = tf.map_fn(
            lambda centre: norms.compute_norm(points - centre, self._norm),
            self._centres.read_value(),
            fn_output_signature=tf.float32,
        )
        return tf.argmin(distances, 0)
