"""Images attacked on another classifier, against the white-box attack.

```python
masking.get("transfer")(
    classifier, images, labels, epsilon=0.1, source=other_classifier
)
```
"""

import numpy as np

from qup import attacks, masking
from qup.masking.breaking import (
    DEFAULT_STEPS,
    compute_robust_accuracy,
    compute_step_size,
    run_white_box,
)
from qup.masking.case import DiagnosisCase
from qup.masking.comparison import PairedComparison
from qup.masking.finding import FLAGGED, PASSED, CheckResult, build_unchecked_result
from qup.types import LogitsFn


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
