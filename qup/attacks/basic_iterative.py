"""The attacks of Kurakin et al. (the paper's Table 4), and the L-inf distance of Su et al.

```python
attack = attacks.get("iterative_least_likely_class")
adversarial = attack(classifier, images, labels, epsilon=8 / 255)
```
"""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from qup import attacks
from qup.attacks import engine, losses, method, pgd
from qup.core import errors, norms

_GREY_LEVELS = 255
# The largest number of steps that follows from epsilon; without a box it has no other limit.
_MAX_KURAKIN_STEPS = 10_000
# Rounding in float32 may add this much to a number of steps.
_STEPS_ATOL = 1e-4
# The first epsilon of the search, in units of the box's width.
_INITIAL_EPSILON = 0.1
# The largest epsilon of the search without a box.
_MAX_EPSILON = 1e30


@dataclasses.dataclass(frozen=True, kw_only=True)
class _KurakinAttack(method.Method):
    """Options that the two iterative attacks share."""

    epsilon: float
    step_size: float | None = None
    num_steps: int | None = None

    def check(self):
        if self.step_size is not None:
            errors.check_number("step_size", self.step_size, above=0)
        if self.num_steps is not None:
            errors.check_number("num_steps", self.num_steps, at_least=1)
        if self.bounds is None:
            self._count_steps()

    @property
    def is_weak(self) -> bool:
        """Whether the attack is too weak to show that a classifier is robust."""
        return pgd.has_few_steps(self._count_steps())

    def get_stage_options(self) -> dict:
        """Returns the options of the single stage, with Kurakin's step size and number of steps."""
        level = self.width / _GREY_LEVELS
        return {
            "bounds": self.bounds,
            "seed": self.seed,
            "xla": self.xla,
            "epsilon": self.epsilon,
            "step_size": level if self.step_size is None else self.step_size,
            "num_steps": self._count_steps(),
        }

    def _count_steps(self) -> int:
        """Returns `num_steps`, or Kurakin's number for the largest budget.

        Raises:
          InputError: There is no box, and epsilon asks for too many steps.
        """
        if self.num_steps is not None:
            return self.num_steps
        epsilon = float(np.max(self.epsilon))
        if self.bounds is not None:
            # A larger ball contains the whole box.
            epsilon = min(epsilon, self.width)
        levels = epsilon / (self.width / _GREY_LEVELS)
        num_steps = max(1.0, min(levels + 4, 1.25 * levels) - _STEPS_ATOL)
        if num_steps > _MAX_KURAKIN_STEPS:
            raise errors.InputError(
                f"epsilon={epsilon:g} without bounds takes {num_steps:.3g} steps of 1/255, at most "
                f"{_MAX_KURAKIN_STEPS} are allowed. Pass the range of pixels as bounds=, or "
                "num_steps= and step_size=."
            )
        return math.ceil(num_steps)


def _count_kurakin_steps(attack: method.Method, examples: method.Examples) -> tf.Tensor:
    """Returns the number of steps for each row's budget, int32 [batch]."""
    epsilon = examples.epsilon
    if attack.bounds is not None:
        # A larger ball contains the whole box.
        epsilon = tf.minimum(epsilon, attack.width)
    levels = epsilon / (attack.width / _GREY_LEVELS)
    # min(epsilon + 4, 1.25 epsilon), epsilon in grey levels     (Kurakin 2017, Sec. 2.2)
    num_steps = tf.math.ceil(tf.minimum(levels + 4, 1.25 * levels) - _STEPS_ATOL)
    return tf.maximum(tf.cast(num_steps, tf.int32), 1)


@attacks.register("basic_iterative", kind="budget", norms=("linf",), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class BasicIterative(_KurakinAttack):
    """Increases the loss in steps of one grey level: `pgd` with the numbers of its authors.

    Attributes:
      epsilon: Radius of the L-inf ball, in the units of `bounds`.
      step_size: Length of a step; None: 1/255 of the box's width.
      num_steps: None: Kurakin's number, min(epsilon + 4, 1.25 epsilon) in units of 1/255 of the
        box's width, for each image's budget.
      targeted: The labels are targets, whose loss decreases.

    Reference: Kurakin, Goodfellow, Bengio 2017, arXiv 1607.02533.
    """

    targeted: bool = False

    def stages(self):
        """`pgd` with these options."""
        pgd_class = pgd.PGD if self.num_steps else _PGDWithRowSteps
        options = self.get_stage_options()
        return (pgd_class(targeted=self.targeted, random_start=False, **options),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _PGDWithRowSteps(pgd.PGD):
    """The number of steps of each row follows from the row's budget."""

    def count_fixed_steps(self):
        return None

    def done(self, examples, state):
        return state["step"] >= _count_kurakin_steps(self, examples)


@attacks.register("iterative_least_likely_class", kind="budget", norms=("linf",), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class IterativeLeastLikelyClass(_KurakinAttack):
    """Decreases the loss of the class that is least likely for the clean image.

    Success is any class other than the label.

    Attributes:
      epsilon: Radius of the L-inf ball, in the units of `bounds`.
      step_size: Length of a step; None: 1/255 of the box's width.
      num_steps: None: Kurakin's number, min(epsilon + 4, 1.25 epsilon) in units of 1/255 of the
        box's width, for each image's budget.

    Reference: Kurakin, Goodfellow, Bengio 2017, arXiv 1607.02533.
    """

    def stages(self):
        """One stage with Kurakin's numbers."""
        use_row_steps = not self.num_steps
        return (_LeastLikelyDescent(use_row_steps=use_row_steps, **self.get_stage_options()),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _LeastLikelyDescent(method.Method):
    epsilon: float
    step_size: float
    num_steps: method.Count
    # Kurakin's number for each row's budget, instead of `num_steps`.
    use_row_steps: bool

    name = "iterative_least_likely_class"

    def count_fixed_steps(self):
        return None if self.use_row_steps else int(self.num_steps)

    @property
    def uses_cross_entropy(self) -> bool:
        """Its step descends the cross-entropy of the target."""
        return True

    def init(self, classifier, examples):
        logits = classifier.logits(examples.images)
        return {
            "images": examples.images,
            "target": losses.select_ranked_class(logits, examples.labels, -1),
            "step": examples.labels * 0,
        }

    def step(self, classifier, examples, state):
        # X_{N+1} = Clip{X_N - alpha sign(grad_X l(f(X_N), y_LL))}     (Kurakin 2017; Table 4)
        perturbed = state["images"] - self.conjugate(classifier, examples, state)
        perturbed = pgd.project(perturbed, examples, "linf", self.bounds)
        return state | {"images": perturbed, "step": state["step"] + 1}

    def done(self, examples, state):
        num_steps = self.num_steps
        if self.use_row_steps:
            num_steps = _count_kurakin_steps(self, examples)
        return state["step"] >= num_steps

    def conjugate(self, classifier, examples, state):
        sign = losses.compute_target_sign(classifier, state["images"], state["target"])
        return self.step_size * sign


@attacks.register("one_step_target_class", kind="budget", norms=("linf",), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class OneStepTargetClass(method.Method):
    """Decreases the loss of another class by one step.

    Attributes:
      epsilon: Length of the step, in the units of `bounds`.
      target: The "least_likely", "random" or "second_likely" class of the clean image; never the
        true class.

    Reference: Kurakin, Goodfellow, Bengio 2017, arXiv 1611.01236.
    """

    epsilon: float
    target: str = "least_likely"

    @property
    def uses_cross_entropy(self) -> bool:
        """Its step descends the cross-entropy of the target."""
        return True

    def check(self):
        """Checks the choice of targets."""
        losses.check_target_choice(self.target)

    @property
    def is_weak(self) -> bool:
        """One step is too weak to show that a classifier is robust."""
        return True

    def count_fixed_steps(self):
        """One step."""
        return 1

    def init(self, classifier, examples):
        """Chooses the targets."""
        logits = classifier.logits(examples.images)
        keys = self.keys(examples)
        return {
            "images": examples.images,
            "target": losses.choose_targets(self.target, logits, examples.labels, keys),
            "step": examples.labels * 0,
        }

    def step(self, classifier, examples, state):
        """Applies the first row of Table 4."""
        sign_gradient = self.conjugate(classifier, examples, state)
        # X^adv = X - epsilon sign(grad_X l(f(X), y_target))     (Kurakin 2017; paper, Table 4)
        perturbed = examples.images - examples.budget() * sign_gradient
        return state | {"images": method.clip(perturbed, self.bounds), "step": state["step"] + 1}

    def done(self, examples, state):
        """After one step."""
        return state["step"] >= 1

    def conjugate(self, classifier, examples, state):
        """sign(grad_X l(f(X), y_target)) (paper, Table 4)."""
        return losses.compute_target_sign(classifier, examples.images, state["target"])


@attacks.register("iterative_fgsm_search", kind="minimum_norm", norms=("linf",), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class IterativeFGSMSearch(method.Method):
    """Searches the smallest epsilon of iterative FGSM for each image.

    This is the distance of the survey of 18 ImageNet models behind Fig. 3 of the paper. After a
    failed attempt epsilon doubles, up to the box's width, until an attempt succeeds. Then epsilon
    is the middle between the largest failed one and the smallest adversarial distance. An attempt
    ends at its first adversarial iterate. (The authors continue to the last iterate and use epsilon
    itself as the distance: more passes for a coarser result.)

    Attributes:
      initial_epsilon: The first epsilon, in the units of `bounds`; None: a tenth of the box's
        width.
      num_steps: Steps per attempt, of epsilon / num_steps each.
      max_attempts: Number of epsilons per image.
      targeted: The labels are targets.
      loss: See `losses`.

    Reference: Su et al. 2018, arXiv 1808.01688.
    """

    initial_epsilon: float | None = None
    num_steps: method.Count = 50
    max_attempts: method.Count = 9
    targeted: bool = False
    loss: str = "cross_entropy"

    def check(self):
        """Checks the ranges of the options."""
        losses.get(self.loss)
        if self.initial_epsilon is not None and not tf.is_tensor(self.initial_epsilon):
            errors.check_number("initial_epsilon", self.initial_epsilon, above=0)

    def init(self, classifier, examples):
        """Starts at the image; misclassified images are done."""
        logits = classifier.logits(examples.images)
        success = method.adversarial(logits, examples.labels, self.targeted)
        zeros = tf.zeros_like(success, tf.float32)
        zero_count = tf.zeros_like(examples.labels)
        epsilon = self.initial_epsilon
        if epsilon is None:
            epsilon = _INITIAL_EPSILON * self.width
        return {
            "current": examples.images,
            "images": examples.images,
            "closest_distance": tf.where(success, 0.0, float("inf")),
            "epsilon": zeros + epsilon,
            "failed_epsilon": zeros,
            "step": zero_count,
            "attempt": tf.where(success, self.max_attempts, zero_count),
        }

    def step(self, classifier, examples, state):
        """Evaluates the current point, then takes a step or starts the next attempt."""
        clean, current = examples.images, state["current"]
        objective = losses.build_objective(self.loss, examples.labels, self.targeted)
        logits, _, gradient = classifier.gradient(objective, current)
        success = method.adversarial(logits, examples.labels, self.targeted)
        distance = norms.compute_norm(current - clean, "linf")
        is_closer = success & (distance < state["closest_distance"])
        closest = {"images": current, "closest_distance": distance}
        closest = engine.select_rows(is_closer, closest, state)
        # x <- clip(x_0 + clip(x + epsilon / n sign(gradient) - x_0, epsilon))     (Su 2018)
        epsilon = norms.expand_like(state["epsilon"], clean)
        step_size = epsilon / tf.cast(self.num_steps, tf.float32)
        delta = current + step_size * tf.sign(gradient) - clean
        perturbed = clean + norms.project(delta, epsilon, "linf")
        perturbed = method.clip(perturbed, self.bounds)
        step = state["step"] + 1
        attempt_ended = success | (step > self.num_steps)
        state = state | closest | {"current": perturbed, "step": step}
        next_attempt = self._start_next_attempt(examples, state, success)
        return state | engine.select_rows(attempt_ended, next_attempt, state)

    def count_max_steps(self, image_shape):
        """The steps of all attempts, each with one classification more."""
        return self.max_attempts * (self.num_steps + 1)

    def done(self, examples, state):
        """After `max_attempts`, or if no larger epsilon exists."""
        return state["attempt"] >= self.max_attempts

    def _start_next_attempt(self, examples, state, success):
        """Returns the entries of the state that change before the next attempt."""
        epsilon, closest_distance = state["epsilon"], state["closest_distance"]
        failed_epsilon = tf.where(success, state["failed_epsilon"], epsilon)
        # An epsilon can fail although a smaller one has succeeded: it gives no lower limit.
        failed_epsilon = tf.where(failed_epsilon < closest_distance, failed_epsilon, 0.0)
        max_epsilon = _MAX_EPSILON if self.bounds is None else self.width
        next_epsilon = tf.where(
            tf.math.is_inf(closest_distance),
            tf.minimum(2 * epsilon, max_epsilon),
            (failed_epsilon + closest_distance) / 2,
        )
        is_exhausted = ~success & (epsilon >= max_epsilon)
        attempt = tf.where(is_exhausted, self.max_attempts, state["attempt"] + 1)
        return {
            "current": examples.images,
            "epsilon": next_epsilon,
            "failed_epsilon": failed_epsilon,
            "step": tf.zeros_like(attempt),
            "attempt": attempt,
        }
