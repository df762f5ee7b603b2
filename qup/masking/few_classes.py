"""Whether the classifier has enough classes for the attacks on logits.

```python
masking.get("few_classes")(classifier, images, labels, epsilon=0.1)
```
"""

from qup import masking
from qup.masking.case import DiagnosisCase
from qup.masking.finding import FLAGGED, PASSED, CheckResult

# The targeted difference of logits ratio divides by
# z_(1) - (z_(3) + z_(4)) / 2.
MIN_CLASSES = 4


@masking.register
def few_classes(case: DiagnosisCase) -> CheckResult:
    """Counts the classes.

    Args:
      case: What is examined, see `DiagnosisCase`.

    Returns:
      A finding with "classes"; flagged below 4.

    Reference: Croce and Hein 2020, arXiv 2003.01690.
    """
    count = case.classifier_info.num_classes
    message = f"The classifier has {count} classes."
    if count < MIN_CLASSES:
        message += (
            " The targeted DLR loss needs 4, the untargeted 3: standard "
            "AutoAttack is not defined here. Attack by apgd_ce, by PGD on "
            "the margin, and by square."
        )
    return CheckResult(
        "few_classes",
        {"classes": count},
        FLAGGED if count < MIN_CLASSES else PASSED,
        message,
        len(case.labels),
    )
