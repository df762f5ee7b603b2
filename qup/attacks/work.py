"""The work of an attack in calls of its programs, and the share of it that is done.

```python
calls = count_calls(method, steps, count=1000, batch_size=128)
calls["masked_step", 128, 1]  # Number of calls on 128 rows that take one step each.
attacks.run("autoattack", classifier, images, labels, epsilon=0.1, on_share=print)
```
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from qup.attacks import engine
from qup.attacks.batch_sizes import BatchSizes
from qup.attacks.inputs import ExampleBatch
from qup.attacks.method import Examples, Method, QueryCounter, StageProgress

# Numbers of calls by (function, rows per batch, steps per call).
Calls = dict[tuple[str, int, int], float]
# The steps of a stage that does not know the largest number of its steps.
_UNKNOWN_STEPS = 100
# Counting is not exact above these numbers: rows in batches, and steps of a row.
_COUNTED_BATCHES, _COUNTED_STEPS = 8, 300


class _CountingProgram:
    """Takes the place of an `engine.Program` and counts its calls.

    Attributes:
      calls: Numbers of calls by (function, rows, steps per call).
    """

    def __init__(self, steps: np.ndarray):
        """Prepares the rows.

        Args:
          steps: int [n], the number of steps of the example with the id i.
        """
        self._steps = tf.constant(steps, tf.int32)
        self.calls: Calls = {}
        self.counters = {name: QueryCounter(lambda images: images, 1) for name in ("init", "step")}

    def _count(self, kind: str, examples: Examples, num_steps: int = 1) -> None:
        key = (kind, examples.images.shape[0], num_steps)
        self.calls[key] = self.calls.get(key, 0) + 1

    def init(self, examples, scalars):
        """See `engine.Program`."""
        self._count("init", examples)
        steps_left = tf.gather(self._steps, examples.ids)
        return {"steps_left": steps_left}, steps_left <= 0

    def step(self, examples, state, scalars, num_steps=1):
        """See `engine.Program`."""
        self._count("step", examples, num_steps)
        return state

    def masked_steps(self, examples, state, done, scalars, max_steps, min_active):
        """See `engine.Program`; each step counts as a call."""
        steps_left, done = state["steps_left"].numpy(), done.numpy()
        active_steps = np.sort(steps_left[~done])[::-1]
        # The loop ends when the row at this rank is done.
        num_steps = min(int(max_steps), int(active_steps[int(min_active)]))
        key = ("masked_step", examples.images.shape[0], 1)
        self.calls[key] = self.calls.get(key, 0) + num_steps
        steps_taken = np.where(done, 0, np.minimum(steps_left, num_steps))
        steps_left = steps_left - steps_taken
        return (
            {"steps_left": tf.constant(steps_left)},
            tf.constant(done | (steps_left <= 0)),
            tf.constant(steps_taken),
            tf.constant(num_steps),
        )

    def images(self, examples, state, scalars):
        """See `engine.Program`."""
        self._count("images", examples)
        return examples.images


class _CountedMethod:
    """A method whose rows report no share of their work; the engine reads the other attributes."""

    def __init__(self, method: Method, num_fixed_steps: int | None):
        self._method, self._num_fixed_steps = method, num_fixed_steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)

    def count_fixed_steps(self) -> int | None:
        """Returns the number of steps if it is the same for all rows, else None."""
        return self._num_fixed_steps

    def measure_progress(self, state, steps_taken, image_shape) -> np.ndarray:
        """Returns zeros."""
        return 0.0 * steps_taken


def count_calls(method: Method, steps: np.ndarray, *, count: int, batch_size: int) -> Calls:
    """Counts the calls by which the engine runs a stage.

    Args:
      method: The stage.
      steps: float [m], the numbers of steps of some rows, which the others repeat.
      count: The number of rows.
      batch_size: Rows per batch.

    Returns:
      Numbers of calls by (function, rows, steps per call).
    """
    num_rows = min(count, _COUNTED_BATCHES * batch_size)
    num_fixed_steps = method.count_fixed_steps()
    # With very many steps a counted step stands for several.
    factor = 1.0 if num_fixed_steps else max(1.0, float(np.max(steps)) / _COUNTED_STEPS)
    # Evenly spaced quantiles, in random order as the images are.
    quantiles = np.quantile(steps, (np.arange(num_rows) + 0.5) / num_rows, method="nearest")
    row_steps = np.random.default_rng(0).permutation(quantiles)
    row_steps = np.where(row_steps > 0, np.maximum(1, np.rint(row_steps / factor)), 0)
    program = _CountingProgram(row_steps.astype(np.int64))
    examples = ExampleBatch(
        np.zeros((num_rows, 1), np.float32),
        np.zeros(num_rows, np.int32),
        np.arange(num_rows),
        np.full(num_rows, np.nan, np.float32),
    )
    engine.DynamicBatch(
        program,
        {},
        _CountedMethod(method, num_fixed_steps),
        examples,
        sizes=BatchSizes(batch_size),
        progress=StageProgress.start(examples.images),
    ).run()
    calls = {}
    for (kind, rows, num_steps), number in program.calls.items():
        steps_per_call = factor if kind == "masked_step" else 1.0
        calls[kind, rows, num_steps] = number * steps_per_call * count / num_rows
    return calls


class ShareCounter:
    """Reports the share of the work over all stages, labels, budgets and shards of an attack.

    The unit is a step of a row. It is not known how many rows withstand a stage, so the work that
    is left counts as if all rows of the current stage did.
    """

    def __init__(self, num_images: int, num_budgets: int, report: Callable[[float], None]):
        """Starts at 0.

        Args:
          num_images: Number of images of all shards.
          num_budgets: Number of budgets.
          report: Called with the share, which never falls.
        """
        self._num_images, self._num_budgets, self._report = num_images, num_budgets, report
        self._share = 0.0
        # Of the shards that are complete, and of this one: images, and steps of all rows.
        self._images_done = self._steps_done = self._shard_steps = 0.0
        self._stage_steps = 0.0

    def begin_attack(
        self, attack: Any, examples: ExampleBatch, *, number: int, num_choices: int
    ) -> None:
        """Begins the attack on a shard at one budget.

        Args:
          attack: The attack.
          examples: The shard.
          number: How many budgets come before.
          num_choices: Number of labels that are tried.
        """
        self._finish_stage()
        self._num_rows = len(examples.labels)
        image_shape = examples.images.shape[1:]
        max_steps = [stage.count_max_steps(image_shape) for stage in attack.stages()]
        # 1 more for the initial state and the verification.
        self._steps = [1 + (steps or _UNKNOWN_STEPS) for steps in max_steps]
        self._num_choices = num_choices
        self._num_later_budgets = self._num_budgets - number - 1
        self._keeps_rows = not attack.stops_early
        if attack.is_minimum_norm:
            self._num_later_budgets = 0  # One search serves all.

    def begin_stage(self, choice: int, stage_number: int, num_rows: int) -> Callable[[float], None]:
        """Begins a stage on so many rows; returns the function that takes its share."""
        self._finish_stage()
        self._stage_steps = num_rows * self._steps[stage_number]
        later_stages = num_rows * sum(self._steps[stage_number + 1 :])
        all_stages = sum(self._steps)
        later_choices = num_rows * (self._num_choices - choice - 1) * all_stages
        rows = self._num_rows if self._keeps_rows else num_rows
        later_budgets = rows * self._num_later_budgets * self._num_choices * all_stages
        self._later_steps = later_stages + later_choices + later_budgets
        return self._set_share

    def _set_share(self, share: float) -> None:
        """Reports the share of all work from that of the current stage."""
        in_stage = share * self._stage_steps
        shard_done = self._shard_steps + in_stage
        shard_left = self._stage_steps - in_stage + self._later_steps
        images_left = self._num_images - self._images_done - self._num_rows
        per_image = (shard_done + shard_left) / max(1, self._num_rows)
        if self._images_done:
            per_image = self._steps_done / self._images_done
        done = self._steps_done + shard_done
        left = shard_left + images_left * per_image
        self._share = max(self._share, done / max(1.0, done + left))
        self._report(self._share)

    def _finish_stage(self) -> None:
        self._shard_steps += self._stage_steps
        self._stage_steps = 0.0

    def end_shard(self, num_images: int) -> None:
        """Ends a shard; the last one ends the attack."""
        self._finish_stage()
        self._steps_done += self._shard_steps
        self._shard_steps = 0.0
        self._images_done += num_images
        share = self._images_done / max(1, self._num_images)
        self._share = 1.0 if share >= 1 else max(self._share, min(share, 0.999))
        self._report(self._share)
