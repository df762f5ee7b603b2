"""Runs a compiled attack on any number of examples with one batch shape.

```python
program, scalars = compile_attack(classifier, method, inspect_classifier(classifier, images))
outputs = DynamicBatch(program, scalars, method, examples, batch_size=128).run()
```

Rows that are done leave the batch, and waiting examples take their places. The result of a row
depends on this row alone, so neither the order of the examples nor their neighbours change it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from qup.attacks.inputs import ExampleBatch
from qup.attacks.method import (
    AttackOutputs,
    Examples,
    Method,
    QueryCounter,
    StageProgress,
    State,
    merge_scalars,
    split_scalars,
)
from qup.core import compilation, errors
from qup.core.classifier import ClassifierInfo, get_classifier_program
from qup.core.types import LogitsFn

# Several steps per call pay off because on a small classifier a call costs as much time as the
# arithmetic of a step. They need a second trace, which few steps or few batches do not repay.
UNROLLED_STEPS = 5
_MIN_STEPS_TO_UNROLL = 20
_MIN_BATCHES_TO_UNROLL = 4
# The smallest batch that few examples are moved to, and after how many calls with mostly empty
# rows: about what compiling another size costs.
_MIN_SMALL_BATCH = 8
_MIN_SPARSE_CALLS = 20


class Program:
    """The functions of a method, compiled for one classifier; each is traced at its first call.

    Attributes:
      init: (examples, scalars) -> (state, done) before the first step.
      step: (examples, state, scalars, num_steps=1) -> state of every row.
      masked_step: (examples, state, done, scalars, num_steps=1) -> (state, done, steps_taken).
        Rows that are done keep their state. `steps_taken` is int32 [batch].
      images: (examples, state, scalars) -> float32 [batch, ...].
      conjugate: (examples, state, scalars) -> float32 [batch, ...].
      counters: The calls per example of "init", "step" and "conjugate", once they are traced.
    """

    def __init__(self, logits_fn: LogitsFn, static: Method):
        """Prepares the functions.

        Args:
          logits_fn: Image to logits.
          static: The method without its scalars, see `split_scalars`.
        """
        self._logits_fn = logits_fn
        self._static = static
        self.counters = {"step": QueryCounter(logits_fn, 1)}
        self.init = self._compile(self._init)
        self.step = self._compile(self._step)
        self.masked_step = self._compile(self._masked_step)
        self.images = self._compile(self._images)
        self.conjugate = self._compile(self._conjugate)

    def _compile(self, function: Callable) -> Callable:
        # Another batch size needs its own trace: calls are counted per batch size.
        return compilation.compile_function(function, self._static.xla, reduce_retracing=False)

    def _start_counter(self, name: str, examples: Examples) -> QueryCounter:
        self.counters[name] = QueryCounter(self._logits_fn, examples.images.shape[0])
        return self.counters[name]

    def _init(self, examples: Examples, scalars) -> tuple[State, tf.Tensor]:
        method = merge_scalars(self._static, scalars)
        state = method.init(self._start_counter("init", examples), examples)
        return state, method.done(examples, state)

    def _step(self, examples: Examples, state: State, scalars, num_steps: int = 1) -> State:
        method = merge_scalars(self._static, scalars)
        for _ in range(num_steps):
            new_state = method.step(self._start_counter("step", examples), examples, state)
            state = _restore_shapes(new_state, state)
        return state

    def _masked_step(
        self, examples: Examples, state: State, done: tf.Tensor, scalars, num_steps: int = 1
    ) -> tuple[State, tf.Tensor, tf.Tensor]:
        method = merge_scalars(self._static, scalars)
        steps_taken = tf.zeros_like(examples.labels)
        for _ in range(num_steps):
            steps_taken += tf.cast(~done, tf.int32)
            new_state = method.step(self._start_counter("step", examples), examples, state)
            state = select_rows(done, state, new_state)
            done |= method.done(examples, state)
        return state, done, steps_taken

    def _images(self, examples: Examples, state: State, scalars) -> tf.Tensor:
        return merge_scalars(self._static, scalars).images(examples, state)

    def _conjugate(self, examples: Examples, state: State, scalars) -> tf.Tensor:
        method = merge_scalars(self._static, scalars)
        return method.conjugate(self._start_counter("conjugate", examples), examples, state)

    def run_to_end(self, examples: Examples, scalars: dict, num_steps: int | None) -> tf.Tensor:
        """Attacks one batch to its end.

        Args:
          examples: The batch.
          scalars: The scalar options.
          num_steps: The number of steps if it is the same for all rows, else None.

        Returns:
          float32 [batch, ...].
        """
        state, done = self.init(examples, scalars)
        if num_steps is not None:
            for num_steps_per_call in split_steps(num_steps):
                state = self.step(examples, state, scalars, num_steps_per_call)
        else:
            while not done.numpy().all():
                state, done, _ = self.masked_step(examples, state, done, scalars)
        return self.images(examples, state, scalars)

    def compute_last_conjugate(self, examples: Examples, scalars: dict) -> tf.Tensor:
        """Attacks one batch to its end; returns the conjugate of the last step of each row.

        Returns:
          float32 [batch, ...], at the state before the last step.
        """
        state, done = self.init(examples, scalars)
        last_state = state
        while not done.numpy().all():
            last_state = select_rows(done, last_state, state)
            state, done, _ = self.masked_step(examples, state, done, scalars)
        return self.conjugate(examples, last_state, scalars)


def split_steps(num_steps: int) -> list[int]:
    """Returns the number of steps of each call that together make `num_steps`."""
    num_calls = num_steps // UNROLLED_STEPS if num_steps >= _MIN_STEPS_TO_UNROLL else 0
    return [UNROLLED_STEPS] * num_calls + [1] * (num_steps - num_calls * UNROLLED_STEPS)


def select_rows(mask: tf.Tensor, first: State, second: State) -> State:
    """Takes the rows of `first` where `mask` is true, else those of `second`."""
    # This `where` takes whole rows. At 32x32x3 it is three to five times faster than one that
    # broadcasts the mask.
    return {name: tf.compat.v1.where(mask, value, second[name]) for name, value in first.items()}


def _restore_shapes(state: State, previous_state: State) -> State:
    """Gives tensors the static shapes of the state before a step.

    The gradient of a SavedModel or of a traced function has an unknown batch size. Added to a batch
    of one row it makes that of the images unknown, and the next step counts calls by it.
    """
    for name, value in state.items():
        value.set_shape(previous_state[name].shape)
    return state


def check_enough_classes(method: Method, classifier_info: ClassifierInfo) -> None:
    """Raises an InputError if the attack needs more classes than the classifier has."""
    if classifier_info.num_classes < method.min_classes:
        raise errors.InputError(
            f"{method.name} needs at least {method.min_classes} classes; the classifier has "
            f"{classifier_info.num_classes}. Use apgd_ce, deepfool, carlini_wagner, or pgd with "
            "another loss than dlr."
        )


def compile_attack(
    logits_fn: LogitsFn, method: Method, classifier_info: ClassifierInfo
) -> tuple[Program, dict[str, Any]]:
    """Returns the program of a method for a classifier, and the method's scalars.

    There is one program per classifier and set of options that are not scalars.

    Raises:
      InputError: The attack needs more classes than the classifier has.
    """
    check_enough_classes(method, classifier_info)
    static, scalars = split_scalars(method)
    program = get_classifier_program(
        logits_fn, ("attack", static, tuple(scalars)), lambda call: Program(call, static)
    )
    return program, scalars


def choose_batch_size(batch_size: int, count: int, xla: str) -> int:
    """Returns a smaller batch for few examples, because empty rows cost as much as full ones.

    Only a quarter and a sixteenth of the batch are used, since each size is compiled anew. With XLA
    it stays: compilation takes longer there, and a GPU has room for empty rows.

    Args:
      batch_size: The largest number of rows.
      count: Number of examples.
      xla: See `compilation.use_xla`.
    """
    if not compilation.use_xla(xla):
        while batch_size // 4 >= _MIN_SMALL_BATCH and count <= batch_size // 2:
            batch_size //= 4
    return batch_size


class DynamicBatch:
    """A batch of one shape whose finished rows are replaced by waiting examples.

    When few rows are left, they move into a smaller batch.
    """

    def __init__(
        self,
        program: Program,
        scalars: dict[str, Any],
        method: Method,
        examples: ExampleBatch,
        *,
        batch_size: int,
        repeat: int = 0,
        can_shrink: bool = True,
        progress: StageProgress | None = None,
        on_progress: Callable[[int], None] = lambda count: None,
        on_share: Callable[[float], None] | None = None,
    ):
        """Puts the examples into a queue.

        Args:
          program: The compiled attack.
          scalars: Its scalar options.
          method: Says whether all rows take the same number of steps.
          examples: Examples with epsilon 0 are not attacked: their images stay as they are.
          batch_size: Number of rows; if there are fewer examples, the batch is padded.
          repeat: See `Examples.repeat`.
          can_shrink: Whether the batch may become smaller.
          progress: Examples that an earlier call has finished; None for none.
          on_progress: Called with the number of examples that are finished.
          on_share: Called after each call with the share of the work that is done, an estimate.
        """
        self._program, self._scalars, self._method = program, scalars, method
        self._inputs, self._on_progress, self._on_share = examples, on_progress, on_share
        self._progress = progress or StageProgress.start(examples.images)
        self._repeat = tf.constant(repeat, tf.int32)
        self._queue = np.flatnonzero((examples.epsilon != 0) & ~self._progress.finished)
        self._can_shrink = can_shrink
        # Calls in which at most a quarter of the rows held an unfinished example.
        self._num_sparse_calls = 0
        # Which example each row holds; -1 for none.
        self._row_indices = np.full(batch_size, -1)
        self._done = np.ones(batch_size, bool)
        self._steps_taken = np.zeros(batch_size, np.int64)
        self._state = None
        unroll = method.cheap_step and len(self._queue) >= _MIN_BATCHES_TO_UNROLL * batch_size
        self._max_steps_per_call = UNROLLED_STEPS if unroll else 1
        # Rows that finished per step in the last call. All, before the first call.
        self._finished_per_step = float(batch_size)
        # A refill computes the initial state of the whole batch, so it waits for several rows.
        self._min_idle_rows = max(1, batch_size // 4)

    def run(self) -> AttackOutputs:
        """Attacks all examples; returns the outputs in their order."""
        num_skipped = len(self._inputs.labels) - len(self._queue)
        if num_skipped:
            self._on_progress(num_skipped)
        num_steps = self._method.count_fixed_steps()
        while self._refill(1 if num_steps is not None else self._min_idle_rows):
            if num_steps is not None:
                for num_steps_per_call in split_steps(num_steps):
                    self._state = self._program.step(
                        self._examples, self._state, self._scalars, num_steps_per_call
                    )
                    self._steps_taken += num_steps_per_call
                    self._report_share()
                self._done[:] = True
            elif not self._done.all():
                self._shrink()
                num_done, num_steps_per_call = self._done.sum(), self._choose_num_steps()
                self._state, done, steps_taken = self._program.masked_step(
                    self._examples,
                    self._state,
                    tf.constant(self._done),
                    self._scalars,
                    num_steps_per_call,
                )
                self._steps_taken += steps_taken.numpy()
                self._done = done.numpy().copy()
                self._finished_per_step = float(self._done.sum() - num_done) / num_steps_per_call
                self._report_share()
        return self._progress.outputs

    def _report_share(self) -> None:
        """Reports the share of the work that is done: rows that run count by their steps."""
        if self._on_share is None:
            return
        running = ~self._done & (self._row_indices >= 0)
        image_shape = self._inputs.images.shape[1:]
        shares = self._method.measure_progress(self._state, self._steps_taken, image_shape)
        count = len(self._inputs.labels)
        num_done = count - len(self._queue) - running.sum() + shares[running].sum()
        self._on_share(float(num_done) / count)

    def _shrink(self) -> None:
        """Moves the last unfinished rows into a smaller batch after many sparse calls."""
        if not self._can_shrink or len(self._queue):
            return
        active = ~self._done & (self._row_indices >= 0)
        size = choose_batch_size(len(active), 2 * int(active.sum()), self._method.xla)
        self._num_sparse_calls += size < len(active)
        if size == len(active) or self._num_sparse_calls < _MIN_SPARSE_CALLS:
            return
        self._collect_finished(self._done & (self._row_indices >= 0))
        rows = np.flatnonzero(active)
        padded_rows = rows[np.minimum(np.arange(size), len(rows) - 1)]
        is_real = np.arange(size) < len(rows)
        self._row_indices = np.where(is_real, self._row_indices[padded_rows], -1)
        self._steps_taken = self._steps_taken[padded_rows]
        self._done = ~is_real
        self._state = {name: tf.gather(x, padded_rows) for name, x in self._state.items()}
        columns = (tf.gather(column, padded_rows) for column in self._examples[:-1])
        self._examples = Examples(*columns, self._repeat)
        self._num_sparse_calls, self._min_idle_rows = 0, max(1, size // 4)

    def _choose_num_steps(self) -> int:
        """Returns the number of steps of the next call.

        Several steps, if at most half of the rows are expected to finish during them: then about
        as many rows wait for the end of the call as wait for the next refill.
        """
        num_finished = self._finished_per_step * self._max_steps_per_call
        return self._max_steps_per_call if num_finished <= 2 * self._min_idle_rows else 1

    def _refill(self, min_idle: int) -> bool:
        """Collects finished rows and loads waiting examples into them.

        Args:
          min_idle: Number of idle rows to wait for, unless all rows are idle.

        Returns:
          Whether any row holds an example.
        """
        idle = self._done | (self._row_indices < 0)
        if not idle.all() and (not len(self._queue) or idle.sum() < min_idle):
            return True
        self._collect_finished(idle & (self._row_indices >= 0))
        free_rows = np.flatnonzero(idle)[: len(self._queue)]
        self._row_indices[idle] = -1
        if free_rows.size:
            self._row_indices[free_rows] = self._queue[: free_rows.size]
            self._queue = self._queue[free_rows.size :]
            self._load_rows(np.isin(np.arange(len(idle)), free_rows))
        return bool((self._row_indices >= 0).any())

    def _load_rows(self, new_rows: np.ndarray) -> None:
        """Computes the initial state of `new_rows`, bool [batch]. Empty rows copy another row."""
        indices = np.where(self._row_indices >= 0, self._row_indices, self._row_indices.max())
        self._examples = Examples(*map(tf.constant, self._inputs.take(indices)), self._repeat)
        state, done = self._program.init(self._examples, self._scalars)
        if self._state is not None:
            state = select_rows(tf.constant(new_rows), state, self._state)
        self._state = state
        self._done[new_rows] = done.numpy()[new_rows]
        self._done[self._row_indices < 0] = True
        self._steps_taken[new_rows] = 0

    def _collect_finished(self, finished: np.ndarray) -> None:
        if not finished.any():
            return
        images = self._program.images(self._examples, self._state, self._scalars)
        indices, steps_taken = self._row_indices[finished], self._steps_taken[finished]
        init, step = self._program.counters["init"], self._program.counters["step"]
        outputs = self._progress.outputs
        outputs.images[indices] = images.numpy()[finished]
        outputs.forward_calls[indices] = init.forward_calls + steps_taken * step.forward_calls
        outputs.gradient_calls[indices] = init.gradient_calls + steps_taken * step.gradient_calls
        self._progress.finished[indices] = True
        self._progress.save()
        self._on_progress(len(indices))
