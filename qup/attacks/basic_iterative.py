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
import tensorflow as tf

from qup import attacks, errors
from qup.attacks import base
from qup.attacks.pgd import PGD

_GREY_LEVELS = 255
# What rounding in float32 may add to a number of steps.
_STEPS_ATOL = 1e-4


@attacks.register("basic_iterative", kind="budget", norms=("linf",), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class BasicIterative(base.Method):
    """Climbs the loss in steps of one grey level.

    Attributes:
      epsilon: Radius of the L-inf ball, in the units of `bounds`.
      step_size: Length of a step; None means 1/255 of the box's width.
      num_steps: None means Kurakin's number, min(epsilon + 4, 1.25 epsilon)
        in units of 1/255 of the box's width, for each image's budget.
      targeted: Descend the loss of the labels, which are targets.

    Reference: Kurakin, Goodfellow, Bengio 2017, arXiv 1607.02533.
    """

    epsilon: float
    step_size: float | None = None
    num_steps: int | None = None
    targeted: bool = False

    def check(self):
        """Raises an InputError for a number out of its range."""
        check_step_options(self.step_size, self.num_steps)

    def stages(self):
        """`pgd`, its numbers filled in."""
        pgd_class = PGD if self.num_steps else _PGDWithRowSteps
        step_size, num_steps = choose_kurakin_steps(self)
        return (
            pgd_class(
                bounds=self.bounds,
                seed=self.seed,
                xla=self.xla,
                epsilon=self.epsilon,
                step_size=step_size,
                num_steps=num_steps,
                targeted=self.targeted,
            ),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _PGDWithRowSteps(PGD):
    """Every row takes the number of steps that its own budget asks for."""

    def count_fixed_steps(self):
        return None

    def done(self, examples, state):
        return state["step"] >= count_kurakin_steps(self, examples)


def check_step_options(step_size: float | None, num_steps: int | None) -> None:
    """Raises an InputError for a step or a number of them out of range."""
    if step_size is not None:
        errors.check_number("step_size", step_size, above=0)
    if num_steps is not None:
        errors.check_number("num_steps", num_steps, at_least=1)


def choose_kurakin_steps(attack: base.Method) -> tuple[float, int]:
    """Returns step size and number of steps, Kurakin's where none is given.

    Args:
      attack: Has bounds, epsilon, step_size and num_steps.
    """
    level = attack.width / _GREY_LEVELS
    step_size = level if attack.step_size is None else attack.step_size
    num_steps = attack.num_steps
    if num_steps is None:
        levels = float(np.max(attack.epsilon)) / level
        num_steps = max(1, math.ceil(min(levels + 4, 1.25 * levels) - _STEPS_ATOL))
    return step_size, num_steps


def count_kurakin_steps(attack: base.Method, examples: base.Examples) -> tf.Tensor:
    """Returns Kurakin's number of steps for each row: int32 [batch]."""
    levels = examples.epsilon / (attack.width / _GREY_LEVELS)
    # min(epsilon + 4, 1.25 epsilon), in grey levels
    num_steps = tf.math.ceil(tf.minimum(levels + 4, 1.25 * levels) - _STEPS_ATOL)
    return tf.maximum(tf.cast(num_steps, tf.int32), 1)
