"""The one-step target class method: the first row of the paper's Table 4.

```python
attack = attacks.get("one_step_target_class")
attacked = attack(classifier, images, labels, epsilon=8 / 255)
```
"""

import dataclasses

from qup import attacks
from qup.attacks import base, losses, targets


@attacks.register("one_step_target_class", kind="budget", norms=("linf",), gradients=True)
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
        targets.check_target_choice(self.target)

    def count_fixed_steps(self):
        """One step."""
        return 1

    def init(self, classifier, examples):
        """Chooses the targets."""
        logits = classifier.logits(examples.images)
        keys = self.keys(examples)
        return {
            "images": examples.images,
            "target": targets.choose_targets(self.target, logits, examples.labels, keys),
            "step": examples.labels * 0,
        }

    def step(self, classifier, examples, state):
        """Steps once."""
        sign_gradient = self.conjugate(classifier, examples, state)
        # X^adv = X - epsilon sign(grad_X l(f(X), y_target))      (Table 4)
        perturbed = examples.images - examples.budget() * sign_gradient
        return state | {"images": base.clip(perturbed, self.bounds), "step": state["step"] + 1}

    def done(self, examples, state):
        """After the one step."""
        return state["step"] >= 1

    def conjugate(self, classifier, examples, state):
        """sign(grad_X l(f(X), y_target)) (Table 4)."""
        return losses.compute_target_sign(classifier, examples.images, state["target"])
