"""The planted-example test: a sound attack finds what is known to exist.

```python
masking.get("planted")(
    classifier, images, labels, epsilon=0.1, attack="apgd_ce"
)
```
"""

import dataclasses

import numpy as np

from qup import errors, masking
from qup.masking.breaking import run_white_box
from qup.masking.case import DiagnosisCase
from qup.masking.finding import FLAGGED, NOT_CHECKED, PASSED, CheckResult
from qup.masking.plants import NUM_CANDIDATES, PlantedExamples
from qup.masking.points import sample_on_surface
from qup.masking.readouts import GROUP_SIZE, Readouts, select_separated

# A sound attack finds nearly all; a readout in twenty may be a hard one.
MIN_SUCCESS_PERCENT = 95.0
# Where random points find half of them, success says little.
MAX_RANDOM_PERCENT = 50.0
# Under so few planted points one failure is more than ten points.
MIN_PLANTED = 10


@masking.register
def planted(
    case: DiagnosisCase, *, num_images: int = 64, num_inner: int = 64, num_random: int = 200
) -> CheckResult:
    """Replaces the last layer so that an adversarial point surely exists.

    Around each image, points inside its ball are class 0 and one random
    point on the boundary is class 1; a linear readout on the frozen
    features (of a Keras model those before its last Dense layer, else the
    logits) tells them apart. The attack under test starts at the image and
    must reach class 1. What hides the gradient in front of the readout
    makes it fail. Images whose balls touch another's, and those of which
    the readout does not separate the point, are left out.

    Args:
      case: What is examined, see `DiagnosisCase`; the attack must take two classes.
      num_images: At most so many images, the first.
      num_inner: Random points of class 0 an image.
      num_random: Random points on the boundary that are tried in place of
        the attack.

    Returns:
      A finding with "attack_success" and "random_success" in percent and
      the number "planted". Flagged where the attack finds under 95 %;
      "not checked" where fewer than 10 could be planted, or random points
      find over half of them.

    Raises:
      InputError: A number out of its range.

    Reference: Zimmermann, Brendel, Tramer, Carlini 2022, arXiv 2206.13991.
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
    """Marks the images of which a random boundary point is of class 1."""
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
            f"A point could be planted for {count} images only, fewer than "
            f"{MIN_PLANTED}: give more images, or ones farther than two epsilons "
            "apart. A classifier that answers at random holds none.",
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
            " It misses points that surely exist, so its failure on the "
            "classifier itself is no sign of robustness."
        )
    elif values["random_success"] > MAX_RANDOM_PERCENT:
        status = NOT_CHECKED
        message += " Undecided: chance finds them as well."
    return CheckResult("planted", values, status, message, count)
