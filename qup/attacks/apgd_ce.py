"""Auto-PGD on cross-entropy, the first attack of AutoAttack.

```python
attacked = attacks.get("apgd_ce")(classifier, images, labels, epsilon=8 / 255)
```
"""

import dataclasses

from qup import attacks, errors, norms
from qup.attacks import losses
from qup.attacks.apgd import APGD

_CE_LOSSES = ("cross_entropy", "log_odds")


@attacks.register("apgd_ce", kind="budget", norms=norms.NAMES, gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class APGDCE(APGD):
    """Climbs cross-entropy with a step size that each example sets.

    Attributes:
      epsilon, norm, num_steps, rho, restarts, expectation: See `APGD`.
      targeted: Descend the loss of the labels, which are targets.
      loss: "cross_entropy", or "log_odds", which takes the same path in
        exact arithmetic and does not round to nothing where the classifier
        is sure.

    Reference: Croce and Hein 2020, arXiv 2003.01690.
    """

    targeted: bool = False
    loss: str = "cross_entropy"

    def check(self):
        """Raises an InputError for an option out of its range."""
        super().check()
        if self.loss not in _CE_LOSSES:
            raise errors.make_unknown_error("loss of apgd_ce", self.loss, _CE_LOSSES)

    def build_objective(self, examples, state):
        """Cross-entropy; of targets, less it."""
        return losses.build_objective(self.loss, examples.labels, self.targeted)
