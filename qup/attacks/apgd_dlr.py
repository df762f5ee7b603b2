"""Auto-PGD on the difference of logits ratio.

```python
attacked = attacks.get("apgd_dlr")(classifier, images, labels, epsilon=8 / 255)
```
"""

import dataclasses

from qup import attacks, norms
from qup.attacks import losses
from qup.attacks.apgd import APGD


@attacks.register("apgd_dlr", kind="budget", norms=norms.NAMES, gradients=True, classes=3)
@dataclasses.dataclass(frozen=True, kw_only=True)
class APGDDLR(APGD):
    """Climbs a loss that does not change when the logits are rescaled.

    So a classifier cannot hide its gradient in the scale of its logits.

    Attributes:
      epsilon, norm, num_steps, rho, restarts, expectation: See `APGD`.

    Reference: Croce and Hein 2020, arXiv 2003.01690, Eq. 6.
    """

    def build_objective(self, examples, state):
        """DLR = -(z_y - max_{i != y} z_i) / (z_(1) - z_(3))."""
        return losses.build_objective("dlr", examples.labels, False)
