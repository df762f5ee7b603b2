"""DDN: the direction and the length of an L2 perturbation, decoupled.

```python
adversarial = attacks.get("ddn")(classifier, images, labels)
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks
from qup.attacks import closest, losses, method
from qup.core import norms

# The last step size as a fraction of the first.
_LAST_STEP_SIZE = 0.01


@attacks.register("ddn", kind="minimum_norm", norms=("l2",), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class DDN(closest.ClosestSearch):
    """Turns the perturbation along the gradient, and shortens it whenever it is adversarial.

    Pixels are not rounded to grey levels.

    Attributes:
      targeted, num_steps: See `closest.ClosestSearch`. The paper uses 100, 300 and 1,000 steps.
      step_size: alpha, the length of the first step of the direction; it falls to a hundredth
        along a cosine.
      gamma: The fraction by which a step shortens or lengthens the perturbation.
      initial_radius: The length of the first perturbation.
      loss: "log_odds", whose gradient has the direction of that of the paper's cross-entropy and
        does not vanish in float32, or another name of `losses`. "margin" finds closer images where
        several classes are likely.

    Reference: Rony et al. 2019, arXiv 1811.09600, Alg. 1.
    """

    num_steps: method.Count = 300
    step_size: float = 1.0
    gamma: float = 0.05
    initial_radius: float = 1.0
    loss: str = "log_odds"

    @property
    def objective(self):
        """The loss that the attack increases."""
        return self.loss

    def check(self):
        """Checks the ranges of the options."""
        losses.get(self.loss)
        closest.check_positive(self, "step_size", "initial_radius")
        closest.check_fraction(self, "gamma")

    def init_variables(self, examples):
        """Starts at the first length."""
        return {"radius": tf.fill(examples.labels.shape, self.width * self.initial_radius)}

    def move(self, examples, state, visit):
        """Returns the perturbation along the new direction, of the new length."""
        clean = examples.images
        step_size = self.width * self.step_size
        step_size = self.anneal(state["step"], step_size, _LAST_STEP_SIZE * step_size)
        # delta_k = delta_{k-1} + alpha g / ||g||_2     (Rony 2019, Alg. 1)
        delta = visit.delta + norms.scale_to_norm(
            visit.gradient, norms.expand_like(step_size, clean), "l2"
        )
        # epsilon_k = (1 - gamma) epsilon_{k-1} if x_{k-1} is adversarial, else (1 + gamma) ...
        radius = state["radius"] * tf.where(visit.success, 1 - self.gamma, 1 + self.gamma)
        # x_k = x + epsilon_k delta_k / ||delta_k||_2
        delta = norms.scale_to_norm(delta, norms.expand_like(radius, clean), "l2")
        return clean + delta, {"radius": radius}
