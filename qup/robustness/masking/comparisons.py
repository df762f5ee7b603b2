"""Which images an attack breaks, found once for all checks.

```python
accuracy(white_box(case)), accuracy(pgd(case, 100, loss="margin"))
```
"""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from qup import attacks
from qup.core import errors, norms, prng
from qup.core.types import Bounds, LogitsFn
from qup.robustness import masking
from qup.robustness.masking.case import (
    FLAGGED,
    NOT_CHECKED,
    PASSED,
    CheckResult,
    DiagnosisCase,
    build_unchecked_result,
)

# Of the attack under test where none is named.
DEFAULT_STEPS = 40
# Steps that together are 2.5 times the radius reach any point of the ball
# from any start (Madry et al. 2018, arXiv 1706.06083).
_RELATIVE_PATH_LENGTH = 2.5


def compute_robust_accuracy(success: np.ndarray) -> float:
    """Returns the share of images that withstood, in percent."""
    return 100.0 * float(np.mean(~success))


def compute_step_size(epsilon: float, steps: int) -> float:
    """Returns the length of a PGD step."""
    return _RELATIVE_PATH_LENGTH * epsilon / steps


def run_attack(
    case: DiagnosisCase, attack: str | Callable, *, epsilon: float, **options: Any
) -> np.ndarray:
    """Attacks all images; the clean image counts as a point of its ball.

    Args:
      case: What is examined.
      attack: See `attacks.run`.
      epsilon: The budget.
      **options: The attack's own.

    Returns:
      bool [n].

    Raises:
      InputError: Something that cannot be used.
    """
    key = (attack, epsilon, repr(sorted(options.items())))
    if key not in case.cache:
        attack_fn = attacks.get(attack) if isinstance(attack, str) else attack
        if "norm" in inspect.signature(attack_fn).parameters:
            options = {"norm": case.norm, **options}
        result = attacks.run(
            attack,
            case.logits_fn,
            case.images,
            case.labels,
            epsilon=epsilon,
            bounds=case.bounds,
            seed=case.seed,
            batch_size=case.batch_size,
            **options,
        )
        case.cache[key] = result.success | ~case.clean_correct
    return case.cache[key]


def run_pgd(
    case: DiagnosisCase, steps: int, *, loss: str = "cross_entropy", epsilon: float | None = None
) -> np.ndarray:
    """Attacks by PGD from a random start; every point on the way counts.

    Args:
      case: What is examined; L-inf or L2.
      steps: Number of steps, together 2.5 times epsilon long.
      loss: See `attacks.losses`.
      epsilon: Another budget than the case's.

    Returns:
      bool [n], which images it breaks.

    Raises:
      InputError: Another norm, or an unknown loss.
    """
    budget = case.epsilon if epsilon is None else epsilon
    return run_attack(
        case,
        "pgd",
        epsilon=budget,
        num_steps=steps,
        random_start=True,
        step_size=compute_step_size(budget, steps),
        loss=loss,
        keep="first_adversarial",
    )


def run_white_box(case: DiagnosisCase, epsilon: float | None = None) -> np.ndarray:
    """Runs the attack under test: bool [n], which images it breaks.

    That is PGD-40 by cross-entropy where none is named, and Auto-PGD in L1,
    where PGD has no good step.
    """
    budget = case.epsilon if epsilon is None else epsilon
    if case.attack is not None:
        options = dict(case.attack_options or {})
        return run_attack(case, case.attack, epsilon=budget, **options)
    if case.norm == "l1":
        return run_attack(case, "apgd_ce", epsilon=budget)
    return run_pgd(case, DEFAULT_STEPS, epsilon=budget)


# Two attacks on the same images, compared image by image.
#
# ```python
# compared = Compared.of(white_box, black_box)
# compared.only_second, compared.stronger, compared.clearly(1.0)
# ```


# Two standard errors: chance alone exceeds it once in forty times.
_Z_THRESHOLD = 2.0
# AutoAttack calls a black-box attack stronger than the white-box ones when
# it lowers robust accuracy by more than 0.2 points; a smaller difference is
# within what restarts and seeds change.
SLACK_PERCENT = 0.2
# Below 500 images one image is more than that, and a single image on the
# edge of its ball may be luck.
_MIN_MISSED_IMAGES = 2


class PairedComparison(NamedTuple):
    """How often one attack broke an image and another did not.

    Attributes:
      only_first: Images that the first attack alone broke.
      only_second: Images that the second attack alone broke.
      n: Number of images.
    """

    only_first: int
    only_second: int
    n: int

    @classmethod
    def from_success(cls, first: np.ndarray, second: np.ndarray) -> "PairedComparison":
        """Compares what two attacks broke, bool [n] each."""
        return cls(int((first & ~second).sum()), int((second & ~first).sum()), len(first))

    @property
    def accuracy_drop(self) -> float:
        """By how many points the second attack lowers accuracy further."""
        return 100.0 * (self.only_second - self.only_first) / self.n

    @property
    def first_misses_images(self) -> bool:
        """Whether the first misses images that the second breaks.

        More than `SLACK_PERCENT` of them, and more than one image.
        """
        share = 100.0 * self.only_second / self.n
        return share > SLACK_PERCENT and self.only_second >= _MIN_MISSED_IMAGES

    def is_second_stronger(self, min_drop: float) -> bool:
        """Whether the second is stronger, beyond chance and by `min_drop`.

        The standard error of a paired difference of counts is
        sqrt(only_first + only_second), as in McNemar's test.
        """
        excess = self.only_second - self.only_first
        error = math.sqrt(self.only_first + self.only_second)
        return self.accuracy_drop > min_drop and excess > _Z_THRESHOLD * error


# Square Attack, which needs no gradient, against the white-box attack.
#
# ```python
# masking.get("black_box")(
#     classifier, images, labels, epsilon=0.1, num_queries=5000
# )
# ```


@masking.register
def black_box(case: DiagnosisCase, *, num_queries: int = 1000) -> CheckResult:
    """Compares random search with the attack under test, image by image.

    Who sees the gradient knows more than who asks for logits only. Images
    that the black-box attack alone breaks show that the gradient misleads,
    even where it breaks fewer on the whole.

    Args:
      case: What is examined, see `DiagnosisCase`; images [height, width, channels].
      num_queries: Images that Square asks about, for each example.

    Returns:
      A finding with "robust_accuracy_white_box" and "..._black_box" in
      percent, and the numbers of images "only_black_box" and
      "only_white_box" break. Flagged where the former are more than 0.2 %
      (AutoAttack's threshold) and more than one.

    Raises:
      InputError: Images of another rank, or too few queries.

    Reference: Carlini et al. 2019, arXiv 1902.06705; Andriushchenko
    et al. 2020, arXiv 1912.00049.
    """
    white_box_success = run_white_box(case)
    black_box_success = run_attack(case, "square", epsilon=case.epsilon, num_queries=num_queries)
    comparison = PairedComparison.from_success(white_box_success, black_box_success)
    values = {
        "robust_accuracy_white_box": compute_robust_accuracy(white_box_success),
        "robust_accuracy_black_box": compute_robust_accuracy(black_box_success),
        "only_black_box": comparison.only_second,
        "only_white_box": comparison.only_first,
    }
    message = (
        f"Robust accuracy {values['robust_accuracy_white_box']:.1f} % by the "
        f"white-box attack, {values['robust_accuracy_black_box']:.1f} % by "
        f"Square with {num_queries} queries; Square alone breaks "
        f"{comparison.only_second} of {comparison.n} images."
    )
    if comparison.first_misses_images:
        message += (
            " These have adversarial images that the gradient does not lead "
            "to: robustness is overestimated."
        )
    return CheckResult(
        "black_box",
        values,
        FLAGGED if comparison.first_misses_images else PASSED,
        message,
        comparison.n,
    )


# Images attacked on another classifier, against the white-box attack.
#
# ```python
# masking.get("transfer")(
#     classifier, images, labels, epsilon=0.1, source=other_classifier
# )
# ```


@masking.register
def transfer(case: DiagnosisCase, *, source: LogitsFn | None = None) -> CheckResult:
    """Attacks another classifier, and shows its images to this one.

    What breaks another classifier says nothing of this one's gradient.
    Where such images break it and its own attack does not, the latter is
    hindered. The source is attacked by PGD-40 on the log odds, a loss that
    does not underflow, to the last step, whether it is misled or not.

    Args:
      case: What is examined, see `DiagnosisCase`; L-inf or L2.
      source: The other classifier, of the same images and classes, such as
        the plain one of a pair; None leaves the check undone.

    Returns:
      A finding with "robust_accuracy_white_box" and "..._transfer" in
      percent, and the numbers of images "only_transfer" and
      "only_white_box" break. Flagged where the former are more than 0.2 %
      and more than one.

    Raises:
      InputError: A norm that PGD does not know.

    Reference: Papernot et al. 2017, arXiv 1602.02697; Carlini et al. 2019,
    arXiv 1902.06705.
    """
    if source is None:
        return build_unchecked_result(
            "transfer",
            "No other classifier was given to attack in its place (source=...).",
            len(case.labels),
        )
    white_box_success = run_white_box(case)
    transfer_success = (
        ~case.compute_correct_mask(_attack_source(case, source)) | ~case.clean_correct
    )
    comparison = PairedComparison.from_success(white_box_success, transfer_success)
    values = {
        "robust_accuracy_white_box": compute_robust_accuracy(white_box_success),
        "robust_accuracy_transfer": compute_robust_accuracy(transfer_success),
        "only_transfer": comparison.only_second,
        "only_white_box": comparison.only_first,
    }
    message = (
        f"Robust accuracy {values['robust_accuracy_white_box']:.1f} % by the "
        f"white-box attack, {values['robust_accuracy_transfer']:.1f} % on "
        "images attacked on the other classifier; these alone break "
        f"{comparison.only_second} of {comparison.n}."
    )
    if comparison.first_misses_images:
        message += (
            " Its own gradient leads the attack past adversarial images "
            "that exist: robustness is overestimated."
        )
    return CheckResult(
        "transfer",
        values,
        FLAGGED if comparison.first_misses_images else PASSED,
        message,
        comparison.n,
    )


def _attack_source(case: DiagnosisCase, source: LogitsFn) -> np.ndarray:
    """Returns images that PGD moved on the source: float32 [n, ...]."""
    attack = attacks.get("pgd")

    def run(images, labels, ids):
        perturbed = attack(
            source,
            images,
            labels,
            ids=ids,
            epsilon=case.epsilon,
            norm=case.norm,
            bounds=case.bounds,
            seed=case.seed,
            num_steps=DEFAULT_STEPS,
            step_size=compute_step_size(case.epsilon, DEFAULT_STEPS),
            random_start=True,
            loss="log_odds",
        )
        return (perturbed,)

    ids = np.arange(len(case.labels))
    return case.run_batched(run, case.images, case.labels, ids)[0]


# Random points in and on the balls of a case's images.
#
# ```python
# scattered(case, draw=0), on_surface(case, draw=0)  # float32 [n, ...]
# ```


# Tells these draws from an attack's, which have the same seed and ids.
_PRNG_STREAM = 17


def sample_in_ball(case: DiagnosisCase, draw: int, radius: float | None = None) -> np.ndarray:
    """Returns a uniform point of each image's ball, clipped to the box.

    Args:
      case: Gives images, norm, bounds and seed.
      draw: Number of the draw.
      radius: Of the ball; None for epsilon.

    Returns:
      float32 [n, ...].
    """
    return _perturb_images(case, _sample_inside, draw, radius)


def sample_on_surface(case: DiagnosisCase, draw: int, radius: float | None = None):
    """Returns a random corner of each L-inf ball, else a random direction.

    At the distance `radius`, then clipped to the box; see `sample_in_ball`.
    """
    return _perturb_images(case, _sample_outermost, draw, radius)


def _sample_inside(images: tf.Tensor, keys: tf.Tensor, norm: str) -> tf.Tensor:
    return norms.sample(images, 1.0, norm, prng.make_keys(0, keys))


def _sample_outermost(images: tf.Tensor, keys: tf.Tensor, norm: str) -> tf.Tensor:
    if norm == "linf":
        return prng.signs(prng.make_keys(1, keys), images.shape[1:])
    inside = _sample_inside(images, keys, norm)
    return inside / norms.expand_like(norms.compute_norm(inside, norm), images)


@functools.cache
def _compile_perturbation(sampler: Callable, norm: str, bounds: Bounds) -> Callable:
    """Returns what moves images, compiled once for all cases."""

    @tf.function(autograph=False)
    def run(images, ids, radius, seed, draw):
        keys = prng.make_keys(seed, ids, _PRNG_STREAM, draw)
        return attacks.clip(images + radius * sampler(images, keys, norm), bounds)

    return run


def _perturb_images(case: DiagnosisCase, sampler: Callable, draw: int, radius) -> np.ndarray:
    perturb = _compile_perturbation(sampler, case.norm, case.bounds)
    settings = (
        tf.constant(case.epsilon if radius is None else radius, tf.float32),
        tf.constant(case.seed, tf.int64),
        tf.constant(draw, tf.int64),
    )

    def run(images, ids):
        return (perturb(images, ids, *settings),)

    return case.run_batched(run, case.images, np.arange(len(case.labels)))[0]


# Uniform random noise of the attack's size, as the baseline.
#
# ```python
# masking.get("noise")(classifier, images, labels, epsilon=0.1, num_draws=20)
# ```


# From a plainly trained network PGD takes some 50 points and more at the
# paper's budgets, noise of the same size next to none; 20 leave room for
# smaller budgets.
NOISE_POINTS = 20.0


@masking.register
def noise(case: DiagnosisCase, *, num_draws: int = 10) -> CheckResult:
    """Compares the attack under test with random points of its ball.

    Args:
      case: What is examined, see `DiagnosisCase`.
      num_draws: Random points an image.

    Returns:
      A finding with, in percent, "robust_accuracy_noise" (the mean over
      draws), "robust_accuracy_worst_draw" (an image counts as broken if any
      draw breaks it) and "robust_accuracy_attack". Passed where the attack
      takes at least 20 points more than the worst draw; flagged where it
      is not stronger than the worst draw by two standard errors; between
      the two the check cannot tell a robust classifier from a masked one,
      and says "not checked".

    Raises:
      InputError: Fewer than one draw.

    Reference: Carlini et al. 2019, arXiv 1902.06705.
    """
    errors.check_number("num_draws", num_draws, at_least=1)
    attack_success = run_white_box(case)
    draw_success = np.stack(
        [~case.compute_correct_mask(sample_in_ball(case, draw)) for draw in range(num_draws)]
    )
    worst_success = draw_success.any(0) | ~case.clean_correct
    comparison = PairedComparison.from_success(worst_success, attack_success)
    values = {
        "robust_accuracy_noise": compute_robust_accuracy(draw_success),
        "robust_accuracy_worst_draw": compute_robust_accuracy(worst_success),
        "robust_accuracy_attack": compute_robust_accuracy(attack_success),
    }
    message = (
        f"Accuracy {values['robust_accuracy_noise']:.1f} % under uniform "
        f"noise, {values['robust_accuracy_worst_draw']:.1f} % under the "
        f"worst of {num_draws} draws, {values['robust_accuracy_attack']:.1f} "
        "% under the attack."
    )
    if comparison.accuracy_drop >= NOISE_POINTS:
        status = PASSED
    elif comparison.is_second_stronger(0.0):
        status = NOT_CHECKED
        message += (
            f" Undecided: less than {NOISE_POINTS:.0f} points apart, as on a "
            "robust classifier or on one whose gradient is partly masked."
        )
    else:
        status = FLAGGED
        message += (
            " The attack is no better than chance: its gradient tells "
            "nothing, or there is nothing to find at this epsilon; the "
            "epsilon curve tells which."
        )
    return CheckResult("noise", values, status, message, len(case.labels))
