"""The L-inf distance of Su et al.: iterative FGSM, its epsilon searched.

The robustness axis of the survey of 18 ImageNet models that Fig. 3 of the
paper draws on.

```python
attack = attacks.get("iterative_fgsm_search")
attacked = attack(classifier, images, labels)
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks, errors, norms
from qup.attacks import base, losses
from qup.attacks.base import program

# The first epsilon where none is given, in units of the box's width.
_INITIAL_EPSILON = 0.1
# The largest epsilon where there is no box.
_MAX_EPSILON = 1e30


@attacks.register("iterative_fgsm_search", kind="minimum_norm", norms=("linf",), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class IterativeFGSMSearch(base.Method):
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
    num_steps: base.Count = 50
    max_attempts: base.Count = 9
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
        success = base.adversarial(logits, examples.labels, self.targeted)
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
        success = base.adversarial(logits, examples.labels, self.targeted)
        distance = norms.compute_norm(current - clean, "linf")
        closer_state = program.select_rows(
            success & (distance < state["nearest"]), {"images": current, "nearest": distance}, state
        )
        # x <- clip(x_0 + clip(x + epsilon / n sign(slope) - x_0, epsilon))
        epsilon = norms.expand_like(state["epsilon"], clean)
        step_size = epsilon / tf.cast(self.num_steps, tf.float32)
        delta = current + step_size * tf.sign(gradient) - clean
        perturbed = clean + norms.project(delta, epsilon, "linf")
        perturbed = base.clip(perturbed, self.bounds)
        step = state["step"] + 1
        is_finished = success | (step > self.num_steps)
        state = state | closer_state | {"current": perturbed, "step": step}
        return state | program.select_rows(
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
