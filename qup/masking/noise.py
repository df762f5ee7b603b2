"""Uniform random noise of the attack's size, as the baseline.

```python
masking.get("noise")(classifier, images, labels, epsilon=0.1, num_draws=20)
```
"""

import numpy as np

from qup import errors, masking
from qup.masking.breaking import compute_robust_accuracy, run_white_box
from qup.masking.case import DiagnosisCase
from qup.masking.comparison import PairedComparison
from qup.masking.finding import FLAGGED, NOT_CHECKED, PASSED, CheckResult
from qup.masking.points import sample_in_ball

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
