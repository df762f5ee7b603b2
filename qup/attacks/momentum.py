"""The momentum iterative method, MI-FGSM.

```python
attack = attacks.get("momentum")
attacked = attack(classifier, images, labels, epsilon=8 / 255)
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks
from qup.attacks import inputs, losses, method
from qup.core import errors, norms


@attacks.register("momentum", kind="budget", norms=("linf", "l2"), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class Momentum(method.Method):
    """Climbs along a decaying sum of normalised gradients.

    Attributes:
      epsilon: Radius of the ball in `norm`, in the units of `bounds`.
      num_steps: Number of steps.
      step_size: Length of a step; None means epsilon / num_steps.
      decay: Factor of the sum at each step, mu.
      norm: "linf" or "l2".
      targeted: Descend the loss of the labels, which are targets.
      loss: See `losses`.

    Reference: Dong et al. 2018, arXiv 1710.06081, Alg. 1. Its gradients are
    divided by their L1 norm, ours (as cleverhans's) by their mean
    magnitude, which is the same direction.
    """

    epsilon: float
    num_steps: method.Count = 10
    step_size: float | None = None
    decay: float = 1.0
    norm: str = "linf"
    targeted: bool = False
    loss: str = "cross_entropy"

    def check(self):
        """Raises an InputError for an option out of its range."""
        losses.get(self.loss)
        inputs.check_number("decay", self.decay, least=0)
        if self.step_size is not None:
            errors.check_number("step_size", self.step_size, at_least=0)

    def count_fixed_steps(self):
        """Every row takes `num_steps`."""
        return int(self.num_steps)

    def init(self, classifier, examples):
        """Starts at the image, at rest."""
        return {
            "images": examples.images,
            "sum": tf.zeros_like(examples.images),
            "step": tf.zeros_like(examples.labels),
        }

    def step(self, classifier, examples, state):
        """Adds a gradient and steps along the sum."""
        objective = losses.build_objective(self.loss, examples.labels, self.targeted)
        _, _, gradient = classifier.gradient(objective, state["images"])
        axes = list(range(1, gradient.shape.rank))
        mean_magnitude = tf.reduce_mean(tf.abs(gradient), axes, keepdims=True)
        # g_{n+1} = mu g_n + grad / |grad|_1
        total = self.decay * state["sum"] + gradient / tf.maximum(1e-12, mean_magnitude)
        step_size = self.step_size
        if step_size is None:
            step_size = examples.budget() / tf.cast(self.num_steps, tf.float32)
        # X_{n+1} = Clip{X_n + alpha sign(g_{n+1})}
        perturbed = state["images"] + step_size * norms.normalise(total, self.norm)
        delta = norms.project(perturbed - examples.images, examples.budget(), self.norm)
        return {
            "images": method.clip(examples.images + delta, self.bounds),
            "sum": total,
            "step": state["step"] + 1,
        }

    def done(self, examples, state):
        """After `num_steps`."""
        return state["step"] >= self.num_steps
