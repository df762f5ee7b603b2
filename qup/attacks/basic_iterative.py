"""The basic iterative method: row two of the paper's Table 4.

`pgd` with the numbers of its authors: steps of one grey level of 255.

```python
attack = attacks.get("basic_iterative")
attacked = attack(classifier, images, labels, epsilon=8 / 255)
```
"""

import dataclasses
import math

import numpy as np

from qup import attacks, errors
from qup.attacks import base
from qup.attacks.pgd import PGD

_LEVELS = 255


@attacks.register(
    "basic_iterative", kind="budget", norms=("linf",), gradients=True
)
@dataclasses.dataclass(frozen=True, kw_only=True)
class BasicIterative(base.Method):
    """Climbs the loss in steps of one grey level.

    Attributes:
      epsilon: Radius of the L-inf ball, in the units of `bounds`.
      step_size: Length of a step; None means 1/255 of the box's width.
      num_steps: None means Kurakin's number, min(epsilon + 4, 1.25 epsilon)
        in units of 1/255 of the box's width.
      targeted: Descend the loss of the labels, which are targets.

    Reference: Kurakin, Goodfellow, Bengio 2017, arXiv 1607.02533.
    """

    epsilon: float
    step_size: float | None = None
    num_steps: int | None = None
    targeted: bool = False

    def check(self):
        """Raises an InputError for a number out of its range."""
        check(self.step_size, self.num_steps)

    def parts(self):
        """`pgd`, its numbers filled in."""
        size, count = kurakin(self)
        return (
            PGD(
                bounds=self.bounds, seed=self.seed, xla=self.xla,
                epsilon=self.epsilon, step_size=size, num_steps=count,
                targeted=self.targeted,
            ),
        )  # fmt: skip


def check(step_size: float | None, num_steps: int | None) -> None:
    """Raises an InputError for a step or a number of them out of range."""
    if step_size is not None:
        errors.check_number("step_size", step_size, above=0)
    if num_steps is not None:
        errors.check_number("num_steps", num_steps, least=1)


def kurakin(attack: base.Method) -> tuple[float, int]:
    """Returns step size and number of steps, Kurakin's where none is given.

    Args:
      attack: Has bounds, epsilon, step_size and num_steps.
    """
    level = attack.width / _LEVELS
    size = level if attack.step_size is None else attack.step_size
    count = attack.num_steps
    if count is None:
        levels = float(np.max(attack.epsilon)) / level
        count = max(1, math.ceil(min(levels + 4, 1.25 * levels) - 1e-6))
    return size, count
