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
    accuracy,
    step_size,
    white_box,
)
from qup.masking.case import Case
from qup.masking.comparison import Compared
from qup.masking.finding import FLAGGED, PASSED, Finding, unchecked
from qup.types import LogitsFn


@masking.register
def transfer(case: Case, *, source: LogitsFn | None = None) -> Finding:
    """Attacks another classifier, and shows its images to this one.

    What breaks another classifier says nothing of this one's gradient.
    Where such images break it and its own attack does not, the latter is
    hindered. The source is attacked by PGD-40 on the log odds, a loss that
    does not underflow, to the last step, whether it is misled or not.

    Args:
      case: What is examined, see `Case`; L-inf or L2.
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
        return unchecked(
            "transfer",
            "No other classifier was given to attack in its place "
            "(source=...).",
            len(case.labels),
        )
    white = white_box(case)
    moved = ~case.hits(_attacked(case, source)) | ~case.right
    compared = Compared.of(white, moved)
    values = {
        "robust_accuracy_white_box": accuracy(white),
        "robust_accuracy_transfer": accuracy(moved),
        "only_transfer": compared.only_second,
        "only_white_box": compared.only_first,
    }
    words = (
        f"Robust accuracy {values['robust_accuracy_white_box']:.1f} % by the "
        f"white-box attack, {values['robust_accuracy_transfer']:.1f} % on "
        "images attacked on the other classifier; these alone break "
        f"{compared.only_second} of {compared.n}."
    )
    if compared.missed:
        words += (
            " Its own gradient leads the attack past adversarial images "
            "that exist: robustness is overestimated."
        )
    return Finding(
        "transfer", values, FLAGGED if compared.missed else PASSED, words,
        compared.n,
    )  # fmt: skip


def _attacked(case: Case, source: LogitsFn) -> np.ndarray:
    """Returns images that PGD moved on the source: float32 [n, ...]."""
    attack = attacks.get("pgd")

    def run(images, labels, ids):
        moved = attack(
            source, images, labels, ids=ids, epsilon=case.epsilon,
            norm=case.norm, bounds=case.bounds, seed=case.seed,
            num_steps=DEFAULT_STEPS,
            step_size=step_size(case.epsilon, DEFAULT_STEPS),
            random_start=True, loss="log_odds",
        )  # fmt: skip
        return (moved,)

    ids = np.arange(len(case.labels))
    return case.batched(run, case.images, case.labels, ids)[0]
