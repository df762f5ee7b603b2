"""Uniform random noise of the attack's size, as the baseline.

```python
masking.get("noise")(classifier, images, labels, epsilon=0.1, num_draws=20)
```
"""

import numpy as np

from qup import errors, masking
from qup.masking.breaking import accuracy, white_box
from qup.masking.case import Case
from qup.masking.comparison import Compared
from qup.masking.finding import FLAGGED, NOT_CHECKED, PASSED, Finding
from qup.masking.points import scattered

# From a plainly trained network PGD takes some 50 points and more at the
# paper's budgets, noise of the same size next to none; 20 leave room for
# smaller budgets.
POINTS = 20.0


@masking.register
def noise(case: Case, *, num_draws: int = 10) -> Finding:
    """Compares the attack under test with random points of its ball.

    Args:
      case: What is examined, see `Case`.
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
    errors.check_number("num_draws", num_draws, least=1)
    attack = white_box(case)
    drawn = np.stack(
        [~case.hits(scattered(case, draw)) for draw in range(num_draws)]
    )
    worst = drawn.any(0) | ~case.right
    compared = Compared.of(worst, attack)
    values = {
        "robust_accuracy_noise": accuracy(drawn),
        "robust_accuracy_worst_draw": accuracy(worst),
        "robust_accuracy_attack": accuracy(attack),
    }
    words = (
        f"Accuracy {values['robust_accuracy_noise']:.1f} % under uniform "
        f"noise, {values['robust_accuracy_worst_draw']:.1f} % under the "
        f"worst of {num_draws} draws, {values['robust_accuracy_attack']:.1f} "
        "% under the attack."
    )
    if compared.stronger >= POINTS:
        status = PASSED
    elif compared.clearly(0.0):
        status = NOT_CHECKED
        words += (
            f" Undecided: less than {POINTS:.0f} points apart, as on a "
            "robust classifier or on one whose gradient is partly masked."
        )
    else:
        status = FLAGGED
        words += (
            " The attack is no better than chance: its gradient tells "
            "nothing, or there is nothing to find at this epsilon; the "
            "epsilon curve tells which."
        )
    return Finding("noise", values, status, words, len(case.labels))
