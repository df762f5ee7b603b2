"""Whether the classifier has enough classes for the attacks on logits.

```python
masking.get("few_classes")(classifier, images, labels, epsilon=0.1)
```
"""

from qup import masking
from qup.masking.case import Case
from qup.masking.finding import FLAGGED, PASSED, Finding

# The targeted difference of logits ratio divides by
# z_(1) - (z_(3) + z_(4)) / 2.
FEWEST = 4


@masking.register
def few_classes(case: Case) -> Finding:
    """Counts the classes.

    Args:
      case: What is examined, see `Case`.

    Returns:
      A finding with "classes"; flagged below 4.

    Reference: Croce and Hein 2020, arXiv 2003.01690.
    """
    count = case.answers.num_classes
    words = f"The classifier has {count} classes."
    if count < FEWEST:
        words += (
            " The targeted DLR loss needs 4, the untargeted 3: standard "
            "AutoAttack is not defined here. Attack by apgd_ce, by PGD on "
            "the margin, and by square."
        )
    return Finding(
        "few_classes", {"classes": count},
        FLAGGED if count < FEWEST else PASSED, words, len(case.labels),
    )  # fmt: skip
