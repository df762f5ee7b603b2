"""Whether the classifier gives probabilities in place of logits.

```python
masking.get("probabilities")(classifier, images, labels, epsilon=0.1)
```
"""

from qup import masking
from qup.masking.case import Case
from qup.masking.finding import FLAGGED, PASSED, Finding


@masking.register
def probabilities(case: Case) -> Finding:
    """Looks at the first batch's answers: do all rows sum to one?

    Args:
      case: What is examined, see `Case`.

    Returns:
      A finding with "probabilities", 1 where no answer is negative and each
      row sums to one within 1e-4, else 0. Flagged at 1.

    Reference: Croce and Hein 2020, arXiv 2003.01690; Carlini and Wagner
    2016, arXiv 1607.04311, on defensive distillation.
    """
    found = case.answers.probabilities
    words = "The classifier answers logits."
    if found:
        words = (
            "The classifier answers probabilities. Attacks here take their "
            "logarithm, but a softmax in float32 has rounded small "
            "probabilities, and their gradients, to zero: give the logits."
        )
    return Finding(
        "probabilities", {"probabilities": float(found)},
        FLAGGED if found else PASSED, words, len(case.labels),
    )  # fmt: skip
