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
_INITIAL = 0.1
# The largest epsilon where there is no box.
_NO_LIMIT = 1e30


@attacks.register(
    "iterative_fgsm_search",
    kind="minimum_norm",
    norms=("linf",),
    gradients=True,
)
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
        if self.initial_epsilon is not None and not tf.is_tensor(
            self.initial_epsilon
        ):
            errors.check_number(
                "initial_epsilon", self.initial_epsilon, above=0
            )

    def init(self, victim, examples):
        """Starts at the image; what is misclassified already is done."""
        logits = victim.logits(examples.images)
        hit = base.adversarial(logits, examples.labels, self.targeted)
        zeros = tf.zeros_like(hit, tf.float32)
        count = tf.zeros_like(examples.labels)
        return {
            "current": examples.images,
            "images": examples.images,
            "nearest": tf.where(hit, 0.0, float("inf")),
            "epsilon": zeros + self._initial(),
            "failed": zeros,
            "step": count,
            "attempt": tf.where(hit, self.max_attempts, count),
        }

    def step(self, victim, examples, state):
        """Looks where the last step led, and takes one, or a new epsilon."""
        clean, current = examples.images, state["current"]
        objective = losses.ascent(self.loss, examples.labels, self.targeted)
        logits, _, slope = victim.gradient(objective, current)
        hit = base.adversarial(logits, examples.labels, self.targeted)
        distance = norms.length(current - clean, "linf")
        better = program.merged(
            hit & (distance < state["nearest"]),
            {"images": current, "nearest": distance},
            state,
        )
        # x <- clip(x_0 + clip(x + epsilon / n sign(slope) - x_0, epsilon))
        epsilon = norms.rows(state["epsilon"], clean)
        size = epsilon / tf.cast(self.num_steps, tf.float32)
        delta = current + size * tf.sign(slope) - clean
        moved = clean + norms.project(delta, epsilon, "linf")
        moved = base.clip(moved, self.bounds)
        step = state["step"] + 1
        over = hit | (step > self.num_steps)
        state = state | better | {"current": moved, "step": step}
        return state | program.merged(
            over, self._next(examples, state, hit), state
        )

    def done(self, examples, state):
        """After the attempts, or once nothing remains to be tried."""
        return state["attempt"] >= self.max_attempts

    def _initial(self):
        if self.initial_epsilon is not None:
            return self.initial_epsilon
        return _INITIAL * self.width

    def _next(self, examples, state, hit):
        """Returns what changes before the first step of the next attempt."""
        epsilon, nearest = state["epsilon"], state["nearest"]
        failed = tf.where(hit, state["failed"], epsilon)
        # A larger epsilon can fail where a smaller one has met an image.
        failed = tf.where(failed < nearest, failed, 0.0)
        largest = _NO_LIMIT if self.bounds is None else self.width
        following = tf.where(
            tf.math.is_inf(nearest),
            tf.minimum(2 * epsilon, largest),
            (failed + nearest) / 2,
        )
        hopeless = ~hit & (epsilon >= largest)
        attempt = tf.where(hopeless, self.max_attempts, state["attempt"] + 1)
        return {
            "current": examples.images,
            "epsilon": following,
            "failed": failed,
            "step": tf.zeros_like(attempt),
            "attempt": attempt,
        }
