"""sigma-zero: few changed elements, by a smooth approximation of the L0 norm.

```python
adversarial = attacks.get("sigma_zero")(classifier, images, labels)
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks
from qup.attacks import closest, method
from qup.core import norms

# The last step size as a fraction of the first.
_LAST_STEP_SIZE = 0.1


@attacks.register("sigma_zero", kind="minimum_norm", norms=("l0",), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class SigmaZero(closest.ClosestSearch):
    """Minimises the hinge of the margin plus an approximate L0 norm, and drops small elements.

    The threshold below which elements are dropped rises while the image is adversarial and falls
    while it is not. The distance is "l0", the number of changed elements (height x width x
    channels).

    Attributes:
      targeted, num_steps: See `closest.ClosestSearch`. The paper defines the attack without
        targets; with them, the margin is that of the target.
      step_size: eta, the first step of Adam; it falls to a tenth along a cosine.
      sigma: The smoothness of the approximation, sum_i d_i^2 / (d_i^2 + sigma).
      threshold: tau, below which an element is dropped at first.
      threshold_step: t, the change of the threshold per step, as a fraction of the step size.

    Reference: Cinà et al. 2024, arXiv 2402.01879, Alg. 1.
    """

    num_steps: method.Count = 1000
    step_size: float = 1.0
    sigma: float = 1e-3
    threshold: float = 0.3
    threshold_step: float = 0.01

    def check(self):
        """Checks the ranges of the options."""
        closest.check_positive(self, "step_size", "sigma")
        closest.check_fraction(self, "threshold", "threshold_step")

    def init_variables(self, examples):
        """Starts at the first threshold, with Adam's moments at zero."""
        threshold = tf.fill(examples.labels.shape, tf.cast(self.threshold, tf.float32))
        return {"threshold": threshold} | closest.init_moments(examples.images)

    def move(self, examples, state, visit):
        """Takes a step of Adam, and sets elements below the threshold to those of the image."""
        clean = examples.images
        delta = visit.delta / self.width
        gradient = self._compute_gradient(visit, delta)
        direction, scale, moments = closest.update_moments(state, gradient)
        step_size = self.anneal(state["step"], self.step_size, _LAST_STEP_SIZE * self.step_size)
        delta -= norms.expand_like(step_size, clean) * direction / scale
        images = method.clip(clean + self.width * delta, self.bounds)
        # tau <- tau + t eta if x + delta is adversarial, else tau - t eta     (Cinà 2024, Alg. 1)
        change = self.threshold_step * step_size
        threshold = state["threshold"] + tf.where(visit.success, change, -change)
        threshold = tf.clip_by_value(threshold, 0.0, 1.0)
        smallest = self.width * norms.expand_like(threshold, clean)
        images = tf.where(tf.abs(images - clean) < smallest, clean, images)
        return images, moments | {"threshold": threshold}

    def _compute_gradient(self, visit, delta):
        """Returns the gradient of the loss, divided by its largest element."""
        # L = max(0, z_y - max_{k != y} z_k) + 1/d sum_i d_i^2 / (d_i^2 + sigma)
        is_missed = norms.expand_like(tf.cast(~visit.success, tf.float32), delta)
        size = delta.shape[1:].num_elements()
        squared = tf.square(delta)
        gradient = -is_missed * self.width * visit.gradient
        gradient += 2 / size * self.sigma * delta / tf.square(squared + self.sigma)
        return norms.scale_to_norm(gradient, 1.0, "linf")
