"""Square Attack, which needs no gradient, against the white-box attack.

```python
masking.get("black_box")(
    classifier, images, labels, epsilon=0.1, num_queries=5000
)
```
"""

from qup import masking
from qup.masking.breaking import compute_robust_accuracy, run_attack, run_white_box
from qup.masking.case import DiagnosisCase
from qup.masking.comparison import PairedComparison
from qup.masking.finding import FLAGGED, PASSED, CheckResult


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
