"""Checks that compare the attack under test with another one, image by image.

The other attack is Square Attack (`black_box`), an attack on another classifier (`transfer`), or
random noise (`noise`). Attacks run once per case for all checks.

```python
masking.get("black_box")(classifier, images, labels, epsilon=0.1, num_queries=5000)
compute_robust_accuracy(run_pgd(case, 100, loss="margin"))
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

# Steps of the default attack under test.
DEFAULT_STEPS = 40
# Steps of a total length of 2.5 radii reach any point of the ball from any start (Madry et al.
# 2018, arXiv 1706.06083).
_RELATIVE_PATH_LENGTH = 2.5
# In standard errors. Chance alone exceeds it once in forty times.
_Z_THRESHOLD = 2.0
# AutoAttack calls a black-box attack stronger than the white-box ones if it lowers robust accuracy
# by more than 0.2 points. Restarts and seeds cause smaller differences.
SLACK_PERCENT = 0.2
# Below 500 images one image is more than that, and one image close to the edge of its ball may be
# chance.
_MIN_MISSED_IMAGES = 2
# Separates these random numbers from those of an attack with the same seed and ids.
_PRNG_STREAM = 17
# With standard training and the paper's budgets PGD lowers accuracy by 50 points and more, noise of
# the same size hardly at all. 20 points allow for smaller budgets.
NOISE_POINTS = 20.0


# Attacks


def compute_robust_accuracy(success: np.ndarray) -> float:
    """Returns the share of images for which the attack fails, in percent."""
    return 100.0 * float(np.mean(~success))


def compute_step_size(epsilon: float, steps: int) -> float:
    """Returns the length of a PGD step."""
    return _RELATIVE_PATH_LENGTH * epsilon / steps


def run_attack(
    case: DiagnosisCase, attack: str | Callable, *, epsilon: float, **options: Any
) -> np.ndarray:
    """Attacks all images; the clean image counts as a point of its ball.

    Args:
      case: See `DiagnosisCase`.
      attack: See `attacks.run`.
      epsilon: The budget.
      **options: Options of the attack.

    Returns:
      bool [n], the images for which it succeeds.

    Raises:
      InputError: An argument that cannot be used.
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
            logs_flags=False,
            **options,
        )
        case.cache[key] = result.success | ~case.clean_correct
    return case.cache[key]


def run_pgd(
    case: DiagnosisCase, steps: int, *, loss: str = "cross_entropy", epsilon: float | None = None
) -> np.ndarray:
    """Attacks by PGD from a random start; the first adversarial iterate counts.

    Args:
      case: See `DiagnosisCase`; L-inf or L2.
      steps: Number of steps, with a total length of 2.5 epsilon.
      loss: See `attacks.losses`.
      epsilon: The budget; None means that of the case.

    Returns:
      bool [n], the images for which it succeeds.

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
    """Runs the attack under test: bool [n], the images for which it succeeds.

    The default is PGD-40 on cross-entropy, and Auto-PGD in L1, where PGD has no good step size.
    """
    budget = case.epsilon if epsilon is None else epsilon
    if case.attack is not None:
        options = dict(case.attack_options or {})
        return run_attack(case, case.attack, epsilon=budget, **options)
    if case.norm == "l1":
        return run_attack(case, "apgd_ce", epsilon=budget)
    return run_pgd(case, DEFAULT_STEPS, epsilon=budget)


class PairedComparison(NamedTuple):
    """Numbers of images for which only one of two attacks succeeds.

    Attributes:
      only_first: Images for which only the first attack succeeds.
      only_second: Images for which only the second attack succeeds.
      n: Number of images.
    """

    only_first: int
    only_second: int
    n: int

    @classmethod
    def from_success(cls, first: np.ndarray, second: np.ndarray) -> "PairedComparison":
        """Compares the successes of two attacks, bool [n] each."""
        return cls(int((first & ~second).sum()), int((second & ~first).sum()), len(first))

    @property
    def accuracy_drop(self) -> float:
        """Robust accuracy under the first attack minus that under the second, in points."""
        return 100.0 * (self.only_second - self.only_first) / self.n

    @property
    def first_misses_images(self) -> bool:
        """Whether the first attack misses images for which the second succeeds.

        More than `SLACK_PERCENT` of them, and more than one image.
        """
        share = 100.0 * self.only_second / self.n
        return share > SLACK_PERCENT and self.only_second >= _MIN_MISSED_IMAGES

    def is_second_stronger(self, min_drop: float) -> bool:
        """Whether the second is stronger by more than `min_drop` points, and significantly.

        The standard error of a paired difference of counts is sqrt(only_first + only_second), as in
        McNemar's test.
        """
        excess = self.only_second - self.only_first
        error = math.sqrt(self.only_first + self.only_second)
        return self.accuracy_drop > min_drop and excess > _Z_THRESHOLD * error


# Black-box and transfer attacks


def _build_paired_result(
    name: str,
    other: str,
    white_box_success: np.ndarray,
    other_success: np.ndarray,
    description: str,
    conclusion: str,
) -> CheckResult:
    """Returns the result of a check that compares another attack with the one under test.

    Args:
      name: Name of the check.
      other: Name of the other attack in the values.
      white_box_success: bool [n], images for which the attack under test succeeds.
      other_success: bool [n], images for which the other attack succeeds.
      description: The other attack, for the message.
      conclusion: Added to the message of a flagged result.
    """
    comparison = PairedComparison.from_success(white_box_success, other_success)
    values = {
        "robust_accuracy_white_box": compute_robust_accuracy(white_box_success),
        f"robust_accuracy_{other}": compute_robust_accuracy(other_success),
        f"only_{other}": comparison.only_second,
        "only_white_box": comparison.only_first,
    }
    message = (
        f"Robust accuracy {values['robust_accuracy_white_box']:.1f} % under the white-box attack, "
        f"{values[f'robust_accuracy_{other}']:.1f} % under {description}. Only the latter succeeds "
        f"for {comparison.only_second} of {comparison.n} images."
    )
    if comparison.first_misses_images:
        message += f" {conclusion}"
    status = FLAGGED if comparison.first_misses_images else PASSED
    return CheckResult(name, values, status, message, comparison.n)


@masking.register
def black_box(case: DiagnosisCase, *, num_queries: int = 1000) -> CheckResult:
    """Compares Square Attack, which needs no gradient, with the attack under test.

    The gradient is additional knowledge. So images for which only the black-box attack succeeds
    show that the gradient misleads, even if their total number of successes is smaller.

    Args:
      case: See `DiagnosisCase`; images [height, width, channels].
      num_queries: Queries of Square per image.

    Returns:
      "robust_accuracy_white_box" and "..._black_box" in percent, and the numbers of images for
      which only one of them succeeds, "only_black_box" and "only_white_box". Flagged if the former
      are more than 0.2 % (AutoAttack's threshold) and more than one.

    Raises:
      InputError: Images of another rank, or too few queries.

    Reference: Carlini et al. 2019, arXiv 1902.06705; Andriushchenko et al. 2020, arXiv 1912.00049.
    """
    return _build_paired_result(
        "black_box",
        "black_box",
        run_white_box(case),
        run_attack(case, "square", epsilon=case.epsilon, num_queries=num_queries),
        f"Square with {num_queries} queries",
        "The gradient does not lead to these adversarial images: robustness is overestimated.",
    )


@masking.register
def transfer(case: DiagnosisCase, *, source: LogitsFn | None = None) -> CheckResult:
    """Attacks another classifier, and evaluates its images on this one.

    An attack on another classifier does not use this one's gradient. If it succeeds where the
    attack on the classifier itself fails, the latter is hindered. The source is attacked by all
    steps of PGD-40 on the log odds, a loss that does not underflow.

    Args:
      case: See `DiagnosisCase`; L-inf or L2.
      source: The other classifier, of the same images and classes, for example the plain one of a
        pair; None means that the check is not made.

    Returns:
      "robust_accuracy_white_box" and "..._transfer" in percent, and the numbers of images for which
      only one of them succeeds, "only_transfer" and "only_white_box". Flagged if the former are
      more than 0.2 % and more than one.

    Raises:
      InputError: A norm that PGD does not support.

    Reference: Papernot et al. 2017, arXiv 1602.02697; Carlini et al. 2019, arXiv 1902.06705.
    """
    if source is None:
        return build_unchecked_result(
            "transfer", "No other classifier to attack was given (source=...).", len(case.labels)
        )
    white_box_success = run_white_box(case)
    perturbed = _attack_source(case, source)
    return _build_paired_result(
        "transfer",
        "transfer",
        white_box_success,
        ~case.compute_correct_mask(perturbed) | ~case.clean_correct,
        "an attack on the other classifier",
        "The classifier's gradient does not lead to these adversarial images: robustness is "
        "overestimated.",
    )


def _attack_source(case: DiagnosisCase, source: LogitsFn) -> np.ndarray:
    """Returns images after PGD on the source: float32 [n, ...]."""
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


# Random points


def sample_in_ball(case: DiagnosisCase, draw: int, radius: float | None = None) -> np.ndarray:
    """Returns a uniform point of each image's ball, clipped to the bounds: float32 [n, ...].

    Args:
      case: Gives images, norm, bounds and seed.
      draw: Number of the draw.
      radius: Radius of the ball; None means epsilon.
    """
    return _perturb_images(case, _sample_inside, draw, radius)


def sample_on_surface(case: DiagnosisCase, draw: int, radius: float | None = None):
    """Returns a random corner of each L-inf ball, or a random surface point of an L2 or L1 ball.

    It is clipped to the bounds; see `sample_in_ball`.
    """
    return _perturb_images(case, _sample_outermost, draw, radius)


def _sample_inside(images: tf.Tensor, keys: tf.Tensor, norm: str) -> tf.Tensor:
    return norms.sample(images, 1.0, norm, prng.make_keys(0, keys))


def _sample_outermost(images: tf.Tensor, keys: tf.Tensor, norm: str) -> tf.Tensor:
    if norm == "linf":
        return prng.rademacher(prng.make_keys(1, keys), images.shape[1:])
    inside = _sample_inside(images, keys, norm)
    return inside / norms.expand_like(norms.compute_norm(inside, norm), images)


@functools.cache
def _compile_perturbation(sampler: Callable, norm: str, bounds: Bounds) -> Callable:
    """Returns the compiled perturbation, one for all cases."""

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


@masking.register
def noise(case: DiagnosisCase, *, num_draws: int = 10) -> CheckResult:
    """Compares random points of the ball with the attack under test.

    Args:
      case: See `DiagnosisCase`.
      num_draws: Random points per image.

    Returns:
      In percent, "robust_accuracy_noise" (the mean over draws), "robust_accuracy_worst_draw" (any
      draw may succeed) and "robust_accuracy_attack". Passed if the attack lowers accuracy by at
      least 20 points more than the worst draw. Flagged if it breaks nothing, or if the worst draw
      is stronger by two standard errors. Between these limits a robust classifier and a masked one
      look alike, and the status is "not checked".

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
        f"Accuracy {values['robust_accuracy_noise']:.1f} % under uniform noise, "
        f"{values['robust_accuracy_worst_draw']:.1f} % under the worst of {num_draws} draws, "
        f"{values['robust_accuracy_attack']:.1f} % under the attack."
    )
    if comparison.accuracy_drop >= NOISE_POINTS:
        status = PASSED
    elif _is_useless(case, attack_success, worst_success):
        status = FLAGGED
        message += (
            " The attack is not better than random noise: the gradient is useless, or no "
            "adversarial image exists at this epsilon. The epsilon curve shows which."
        )
    else:
        status = NOT_CHECKED
        message += (
            f" Undecided: the difference is below {NOISE_POINTS:.0f} points, as for a robust "
            "classifier or for one with a partly masked gradient."
        )
    return CheckResult("noise", values, status, message, len(case.labels))


def _is_useless(case: DiagnosisCase, attack_success: np.ndarray, noise_success: np.ndarray) -> bool:
    """Returns whether an attack breaks nothing, or noise breaks significantly more."""
    breaks_nothing = not (attack_success & case.clean_correct).any()
    comparison = PairedComparison.from_success(attack_success, noise_success)
    return breaks_nothing or comparison.is_second_stronger(0.0)
