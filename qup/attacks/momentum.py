"""The momentum iterative method, MI-FGSM.

```python
adversarial = attacks.get("momentum")(classifier, images, labels, epsilon=8 / 255)
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks
from qup.attacks import inputs, losses, method, pgd
from qup.core import errors, norms


@attacks.register("momentum", kind="budget", norms=("linf", "l2"), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class Momentum(method.Method):
    """Steps along a decaying sum of normalised gradients.

    Attributes:
      epsilon: Radius of the ball in `norm`, in the units of `bounds`.
      num_steps: Number of steps.
      step_size: Length of a step; None: epsilon / num_steps.
      decay: Factor mu of the sum at each step.
      norm: "linf" or "l2".
      targeted: The labels are targets, whose loss decreases.
      loss: See `losses`.

    Reference: Dong et al. 2018, arXiv 1710.06081, Alg. 1. The authors divide gradients by their L1
    norm; this code (as cleverhans) by their mean magnitude, which gives the same direction.
    """

    epsilon: float
    num_steps: method.Count = 10
    step_size: float | None = None
    decay: float = 1.0
    norm: str = "linf"
    targeted: bool = False
    loss: str = "cross_entropy"

    def check(self):
        """Checks the ranges of the options."""
        losses.get(self.loss)
        inputs.check_number("decay", self.decay, least=0)
        if self.step_size is not None:
            errors.check_number("step_size", self.step_size, at_least=0)

    @property
    def is_weak(self) -> bool:
        """Whether the attack is too weak to show that a classifier is robust."""
        return pgd.has_few_steps(self.num_steps)

    def count_fixed_steps(self):
        """`num_steps`."""
        return int(self.num_steps)

    def init(self, classifier, examples):
        """Starts at the image with a sum of zero."""
        return {
            "images": examples.images,
            "sum": tf.zeros_like(examples.images),
            "step": tf.zeros_like(examples.labels),
        }

    def step(self, classifier, examples, state):
        """Adds a gradient to the sum and steps along the sum."""
        objective = losses.build_objective(self.loss, examples.labels, self.targeted)
        _, _, gradient = classifier.gradient(objective, state["images"])
        axes = norms.get_image_axes(gradient)
        mean_magnitude = tf.reduce_mean(tf.abs(gradient), axes, keepdims=True)
        # g_{n+1} = mu g_n + grad / |grad|_1     (Dong 2018, Eq. 6)
        total = self.decay * state["sum"] + gradient / tf.maximum(1e-12, mean_magnitude)
        # X_{n+1} = Clip{X_n + alpha sign(g_{n+1})}     (Dong 2018, Eq. 7)
        step_size = pgd.get_step_size(self, examples)
        perturbed = state["images"] + step_size * norms.normalise(total, self.norm)
        perturbed = pgd.project(perturbed, examples, self.norm, self.bounds)
        return {"images": perturbed, "sum": total, "step": state["step"] + 1}

    def done(self, examples, state):
        """After `num_steps`."""
        return state["step"] >= self.num_steps
