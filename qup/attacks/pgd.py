"""Projected Gradient Descent: Eq. 23 of the paper.

`pgd` is a strong attack of 40 steps from a random start. `pgd4` is the attack of the paper: 4 steps
of epsilon / 4 from the image (4 x 0.025 = 0.1 and 4 x 2/255 = 8/255), that is, the basic iterative
method of Kurakin, Goodfellow, Bengio 2017 (arXiv 1607.02533), whose iterates do not reach the
surface of the ball before the last step. A robust accuracy under `pgd4` says little about other
attacks.

```python
adversarial = attacks.get("pgd")(classifier, images, labels, epsilon=0.1)
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks
from qup.attacks import inputs, losses, method
from qup.core import errors, norms
from qup.core.types import Bounds

_KEEP_CHOICES = ("last", "first_adversarial")
# The total length of all steps from a random start, in units of epsilon (Madry 2018, Sec. 5.2).
_RANDOM_START_LENGTH = 2.5
# The largest change of an element per step in L1, in widths of the box.
_L1_MAX_CHANGE = 0.1
# An attack of fewer steps is too weak to show that a classifier is robust.
_MIN_STRONG_STEPS = 20


@attacks.register("pgd", kind="budget", norms=norms.NAMES, gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class PGD(method.Method):
    """Increases the loss in steps; each is projected on the ball and the box.

    A step in L1 changes the steepest elements that are not at the end of the box, each by at most a
    tenth of the box's width, until the length of the step is used up; the projection is the exact
    one on the intersection of ball and box. Like that of Tramer and Boneh 2019 (arXiv 1904.13000)
    the step is sparse, but the number of elements follows from its length.

    Attributes:
      epsilon: Radius of the ball in `norm`, in the units of `bounds`.
      num_steps: Number of steps, at least 1.
      step_size: Length of a step; None: 2.5 epsilon / num_steps with a random start, and
        epsilon / num_steps without.
      norm: "linf" (Eq. 23), "l2" or "l1".
      random_start: Start at a uniform point of the ball (Madry et al.), or at the image.
      restarts: Number of random starts; each attacks the images that withstood the ones before.
      targeted: The labels are targets, whose loss decreases.
      loss: See `losses`.
      keep: "last" (the definition) returns the last iterate. "first_adversarial" stops a row at
        its first misclassified iterate, which is faster and never weaker.

    Reference: Madry et al. 2018, arXiv 1706.06083; in L1, Croce and Hein 2021, arXiv 2103.01208.
    """

    epsilon: float
    num_steps: method.Count = 40
    step_size: float | None = None
    norm: str = "linf"
    random_start: bool = True
    restarts: int = 1
    targeted: bool = False
    loss: str = "cross_entropy"
    keep: str = "last"

    def check(self):
        """Checks the ranges of the options."""
        losses.get(self.loss)
        errors.check_number("restarts", self.restarts, at_least=1)
        if self.step_size is not None:
            inputs.check_number("step_size", self.step_size, least=0)
        if self.keep not in _KEEP_CHOICES:
            raise errors.make_unknown_error("keep", self.keep, _KEEP_CHOICES)
        if self.restarts > 1 and not self.random_start:
            raise errors.InputError(
                f"restarts={self.restarts} without random_start would repeat the same iterates. "
                "Set random_start=True, or restarts=1."
            )

    @property
    def is_weak(self) -> bool:
        """Whether the attack is too weak to show that a classifier is robust."""
        return has_few_steps(self.num_steps)

    def stages(self):
        """One stage per restart."""
        return (dataclasses.replace(self, restarts=1),) * int(self.restarts)

    def count_fixed_steps(self):
        """`num_steps`, unless a row may stop earlier."""
        return int(self.num_steps) if self.keep == "last" else None

    def init(self, classifier, examples):
        """Starts at the image, or at a random point of the ball."""
        images = examples.images
        if self.random_start:
            images += norms.sample(images, examples.budget(), self.norm, self.keys(examples))
        images = project(images, examples, self.norm, self.bounds)
        return {"images": images, "step": tf.zeros_like(examples.labels)}

    def step(self, classifier, examples, state):
        """Applies Eq. 23."""
        images = state["images"]
        logits, update = self._compute_update(classifier, examples, images)
        # X_{n+1} = Clip{X_n + alpha sign(grad_X l(f(X_n), Y*))}     (Madry 2018; paper, Eq. 23)
        perturbed = method.clip(images + update, self.bounds)
        perturbed = project(perturbed, examples, self.norm, self.bounds)
        step = state["step"] + 1
        if self.keep == "first_adversarial":
            success = method.adversarial(logits, examples.labels, self.targeted)
            perturbed = tf.where(norms.expand_like(success, images), images, perturbed)
            step = tf.where(success, self.num_steps, step)
        return {"images": perturbed, "step": step}

    def done(self, examples, state):
        """After `num_steps`; a row that stops earlier sets its counter to it."""
        return state["step"] >= self.num_steps

    def conjugate(self, classifier, examples, state):
        """The step: alpha sign(grad_X l(f(X_N), Y)) (paper, Table 4)."""
        return self._compute_update(classifier, examples, state["images"])[1]

    def _compute_update(self, classifier, examples, images):
        """Returns the logits at `images` and the step that increases the loss."""
        objective = losses.build_objective(self.loss, examples.labels, self.targeted)
        logits, _, gradient = classifier.gradient(objective, images)
        step_size = get_step_size(self, examples)
        if self.norm != "l1":
            return logits, step_size * norms.normalise(gradient, self.norm)
        room = norms.compute_room(images, gradient, self.bounds)
        if self.bounds is not None:
            room = tf.minimum(room, _L1_MAX_CHANGE * self.width)
        return logits, norms.fill_steepest(gradient, step_size, room)


@attacks.register("pgd4", kind="budget", norms=norms.NAMES, gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class PGD4(PGD):
    """The attack of the paper: `pgd` of 4 steps of epsilon / 4 from the image (Eq. 23).

    Attributes:
      epsilon, num_steps, step_size, norm, random_start, restarts, targeted, loss, keep: See `PGD`.

    Reference: Madry et al. 2018, arXiv 1706.06083.
    """

    num_steps: method.Count = 4
    random_start: bool = False


def has_few_steps(num_steps: int) -> bool:
    """Returns whether an attack of so many steps is too weak to show that a network is robust."""
    return num_steps < _MIN_STRONG_STEPS


def get_step_size(attack: method.Method, examples: method.Examples):
    """Returns the attack's `step_size`, or its default as float32 [batch, 1, ...].

    The default is 2.5 epsilon / num_steps with a random start, and epsilon / num_steps without.
    """
    if attack.step_size is not None:
        return attack.step_size
    length = _RANDOM_START_LENGTH if getattr(attack, "random_start", False) else 1.0
    return length * examples.budget() / tf.cast(attack.num_steps, tf.float32)


def project(images: tf.Tensor, examples: method.Examples, norm: str, bounds: Bounds) -> tf.Tensor:
    """Projects images on the ball of each example's budget, then clips them to the box."""
    delta, budget = images - examples.images, examples.budget()
    if norm == "l1":
        delta = norms.project_in_box(delta, budget, examples.images, bounds)
    else:
        delta = norms.project(delta, budget, norm)
    return method.clip(examples.images + delta, bounds)
