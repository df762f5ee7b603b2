"""Robust accuracy over the number of PGD steps.

```python
masking.get("step_curve")(classifier, images, labels, epsilon=0.1)
```
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from qup import errors, masking
from qup.masking.breaking import accuracy, pgd
from qup.masking.case import Case
from qup.masking.comparison import Compared
from qup.masking.finding import FLAGGED, PASSED, Finding

STEPS = (1, 4, 10, 40, 100)
# A point is one image in a hundred, which another start may change; what
# counts is larger, and beyond chance as well.
POINTS = 1.0


@masking.register
def step_curve(
    case: Case, *, steps: Sequence[int] = STEPS, loss: str = "cross_entropy"
) -> Finding:
    """Attacks by PGD with more and more steps.

    More steps of an attack that can see only help; where they stop helping,
    the attack has converged. The steps of a run are together 2.5 epsilon
    long, start at random, and the first adversarial point is kept.

    Args:
      case: What is examined, see `Case`.
      steps: Numbers of steps, rising, at least two.
      loss: What PGD climbs, see `attacks.losses`.

    Returns:
      A finding with "robust_accuracy_<steps>" in percent and the arrays
      "steps" and "robust_accuracy". Flagged where robust accuracy rises
      with the steps, or still falls from the last but one to the last, by
      more than a point and two standard errors.

    Raises:
      InputError: Steps that do not rise, or an unknown loss.

    Reference: Carlini et al. 2019, arXiv 1902.06705.
    """
    rising = all(one < other for one, other in pairwise(steps))
    if len(steps) < 2 or not rising:
        raise errors.InputError(
            "steps must be at least two rising numbers, such as (10, 40, "
            f"100); got {steps!r}."
        )
    broken = [pgd(case, int(count), loss=loss) for count in steps]
    curve = [accuracy(hits) for hits in broken]
    changes = [Compared.of(*pair) for pair in pairwise(broken)]
    rises = [Compared.of(after, before).clearly(POINTS)
             for before, after in pairwise(broken)]  # fmt: skip
    falling = changes[-1].clearly(POINTS)
    words = (
        f"Robust accuracy {_listed(curve)} % after {_listed(steps)} PGD steps."
    )
    if any(rises):
        words += (
            " It rises with the steps, which an attack that follows a useful "
            "gradient does not do."
        )
    elif falling:
        words += (
            f" It still falls by {changes[-1].stronger:.1f} points at the "
            "last: take more steps before believing the number."
        )
    return Finding(
        "step_curve",
        {f"robust_accuracy_{count}": percent
         for count, percent in zip(steps, curve, strict=True)},
        FLAGGED if any(rises) or falling else PASSED,
        words,
        len(case.labels),
        {"steps": np.asarray(steps), "robust_accuracy": np.asarray(curve)},
    )  # fmt: skip


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:.3g}" for number in numbers)
