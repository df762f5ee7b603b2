"""Whether the classifier gives probabilities in place of logits.

```python
masking.get("probabilities")(classifier, images, labels, epsilon=0.1)
```
"""

from qup import masking
from qup.masking.case import DiagnosisCase
from qup.masking.finding import FLAGGED, PASSED, CheckResult


@masking.register
def probabilities(case: DiagnosisCase) -> CheckResult:
    """Looks at the first batch's answers: do all rows sum to one?

    Args:
      case: What is examined, see `DiagnosisCase`.

    Returns:
      A finding with "probabilities", 1 where no answer is negative and each
      row sums to one within 1e-4, else 0. Flagged at 1.

    Reference: Croce and Hein 2020, arXiv 2003.01690; Carlini and Wagner
    2016, arXiv 1607.04311, on defensive distillation.
    """
    is_probability = case.classifier_info.probabilities
    message = "The classifier answers logits."
    if is_probability:
        message = (
            "The classifier answers probabilities. Attacks here take their "
            "logarithm, but a softmax in float32 has rounded small "
            "probabilities, and their gradients, to zero: give the logits."
        )
    return CheckResult(
        "probabilities",
        {"probabilities": float(is_probability)},
        FLAGGED if is_probability else PASSED,
        message,
        len(case.labels),
    )
