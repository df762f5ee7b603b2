"""The six checks that AutoAttack makes before it is believed.

```python
masking.get("autoattack_checks")(classifier, images, labels, epsilon=0.1)
```
"""

from qup import masking
from qup.masking.case import DiagnosisCase
from qup.masking.finding import FLAGGED, NOT_CHECKED, PASSED, CheckResult

_CHECKS = (
    "randomised",
    "probabilities",
    "zero_gradients",
    "black_box",
    "inner_optimisation",
    "few_classes",
)


@masking.register
def autoattack_checks(case: DiagnosisCase) -> CheckResult:
    """Brings six other checks together.

    They are the classifier's randomness, probabilities in place of logits,
    zero gradients at the start, Square beating the white-box attack by over
    0.2 points, optimisation at inference and the number of classes. They
    are made with the options given for each of them.

    Args:
      case: What is examined, see `DiagnosisCase`.

    Returns:
      A finding with a number for each of the six: 1 flagged, 0 passed, NaN
      not checked. Flagged where one is (any image without a gradient is
      enough, as for AutoAttack), else "not checked" where one is not.

    Reference: Croce and Hein 2020, arXiv 2003.01690, and the flags of its
    implementation; Croce et al. 2020, arXiv 2010.09670.
    """
    codes = {FLAGGED: 1.0, PASSED: 0.0, NOT_CHECKED: float("nan")}
    results = {name: masking.run_check(case, name) for name in _CHECKS}
    status = {name: result.status for name, result in results.items()}
    zero_gradient_values = results["zero_gradients"].values
    if any(
        zero_gradient_values[key] > 0
        for key in zero_gradient_values
        if key.startswith("zero_images")
    ):
        status["zero_gradients"] = FLAGGED
    flagged = [name for name in _CHECKS if status[name] == FLAGGED]
    not_checked = [name for name in _CHECKS if status[name] == NOT_CHECKED]
    message = "None of the six checks is flagged."
    if flagged:
        message = f"Flagged: {', '.join(flagged)}."
    if not_checked:
        message += f" Not checked: {', '.join(not_checked)}."
    overall = FLAGGED if flagged else NOT_CHECKED if not_checked else PASSED
    return CheckResult(
        "autoattack_checks",
        {name: codes[status[name]] for name in _CHECKS},
        overall,
        message,
        len(case.labels),
    )
