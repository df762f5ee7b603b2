"""Projected Gradient Descent: Eq. 23 of the paper.

With `step_size=None` (epsilon / num_steps, the paper's 4 x 0.025 = 0.1 and
4 x 2/255 = 8/255) and no random start this is the basic iterative method of
Kurakin, Goodfellow, Bengio 2017, arXiv 1607.02533, whose ball never binds.

```python
attacked = attacks.get("pgd")(classifier, images, labels, epsilon=0.1)
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks
from qup.attacks import inputs, losses, method
from qup.core import errors, norms

_KEEP_CHOICES = ("last", "first_adversarial")


@attacks.register("pgd", kind="budget", norms=("linf", "l2"), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class PGD(method.Method):
    """Climbs the loss in steps, each projected into the ball and the box.

    Attributes:
      epsilon: Radius of the ball in `norm`, in the units of `bounds`.
      num_steps: Number of steps, at least 1.
      step_size: Length of a step; None means epsilon / num_steps.
      norm: "linf" (Eq. 23) or "l2".
      random_start: Start at a uniform point of the ball (Madry et al.).
      restarts: Number of random starts; an image broken by one is left
        alone by the next.
      targeted: Descend the loss of the labels, which are targets.
      loss: See `losses`.
      keep: "last" (the definition) gives the last point; with
        "first_adversarial" a row stops at the first point that is
        misclassified, which is faster and never weaker.

    Reference: Madry et al. 2018, arXiv 1706.06083.
    """

    cheap_step = True

    epsilon: float
    num_steps: method.Count = 4
    step_size: float | None = None
    norm: str = "linf"
    random_start: bool = False
    restarts: int = 1
    targeted: bool = False
    loss: str = "cross_entropy"
    keep: str = "last"

    def check(self):
        """Raises an InputError for an option out of its range."""
        losses.get(self.loss)
        errors.check_number("restarts", self.restarts, at_least=1)
        if self.step_size is not None:
            inputs.check_number("step_size", self.step_size, least=0)
        if self.keep not in _KEEP_CHOICES:
            raise errors.make_unknown_error("keep", self.keep, _KEEP_CHOICES)
        if self.restarts > 1 and not self.random_start:
            raise errors.InputError(
                f"restarts={self.restarts} without random_start would climb "
                "the same path again. Set random_start=True, or restarts=1."
            )

    def stages(self):
        """One part a restart."""
        one_start = dataclasses.replace(self, restarts=1)
        return (one_start,) * int(self.restarts)

    def count_fixed_steps(self):
        """Every row takes `num_steps`, unless it may stop before."""
        return int(self.num_steps) if self.keep == "last" else None

    def init(self, classifier, examples):
        """Starts at the image, or at random in its ball."""
        images = examples.images
        if self.random_start:
            images += norms.sample(images, examples.budget(), self.norm, self.keys(examples))
        return {"images": self._project(images, examples), "step": tf.zeros_like(examples.labels)}

    def step(self, classifier, examples, state):
        """Climbs one step."""
        images = state["images"]
        logits, update = self._compute_update(classifier, examples, images)
        # X_{n+1} = Clip{X_n + alpha sign(grad_X l(f(X_n), Y*))}     (Eq. 23)
        perturbed = images + update
        perturbed = self._project(method.clip(perturbed, self.bounds), examples)
        step = state["step"] + 1
        if self.keep == "first_adversarial":
            success = method.adversarial(logits, examples.labels, self.targeted)
            perturbed = tf.where(norms.expand_like(success, images), images, perturbed)
            step = tf.where(success, self.num_steps, step)
        return {"images": perturbed, "step": step}

    def done(self, examples, state):
        """After `num_steps`, or once misclassified."""
        return state["step"] >= self.num_steps

    def conjugate(self, classifier, examples, state):
        """The step itself: alpha sign(grad_X l(f(X_N), Y)) (Table 4)."""
        return self._compute_update(classifier, examples, state["images"])[1]

    def _compute_update(self, classifier, examples, images):
        """Returns the logits at `images`, and the step up the loss."""
        objective = losses.build_objective(self.loss, examples.labels, self.targeted)
        logits, _, gradient = classifier.gradient(objective, images)
        step_size = self.step_size
        if step_size is None:
            step_size = examples.budget() / tf.cast(self.num_steps, tf.float32)
        return logits, step_size * norms.normalise(gradient, self.norm)

    def _project(self, images, examples):
        delta = images - examples.images
        delta = norms.project(delta, examples.budget(), self.norm)
        return method.clip(examples.images + delta, self.bounds)
