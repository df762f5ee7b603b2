"""Signs that a robust accuracy is too high, found with every attack.

A robust accuracy says how far an attack came, not how robust a classifier is. Each flag here names
a reason why the attack may have failed for the wrong reason. "Flagged" never means "checked": a
result without flags has passed these checks only, and `robustness.masking` has more.

```python
result = attacks.run("pgd", classifier, images, labels, epsilon=0.1)
for flag in result.flags:
    print(flag.name, flag.message)
```
"""

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from absl import logging

from qup.attacks import verification
from qup.attacks.functional import FunctionAttack
from qup.attacks.method import Method
from qup.core.classifier import ClassifierInfo, ProbeInfo

# Below this number of images, chance cannot be told from skill.
_MIN_IMAGES = 10
# Shares of images, in percent, above which a vanishing gradient or an attack without progress is
# flagged.
_VANISHING_PERCENT, _NO_PROGRESS_PERCENT, _MISLEADING_PERCENT = 1.0, 50.0, 50.0
_VIOLATIONS = {
    verification.NOT_FINITE: ("not_finite", "have NaN or infinite pixels"),
    verification.OUTSIDE_BOX: ("outside_box", "have pixels outside the bounds"),
    verification.OUTSIDE_BALL: ("outside_ball", "are farther than epsilon from the clean image"),
    verification.NAN_LOGITS: ("nan_logits", "have NaN logits"),
}


class Flag(NamedTuple):
    """A reason to doubt a robust accuracy.

    Attributes:
      name: A short name, for tables and files.
      message: One sentence: what was measured, and what it suggests.
    """

    name: str
    message: str


@dataclasses.dataclass(frozen=True)
class EvaluatedImages:
    """What an attack made of each image.

    Attributes:
      success: bool [n], whether the image is broken.
      correct: bool [n], whether the clean image is classified as its label.
      classes: int32 [n], the predicted classes of the clean images.
      progress: float32 [n], how far the attack moved the margin toward its goal, in logits; NaN for
        images that it did not attack.
      violations: int8 [n], see `qup.attacks.verification`.
      is_saturated: bool [n], whether the label's probability is 1 in float32 at the clean image.
      epsilon: float32 [n], NaN for none; None if no image has the budget 0.
      distances: float64 [n], of the returned images; None if they were not measured.
    """

    success: np.ndarray
    correct: np.ndarray
    classes: np.ndarray
    progress: np.ndarray
    violations: np.ndarray
    is_saturated: np.ndarray
    epsilon: np.ndarray | None = None
    distances: np.ndarray | None = None


def find_flags(
    attack: Method | FunctionAttack | None,
    columns: EvaluatedImages,
    info: ClassifierInfo,
    probe: ProbeInfo,
) -> tuple[Flag, ...]:
    """Returns the reasons to doubt a result.

    Args:
      attack: The attack; None for a function.
      columns: What it made of each image.
      info: What the classifier returns.
      probe: What the first batch showed, without a gradient for an attack that takes none.
    """
    flags = [*_check_rules(columns), *_check_strength(attack, columns)]
    flags += _check_predictions(columns, info.num_classes)
    if info.probabilities and not info.is_exact:
        flags.append(
            Flag(
                "probabilities",
                "The classifier returns probabilities. float32 rounds small ones, and their "
                "gradients, to zero, so the attack may be weaker than on logits.",
            )
        )
    if probe.is_random:
        flags.append(
            Flag(
                "random",
                "The classifier gives the same images different logits in two runs. Average its "
                "gradients: autoattack with version=rand, or an attack with expectation > 1.",
            )
        )
    if probe.has_gradient is not None:
        flags += _check_gradient(attack, columns, probe)
    return tuple(flags)


def _check_rules(columns: EvaluatedImages) -> Iterable[Flag]:
    count = len(columns.success)
    for bit, (name, text) in _VIOLATIONS.items():
        num_broken = int((columns.violations & bit).astype(bool).sum())
        if num_broken:
            yield Flag(
                name,
                f"{num_broken} of {count} attacked images {text}. They count as not attacked, so "
                "the robust accuracy is too high.",
            )
    if columns.distances is None:
        return
    num_unmoved = int((columns.success & columns.correct & (columns.distances == 0)).sum())
    if num_unmoved:
        yield Flag(
            "success_without_moving",
            f"{num_unmoved} images changed their class without a change of a pixel: the classifier "
            "gives one image several classes.",
        )


def _check_strength(
    attack: Method | FunctionAttack | None, columns: EvaluatedImages
) -> Iterable[Flag]:
    attacked = columns.correct
    if columns.epsilon is not None:
        attacked = attacked & (columns.epsilon != 0)
    if not attacked.any():
        return
    if getattr(attack, "is_weak", False):
        yield Flag(
            "few_steps",
            f"{attack.name} takes fewer than 20 gradient steps: its robust accuracy is an upper "
            "bound far from tight. Add pgd or autoattack.",
        )
    broken = columns.success & attacked
    num_gained = int((~columns.correct & ~columns.success).sum())
    # Success of a targeted attack is the target, which misclassified images need not have.
    if num_gained > broken.sum() and not _is_targeted(attack):
        yield Flag(
            "above_test_accuracy",
            "The robust accuracy is above the test accuracy: the attack turns more misclassified "
            "images into correct ones than it breaks.",
        )
    if not broken.any():
        yield Flag(
            "nothing_broken",
            f"The attack broke none of the {int(attacked.sum())} correctly classified images: the "
            "robust accuracy equals the test accuracy. The budget is tiny, or the attack fails.",
        )
    withstood = attacked & ~columns.success & np.isfinite(columns.progress)
    if withstood.any():
        percent = 100 * float(np.mean(columns.progress[withstood] <= 0))
        if percent > _NO_PROGRESS_PERCENT:
            yield Flag(
                "no_progress",
                f"The attack did not lower the margin of {percent:.0f} % of the images that "
                "withstood it: more steps would have no effect. Gradients may be masked.",
            )


def _check_gradient(
    attack: Method | FunctionAttack | None, columns: EvaluatedImages, probe: ProbeInfo
) -> Iterable[Flag]:
    if probe.non_finite:
        yield Flag(
            "gradient_not_finite",
            f"The gradient is NaN or infinite for {100 * probe.non_finite:.0f} % of the first "
            "images; such elements count as 0, which weakens the attack.",
        )
    if 100 * probe.zero > _VANISHING_PERCENT:
        yield Flag(
            "zero_gradient",
            f"The gradient is exactly zero for {100 * probe.zero:.0f} % of the first images: "
            "an attack cannot move them. Use square, one_pixel or spsa.",
        )
    if 100 * probe.misleading > _MISLEADING_PERCENT:
        yield Flag(
            "misleading_gradient",
            f"A step of one grey level changes the margin of {100 * probe.misleading:.0f} % of "
            "the first images by less than a tenth, or more than ten times, of what the gradient "
            "predicts. Compare with square.",
        )
    # Images that the attack has broken are no reason to doubt.
    withstood = columns.is_saturated & columns.correct & ~columns.success
    percent = 100 * withstood.sum() / max(1, columns.correct.sum())
    if percent > _VANISHING_PERCENT and _uses_cross_entropy_alone(attack):
        yield Flag(
            "vanishing_gradient",
            f"{percent:.0f} % of the images withstood the attack with a label probability of 1 in "
            "float32, where the gradient of the cross-entropy is lost to rounding. Use "
            "loss=log_odds or dlr, or autoattack.",
        )


def _is_targeted(attack: Method | FunctionAttack | None) -> bool:
    return attack is not None and attack.is_targeted


def _uses_cross_entropy_alone(attack: Method | FunctionAttack | None) -> bool:
    """Whether every stage climbs the cross-entropy of the label; assumed of functions."""
    if _is_targeted(attack):
        return False  # The probability of the target is small at the start.
    if attack is None or isinstance(attack, FunctionAttack):
        return True
    return all(stage.uses_cross_entropy for stage in attack.stages())


def _check_predictions(columns: EvaluatedImages, num_classes: int) -> Iterable[Flag]:
    """Yields flags of a classifier that guesses, or that gives every image the same class."""
    correct = columns.correct
    if len(correct) < _MIN_IMAGES:
        return
    # Images of one class alone may all have it.
    if len(np.unique(columns.classes)) == 1 and not correct.all():
        yield Flag(
            "one_class",
            f"The classifier gives all {len(correct)} images the class {columns.classes[0]}. Check "
            "the range of the pixels (pixel_range) and the model.",
        )
    # One-sided, at three standard errors of guessing.
    chance = 1 / num_classes
    threshold = chance + 3 * np.sqrt(chance * (1 - chance) / len(correct))
    accuracy = float(correct.mean())
    if accuracy <= threshold:
        yield Flag(
            "at_chance",
            f"The test accuracy, {100 * accuracy:.1f} % of {len(correct)} images, is not above "
            f"chance, {100 * chance:.1f} %. Check the labels, the order of the classes and the "
            "range of the pixels (pixel_range).",
        )


def log_flags(attack_name: str, flags: Iterable[Flag]) -> None:
    """Logs each flag as one warning."""
    for flag in flags:
        logging.warning("%s, %s: %s", attack_name, flag.name, flag.message)
