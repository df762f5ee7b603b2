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
from qup.masking.breaking import white_box
from qup.masking.case import Case
from qup.masking.finding import FLAGGED, NOT_CHECKED, PASSED, Finding
from qup.masking.plants import TRIES, Plants
from qup.masking.points import on_surface
from qup.masking.readouts import GROUP, Readouts, separated

# A sound attack finds nearly all; a readout in twenty may be a hard one.
SUCCESS_PERCENT = 95.0
# Where random points find half of them, success says little.
RANDOM_PERCENT = 50.0
# Under so few planted points one failure is more than ten points.
FEWEST = 10


@masking.register
def planted(
    case: Case,
    *,
    num_images: int = 64,
    num_inner: int = 64,
    num_random: int = 200,
) -> Finding:
    """Replaces the last layer so that an adversarial point surely exists.

    Around each image, points inside its ball are class 0 and one random
    point on the boundary is class 1; a linear readout on the frozen
    features (of a Keras model those before its last Dense layer, else the
    logits) tells them apart. The attack under test starts at the image and
    must reach class 1. What hides the gradient in front of the readout
    makes it fail. Images whose balls touch another's, and those of which
    the readout does not separate the point, are left out.

    Args:
      case: What is examined, see `Case`; the attack must take two classes.
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
    errors.check_number("num_images", num_images, least=1)
    errors.check_number("num_inner", num_inner, least=1)
    errors.check_number("num_random", num_random, least=1)
    chosen = separated(case.images, case.epsilon, case.norm, num_images)
    case = dataclasses.replace(case, batch_size=min(case.batch_size, GROUP))
    readouts, found, random = Readouts.of(case), [], []
    for start in range(0, len(chosen), GROUP):
        rows = chosen[start : start + GROUP]
        group = case.on(case.classifier, case.images[rows], case.labels[rows])
        plants = Plants.of(group, num_inner)
        readouts.assign(group.images, plants.weights, plants.offsets)
        problem = group.on(
            readouts.logits, group.images, np.zeros(len(rows), np.int32)
        )
        sound = plants.separated & problem.right
        sound &= ~problem.hits(plants.points)
        found.append(white_box(problem)[sound])
        random.append(_random(problem, TRIES + num_inner, num_random)[sound])
    return _finding(np.concatenate(found), np.concatenate(random))


def _random(problem: Case, first: int, count: int) -> np.ndarray:
    """Marks the images of which a random boundary point is of class 1."""
    found = np.zeros(len(problem.labels), bool)
    for draw in range(first, first + count):
        found |= ~problem.hits(on_surface(problem, draw))
    return found


def _finding(found: np.ndarray, random: np.ndarray) -> Finding:
    count = len(found)
    if count < FEWEST:
        return Finding(
            "planted", {"planted": count}, NOT_CHECKED,
            f"A point could be planted for {count} images only, fewer than "
            f"{FEWEST}: give more images, or ones farther than two epsilons "
            "apart. A classifier that answers at random holds none.", count,
        )  # fmt: skip
    values = {
        "attack_success": 100.0 * float(found.mean()),
        "random_success": 100.0 * float(random.mean()),
        "planted": count,
    }
    words = (
        f"Of {count} planted adversarial points the attack finds "
        f"{values['attack_success']:.1f} %, random points "
        f"{values['random_success']:.1f} %."
    )
    status = PASSED
    if values["attack_success"] < SUCCESS_PERCENT:
        status = FLAGGED
        words += (
            " It misses points that surely exist, so its failure on the "
            "classifier itself is no sign of robustness."
        )
    elif values["random_success"] > RANDOM_PERCENT:
        status = NOT_CHECKED
        words += " Undecided: chance finds them as well."
    return Finding("planted", values, status, words, count)
