"""The one-step target class method: the first row of the paper's Table 4.

```python
attack = attacks.get("one_step_target_class")
attacked = attack(classifier, images, labels, epsilon=8 / 255)
```
"""

import dataclasses

from qup import attacks
from qup.attacks import base, losses, targets


@attacks.register(
    "one_step_target_class", kind="budget", norms=("linf",), gradients=True
)
@dataclasses.dataclass(frozen=True, kw_only=True)
class OneStepTargetClass(base.Method):
    """Takes one step down the loss of another class.

    Attributes:
      epsilon: Length of the step, in the units of `bounds`.
      target: "least_likely", "random" or "second_likely" class of the clean
        image; it never is the true one.

    Reference: Kurakin, Goodfellow, Bengio 2017, arXiv 1611.01236.
    """

    epsilon: float
    target: str = "least_likely"

    def check(self):
        """Raises an InputError for an unknown choice of targets."""
        targets.check(self.target)

    def length(self):
        """One step."""
        return 1

    def init(self, victim, examples):
        """Chooses the targets."""
        logits = victim.logits(examples.images)
        keys = self.keys(examples)
        return {
            "images": examples.images,
            "target": targets.choose(
                self.target, logits, examples.labels, keys
            ),
            "step": examples.labels * 0,
        }

    def step(self, victim, examples, state):
        """Steps once."""
        field = self.conjugate(victim, examples, state)
        # X^adv = X - epsilon sign(grad_X l(f(X), y_target))      (Table 4)
        moved = examples.images - examples.budget() * field
        return state | {
            "images": base.clip(moved, self.bounds),
            "step": state["step"] + 1,
        }

    def done(self, examples, state):
        """After the one step."""
        return state["step"] >= 1

    def conjugate(self, victim, examples, state):
        """sign(grad_X l(f(X), y_target)) (Table 4)."""
        return losses.target_sign(victim, examples.images, state["target"])
