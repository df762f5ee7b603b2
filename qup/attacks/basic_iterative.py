"""The iterative least-likely class method: row three of Table 4.

```python
attack = attacks.get("iterative_least_likely_class")
attacked = attack(classifier, images, labels, epsilon=8 / 255)
```
"""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from qup import attacks
from qup.attacks import engine, losses, method
from qup.attacks.pgd import PGD
from qup.core import errors, norms

# The basic iterative method: row two of the paper's Table 4.
#
# `pgd` with the numbers of its authors: steps of one grey level of 255.
#
# ```python
# attack = attacks.get("basic_iterative")
# attacked = attack(classifier, images, labels, epsilon=8 / 255)
# ```


_GREY_LEVELS = 255
# What rounding in float32 may add to a number of steps.
_STEPS_ATOL = 1e-4


@attacks.register("basic_iterative", kind="budget", norms=("linf",), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class BasicIterative(method.Method):
    """Climbs the loss in steps of one grey level.

    Attributes:
      epsilon: Radius of the L-inf ball, in the units of `bounds`.
      step_size: Length of a step; None means 1/255 of the box's width.
      num_steps: None means Kurakin's number, min(epsilon + 4, 1.25 epsilon)
        in units of 1/255 of the box's width, for each image's budget.
      targeted: Descend the loss of the labels, which are targets.

    Reference: Kurakin, Goodfellow, Bengio 2017, arXiv 1607.02533.
    """

    epsilon: float
    step_size: float | None = None
    num_steps: int | None = None
    targeted: bool = False

    def check(self):
        """Raises an InputError for a number out of its range."""
        check_step_options(self.step_size, self.num_steps)

    def stages(self):
        """`pgd`, its numbers filled in."""
        pgd_class = PGD if self.num_steps else _PGDWithRowSteps
        step_size, num_steps = choose_kurakin_steps(self)
        return (
            pgd_class(
                bounds=self.bounds,
                seed=self.seed,
                xla=self.xla,
                epsilon=self.epsilon,
                step_size=step_size,
                num_steps=num_steps,
                targeted=self.targeted,
            ),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _PGDWithRowSteps(PGD):
    """Every row takes the number of steps that its own budget asks for."""

    def count_fixed_steps(self):
        return None

    def done(self, examples, state):
        return state["step"] >= count_kurakin_steps(self, examples)


def check_step_options(step_size: float | None, num_steps: int | None) -> None:
    """Raises an InputError for a step or a number of them out of range."""
    if step_size is not None:
        errors.check_number("step_size", step_size, above=0)
    if num_steps is not None:
        errors.check_number("num_steps", num_steps, at_least=1)


def choose_kurakin_steps(attack: method.Method) -> tuple[float, int]:
    """Returns step size and number of steps, Kurakin's where none is given.

    Args:
      attack: Has bounds, epsilon, step_size and num_steps.
    """
    level = attack.width / _GREY_LEVELS
    step_size = level if attack.step_size is None else attack.step_size
    num_steps = attack.num_steps
    if num_steps is None:
        levels = float(np.max(attack.epsilon)) / level
        num_steps = max(1, math.ceil(min(levels + 4, 1.25 * levels) - _STEPS_ATOL))
    return step_size, num_steps


def count_kurakin_steps(attack: method.Method, examples: method.Examples) -> tf.Tensor:
    """Returns Kurakin's number of steps for each row: int32 [batch]."""
    levels = examples.epsilon / (attack.width / _GREY_LEVELS)
    # min(epsilon + 4, 1.25 epsilon), in grey levels
    num_steps = tf.math.ceil(tf.minimum(levels + 4, 1.25 * levels) - _STEPS_ATOL)
    return tf.maximum(tf.cast(num_steps, tf.int32), 1)


@attacks.register("iterative_least_likely_class", kind="budget", norms=("linf",), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class IterativeLeastLikelyClass(method.Method):
    """Descends the loss of the class that was least likely at first.

    The target is fixed by the clean image. Success is any other class than
    the label.

    Attributes:
      epsilon: Radius of the L-inf ball, in the units of `bounds`.
      step_size: Length of a step; None means 1/255 of the box's width.
      num_steps: None means Kurakin's number, min(epsilon + 4, 1.25 epsilon)
        in units of 1/255 of the box's width, for each image's budget.

    Reference: Kurakin, Goodfellow, Bengio 2017, arXiv 1607.02533.
    """

    epsilon: float
    step_size: float | None = None
    num_steps: int | None = None

    def check(self):
        """Raises an InputError for a number out of its range."""
        check_step_options(self.step_size, self.num_steps)

    def stages(self):
        """One descent, its numbers filled in."""
        step_size, num_steps = choose_kurakin_steps(self)
        return (
            _LeastLikelyDescent(
                bounds=self.bounds,
                seed=self.seed,
                xla=self.xla,
                epsilon=self.epsilon,
                step_size=step_size,
                num_steps=num_steps,
                use_row_steps=not self.num_steps,
            ),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _LeastLikelyDescent(method.Method):
    epsilon: float
    step_size: float
    num_steps: method.Count
    # Kurakin's number for each row's own budget, in place of `num_steps`.
    use_row_steps: bool

    name = "iterative_least_likely_class"

    def count_fixed_steps(self):
        return None if self.use_row_steps else int(self.num_steps)

    def init(self, classifier, examples):
        logits = classifier.logits(examples.images)
        return {
            "images": examples.images,
            "target": losses.select_ranked_class(logits, examples.labels, -1),
            "step": examples.labels * 0,
        }

    def step(self, classifier, examples, state):
        # X_{N+1} = Clip{X_N - alpha sign(grad_X l(f(X_N), y_LL))}  (Table 4)
        perturbed = state["images"] - self.conjugate(classifier, examples, state)
        delta = norms.project(perturbed - examples.images, examples.budget(), "linf")
        return state | {
            "images": method.clip(examples.images + delta, self.bounds),
            "step": state["step"] + 1,
        }

    def done(self, examples, state):
        num_steps = self.num_steps
        if self.use_row_steps:
            num_steps = count_kurakin_steps(self, examples)
        return state["step"] >= num_steps

    def conjugate(self, classifier, examples, state):
        return self.step_size * losses.compute_target_sign(
            classifier, state["images"], state["target"]
        )


# The one-step target class method: the first row of the paper's Table 4.
#
# ```python
# attack = attacks.get("one_step_target_class")
# attacked = attack(classifier, images, labels, epsilon=8 / 255)
# ```


@attacks.register("one_step_target_class", kind="budget", norms=("linf",), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class OneStepTargetClass(method.Method):
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
        losses.check_target_choice(self.target)

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
        """Steps once."""
        sign_gradient = self.conjugate(classifier, examples, state)
        # X^adv = X - epsilon sign(grad_X l(f(X), y_target))      (Table 4)
        perturbed = examples.images - examples.budget() * sign_gradient
        return state | {"images": method.clip(perturbed, self.bounds), "step": state["step"] + 1}

    def done(self, examples, state):
        """After the one step."""
        return state["step"] >= 1

    def conjugate(self, classifier, examples, state):
        """sign(grad_X l(f(X), y_target)) (Table 4)."""
        return losses.compute_target_sign(classifier, examples.images, state["target"])


# The L-inf distance of Su et al.: iterative FGSM, its epsilon searched.
#
# The robustness axis of the survey of 18 ImageNet models that Fig. 3 of the
# paper draws on.
#
# ```python
# attack = attacks.get("iterative_fgsm_search")
# attacked = attack(classifier, images, labels)
# ```


# The first epsilon where none is given, in units of the box's width.
_INITIAL_EPSILON = 0.1
# The largest epsilon where there is no box.
_MAX_EPSILON = 1e30


@attacks.register("iterative_fgsm_search", kind="minimum_norm", norms=("linf",), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class IterativeFGSMSearch(method.Method):
    """Runs iterative FGSM with one epsilon after another for each image.

    After a failure epsilon doubles, up to the box's width, until one has
    succeeded; then it is the middle between the largest that failed and the
    smallest distance at which an adversarial image was met. An attempt ends
    at its first adversarial point. (The definition goes on to the last one,
    and takes epsilon itself for the distance: more passes for a coarser
    answer.)

    Attributes:
      initial_epsilon: The first epsilon, in the units of `bounds`; None
        means a tenth of the box's width.
      num_steps: Steps an attempt, of epsilon / num_steps each.
      max_attempts: Number of epsilons tried for each image.
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
        """Raises an InputError for an option out of its range."""
        losses.get(self.loss)
        if self.initial_epsilon is not None and not tf.is_tensor(self.initial_epsilon):
            errors.check_number("initial_epsilon", self.initial_epsilon, above=0)

    def init(self, classifier, examples):
        """Starts at the image; what is misclassified already is done."""
        logits = classifier.logits(examples.images)
        success = method.adversarial(logits, examples.labels, self.targeted)
        zeros = tf.zeros_like(success, tf.float32)
        zero_count = tf.zeros_like(examples.labels)
        return {
            "current": examples.images,
            "images": examples.images,
            "nearest": tf.where(success, 0.0, float("inf")),
            "epsilon": zeros + self._get_initial_epsilon(),
            "failed": zeros,
            "step": zero_count,
            "attempt": tf.where(success, self.max_attempts, zero_count),
        }

    def step(self, classifier, examples, state):
        """Looks where the last step led, and takes one, or a new epsilon."""
        clean, current = examples.images, state["current"]
        objective = losses.build_objective(self.loss, examples.labels, self.targeted)
        logits, _, gradient = classifier.gradient(objective, current)
        success = method.adversarial(logits, examples.labels, self.targeted)
        distance = norms.compute_norm(current - clean, "linf")
        closer_state = engine.select_rows(
            success & (distance < state["nearest"]), {"images": current, "nearest": distance}, state
        )
        # x <- clip(x_0 + clip(x + epsilon / n sign(slope) - x_0, epsilon))
        epsilon = norms.expand_like(state["epsilon"], clean)
        step_size = epsilon / tf.cast(self.num_steps, tf.float32)
        delta = current + step_size * tf.sign(gradient) - clean
        perturbed = clean + norms.project(delta, epsilon, "linf")
        perturbed = method.clip(perturbed, self.bounds)
        step = state["step"] + 1
        is_finished = success | (step > self.num_steps)
        state = state | closer_state | {"current": perturbed, "step": step}
        return state | engine.select_rows(
            is_finished, self._start_next_attempt(examples, state, success), state
        )

    def done(self, examples, state):
        """After the attempts, or once nothing remains to be tried."""
        return state["attempt"] >= self.max_attempts

    def _get_initial_epsilon(self):
        if self.initial_epsilon is not None:
            return self.initial_epsilon
        return _INITIAL_EPSILON * self.width

    def _start_next_attempt(self, examples, state, success):
        """Returns what changes before the first step of the next attempt."""
        epsilon, closest_distance = state["epsilon"], state["nearest"]
        largest_failed = tf.where(success, state["failed"], epsilon)
        # A larger epsilon can fail where a smaller one has met an image.
        largest_failed = tf.where(largest_failed < closest_distance, largest_failed, 0.0)
        max_epsilon = _MAX_EPSILON if self.bounds is None else self.width
        next_epsilon = tf.where(
            tf.math.is_inf(closest_distance),
            tf.minimum(2 * epsilon, max_epsilon),
            (largest_failed + closest_distance) / 2,
        )
        is_exhausted = ~success & (epsilon >= max_epsilon)
        attempt = tf.where(is_exhausted, self.max_attempts, state["attempt"] + 1)
        return {
            "current": examples.images,
            "epsilon": next_epsilon,
            "failed": largest_failed,
            "step": tf.zeros_like(attempt),
            "attempt": attempt,
        }
