"""The Fast Gradient Sign Method: Eq. 1 of the paper.

```python
adversarial = attacks.get("fgsm")(classifier, images, labels, epsilon=8 / 255)
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks
from qup.attacks import losses, method
from qup.core import norms


@attacks.register("fgsm", kind="budget", norms=norms.NAMES, gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class FGSM(method.Method):
    """Increases the loss by one step of length `epsilon`.

    Attributes:
      epsilon: Length of the step in `norm`, in the units of `bounds`.
      norm: "linf" (Eq. 1), "l2", or "l1" (the steepest elements, each to the end of the box, until
        epsilon is used up; without a box the steepest one, and equal ones share the step).
      targeted: The labels are targets, whose loss decreases.
      loss: See `losses`.

    Reference: Goodfellow, Shlens, Szegedy 2015, arXiv 1412.6572.
    """

    epsilon: float
    norm: str = "linf"
    targeted: bool = False
    loss: str = "cross_entropy"

    def check(self):
        """Checks the name of the loss."""
        losses.get(self.loss)

    @property
    def is_weak(self) -> bool:
        """One step is too weak to show that a classifier is robust."""
        return True

    def count_fixed_steps(self):
        """One step."""
        return 1

    def init(self, classifier, examples):
        """Starts at the image."""
        return {"images": examples.images, "step": tf.zeros_like(examples.labels)}

    def step(self, classifier, examples, state):
        """Applies Eq. 1."""
        objective = losses.build_objective(self.loss, examples.labels, self.targeted)
        _, _, gradient = classifier.gradient(objective, examples.images)
        # X = X_0 + epsilon sign(grad_X l(f(X), Y*)) at X = X_0     (Goodfellow 2015; paper, Eq. 1)
        perturbed = examples.images + self._compute_update(examples, gradient)
        return {"images": method.clip(perturbed, self.bounds), "step": state["step"] + 1}

    def done(self, examples, state):
        """After one step."""
        return state["step"] >= 1

    def _compute_update(self, examples, gradient):
        budget = examples.budget()
        if self.norm == "l1" and self.bounds is not None:
            room = norms.compute_room(examples.images, gradient, self.bounds)
            return norms.fill_steepest(gradient, budget, room)
        return budget * norms.normalise(gradient, self.norm)
