"""The constant of Carlini and Wagner, searched for each example by itself.

What `carlini_wagner` and `elastic_net` share: both minimise

    distance(x, x_0) + c max(0, z_y - max_{i != y} z_i + confidence),

begin with a small c, take ten times as much until an image is found, and
then halve the interval. Every row has its own c and its own counters, so one
step of a batch is one iteration of each row, whatever search step it is in.

```python
class CarliniWagner(BinarySearch):
    def start(self, examples): ...
    def iterate(self, victim, examples, state): ...
```
"""

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from qup import errors
from qup.attacks import base, losses
from qup.attacks.base import program

# The upper end while no constant has succeeded, and the value below which
# it counts as found.
_UNKNOWN_UPPER, _MAX_KNOWN_UPPER = 1e10, 1e9
# From so many search steps on, the last one takes the upper end itself.
_MIN_STEPS_TO_END_UPPER = 10
_STALL_RATIO = 0.9999


class Trial(NamedTuple):
    """What one iteration tried, one row an example.

    Attributes:
      images: float32 [batch, ...].
      logits: float32 [batch, classes], of the images.
      distance: float32 [batch], by which the nearest image is kept.
      loss: float32 [batch], whose fall is watched.
    """

    images: tf.Tensor
    logits: tf.Tensor
    distance: tf.Tensor
    loss: tf.Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class BinarySearch(base.Method):
    """Minimises the loss once for each of several constants.

    Distances are measured in units of the box's width, so that the options
    mean the same for any box; without a box the unit is that of the pixels.

    Attributes:
      targeted: The labels are targets.
      confidence: kappa, the lead in logits that the image shall have.
      initial_constant: The first c.
      search_steps: Number of constants tried.
      num_steps: Iterations for each constant.
      learning_rate: Of an iteration.
      abort_early: Leave a constant when a tenth of its iterations has not
        lowered the loss by 0.01 %.
    """

    targeted: bool = False
    confidence: float = 0.0
    initial_constant: float = 1e-3
    search_steps: int = 9
    num_steps: base.Count = 1000
    learning_rate: float = 1e-2
    abort_early: bool = True

    def check(self):
        """Raises an InputError for an option out of its range."""
        base.check_number("confidence", self.confidence, least=0)
        errors.check_number("search_steps", self.search_steps, at_least=1)
        if int(self.search_steps) != self.search_steps:
            raise errors.InputError(f"search_steps must be an integer; got {self.search_steps!r}.")
        for name in ("initial_constant", "learning_rate"):
            value = getattr(self, name)
            if not tf.is_tensor(value):
                errors.check_number(name, value, above=0)

    def init_variables(self, examples: base.Examples) -> base.State:
        """Returns the variables of the first iteration for a constant."""
        raise NotImplementedError

    def iterate(
        self, classifier: base.QueryCounter, examples: base.Examples, state: base.State
    ) -> tuple[base.State, Trial]:
        """Returns the variables after one iteration, and what it tried."""
        raise NotImplementedError

    def compute_hinge(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Returns by how much each row misses its aim: float32 [batch]."""
        objective = losses.build_objective("margin", labels, self.targeted)
        # f = max(0, z_y - max_{i != y} z_i + kappa), sign turned for targets.
        # At 0 it has the slope of its right side, lest a tie never moves.
        shortfall = self.confidence - objective(logits)
        return tf.where(shortfall >= 0, shortfall, 0.0)

    def is_confident(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Marks rows that succeed by `confidence`: bool [batch]."""
        margin = -self.confidence if self.targeted else self.confidence
        logit_offset = margin * tf.one_hot(labels, logits.shape[1])
        return base.adversarial(logits + logit_offset, labels, self.targeted)

    def init(self, classifier, examples):
        """Starts with the first constant; what succeeds already is done."""
        logits = classifier.logits(examples.images)
        already_adversarial = self.is_confident(examples.labels, logits)
        zeros = tf.zeros_like(already_adversarial, tf.float32)
        zero_count = tf.zeros_like(examples.labels)
        return self.init_variables(examples) | {
            "images": examples.images,
            "nearest": zeros + float("inf"),
            "found": tf.zeros_like(already_adversarial),
            "previous": zeros + float("inf"),
            "constant": zeros + self.initial_constant,
            "lower": zeros,
            "upper": zeros + _UNKNOWN_UPPER,
            "step": zero_count,
            "search": tf.where(already_adversarial, self.search_steps, zero_count),
        }

    def step(self, classifier, examples, state):
        """Takes one iteration; at the last of a constant, the next one."""
        variables, trial = self.iterate(classifier, examples, state)
        success = self.is_confident(examples.labels, trial.logits)
        closer_state = program.select_rows(
            success & (trial.distance < state["nearest"]),
            {"images": trial.images, "nearest": trial.distance},
            state,
        )
        check_interval = tf.maximum(self.num_steps // 10, 1)
        is_due = state["step"] % check_interval == 0
        is_finished = state["step"] + 1 >= self.num_steps
        if self.abort_early:
            is_finished |= is_due & (trial.loss > _STALL_RATIO * state["previous"])
        progress = {
            "found": state["found"] | success,
            "previous": tf.where(is_due, trial.loss, state["previous"]),
            "step": state["step"] + 1,
        }
        state = state | variables | closer_state | progress
        return tf.cond(
            tf.reduce_any(is_finished),
            lambda: (
                state
                | program.select_rows(
                    is_finished, self._start_next_constant(examples, state), state
                )
            ),
            lambda: state,
        )

    def done(self, examples, state):
        """After `search_steps` constants, or where nothing was to do."""
        return state["search"] >= self.search_steps

    def _start_next_constant(self, examples, state):
        """Returns what changes before the first iteration of a constant."""
        constant, success = state["constant"], state["found"]
        lower, upper = state["lower"], state["upper"]
        lower = tf.where(success, lower, tf.maximum(lower, constant))
        upper = tf.where(success, tf.minimum(upper, constant), upper)
        # c = (lower + upper) / 2 once an upper end is known, else 10 c.
        next_constant = tf.where(
            upper < _MAX_KNOWN_UPPER, (lower + upper) / 2, tf.minimum(10 * constant, _UNKNOWN_UPPER)
        )
        search = state["search"] + 1
        if self.search_steps >= _MIN_STEPS_TO_END_UPPER:
            is_last_search = search == self.search_steps - 1
            next_constant = tf.where(is_last_search, upper, next_constant)
        return self.init_variables(examples) | {
            "found": tf.zeros_like(success),
            "previous": tf.zeros_like(constant) + float("inf"),
            "constant": next_constant,
            "lower": lower,
            "upper": upper,
            "step": tf.zeros_like(search),
            "search": search,
        }
