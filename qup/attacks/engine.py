"""Runs a compiled attack on any number of examples with few batch shapes.

```python
program, scalars = compile_attack(classifier, method, inspect_classifier(classifier, images))
outputs = DynamicBatch(program, scalars, method, examples, sizes=BatchSizes(128)).run()
```

Rows that are done leave the batch, and waiting examples take their places. When none wait, the rows
that are left move into smaller batches. The result of a row depends on this row alone, so neither
the order of the examples nor their neighbours change it.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from qup.attacks.batch_sizes import BatchSizes
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
from qup.core.interruption import SignalGuard
from qup.core.types import LogitsFn

# Several steps per call pay off because on a small classifier a call costs as much time as the
# arithmetic of a step. Unrolled steps need a second trace, which few steps do not repay.
UNROLLED_STEPS = 5
_MIN_STEPS_TO_UNROLL = 20
# A call of a loop takes at most so many steps, and fewer if it takes longer than these seconds: a
# signal or a line of progress waits for its end. The results do not depend on this.
_MAX_STEPS_PER_CALL, _SECONDS_PER_CALL = 64, 0.5
# On a CPU a batch of so many rows computes almost as many rows per second as a larger one. So a
# larger one pays off only if it is filled several times: its rows do not finish together.
_EFFICIENT_ROWS, _MIN_BATCHES = 32, 4


class Program:
    """The functions of a method, compiled for one classifier; each is traced at its first call.

    Attributes:
      init: (examples, scalars) -> (state, done) before the first step.
      step: (examples, state, scalars, num_steps=1) -> state of every row.
      masked_steps: (examples, state, done, scalars, max_steps, min_active) -> (state, done,
        steps_taken, num_steps): a loop that ends after `max_steps` steps, or when at most
        `min_active` rows are not done; both are int32 []. Rows that are done keep their state.
        `steps_taken` is int32 [batch], `num_steps` int32 [].
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
        self.masked_steps = self._compile(self._masked_steps)
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

    def _masked_steps(
        self,
        examples: Examples,
        state: State,
        done: tf.Tensor,
        scalars,
        max_steps: tf.Tensor,
        min_active: tf.Tensor,
    ) -> tuple[State, tf.Tensor, tf.Tensor, tf.Tensor]:
        method = merge_scalars(self._static, scalars)

        def is_running(state, done, steps_taken, num_steps):
            num_active = tf.math.count_nonzero(~done, dtype=tf.int32)
            return (num_steps < max_steps) & (num_active > min_active)

        def run_step(state, done, steps_taken, num_steps):
            new_state = method.step(self._start_counter("step", examples), examples, state)
            new_state = _restore_shapes(select_rows(done, state, new_state), state)
            steps_taken += tf.cast(~done, tf.int32)
            return new_state, done | method.done(examples, new_state), steps_taken, num_steps + 1

        start = state, done, tf.zeros_like(examples.labels), tf.constant(0)
        return tf.while_loop(is_running, run_step, start, parallel_iterations=1)

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
            limits = tf.constant(_MAX_STEPS_PER_CALL), tf.constant(0)
            while not done.numpy().all():
                state, done, _, _ = self.masked_steps(examples, state, done, scalars, *limits)
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
            state, done, _, _ = self.masked_steps(
                examples, state, done, scalars, tf.constant(1), tf.constant(0)
            )
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


class DynamicBatch:
    """A batch whose finished rows are replaced by waiting examples, and that then shrinks.

    Its state can be stored between two calls of the program, and a batch that is given this state
    gives the same results as the one that was interrupted.
    """

    def __init__(
        self,
        program: Program,
        scalars: dict[str, Any],
        method: Method,
        examples: ExampleBatch,
        *,
        sizes: BatchSizes,
        key: str = "",
        repeat: int = 0,
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
          sizes: Chooses the number of rows; if there are fewer examples, the batch is padded.
          key: The name of the program in `sizes`.
          repeat: See `Examples.repeat`.
          progress: What an earlier call has finished, and its batch; None for nothing.
          on_progress: Called with the number of examples that are finished.
          on_share: Called after each call with the share of the work that is done, an estimate.
        """
        self._program, self._scalars, self._method = program, scalars, method
        self._inputs, self._on_progress, self._on_share = examples, on_progress, on_share
        self._sizes, self._key = sizes, key
        self._progress = progress or StageProgress.start(examples.images)
        self._repeat = tf.constant(repeat, tf.int32)
        self._queue = np.flatnonzero((examples.epsilon != 0) & ~self._progress.finished)
        # The numbers of steps of the calls of a batch if they are the same for all rows, and how
        # many of these calls the current batch has made.
        num_steps = method.count_fixed_steps()
        self._fixed_calls = None if num_steps is None else split_steps(num_steps)
        self._num_calls = 0
        self._max_steps_per_call = 1
        self._num_finished = 0
        self._start_batch(0)
        self._restore(self._progress.batch)

    def run(self) -> AttackOutputs:
        """Attacks all examples; returns the outputs in their order."""
        waits = len(self._queue) + int((self._row_indices >= 0).sum())
        if waits < len(self._inputs.labels):
            self._on_progress(len(self._inputs.labels) - waits)
        is_running = True
        while is_running:
            # A signal takes effect between two steps, when the batch can be stored.
            with SignalGuard() as guard:
                is_running = self._refill()
                if is_running and not self._done.all():
                    if self._fixed_calls is None:
                        self._take_steps()
                    else:
                        self._state = self._program.step(
                            self._examples,
                            self._state,
                            self._scalars,
                            self._fixed_calls[self._num_calls],
                        )
                        self._count_fixed_call()
                if self._state is not None:
                    self._progress.save(self._capture, guard.signal_received is not None)
            self._report()
        self._progress.batch = {"sizes": np.array(self._sizes.dump())}
        return self._progress.outputs

    def _count_fixed_call(self) -> None:
        self._steps_taken += self._fixed_calls[self._num_calls]
        self._num_calls += 1
        self._done[:] = self._num_calls == len(self._fixed_calls)

    def _take_steps(self) -> None:
        """Takes steps until rows are to be replaced or moved, or until the call takes long."""
        max_steps, min_active = self._plan_steps()
        num_active = self._count_active()
        start = time.monotonic()
        self._state, done, steps_taken, num_steps = self._program.masked_steps(
            self._examples,
            self._state,
            tf.constant(self._done),
            self._scalars,
            tf.constant(max_steps),
            tf.constant(min_active),
        )
        self._steps_taken += steps_taken.numpy()
        self._done = done.numpy().copy()
        if not len(self._queue):
            self._sizes.record(self._key, len(self._done), num_active, int(num_steps))
        seconds = time.monotonic() - start
        if seconds < _SECONDS_PER_CALL / 2:
            self._max_steps_per_call = min(2 * self._max_steps_per_call, _MAX_STEPS_PER_CALL)
        elif seconds > _SECONDS_PER_CALL:
            self._max_steps_per_call = max(1, self._max_steps_per_call // 2)

    def _plan_steps(self) -> tuple[int, int]:
        """Moves the rows into a smaller batch if it is time; returns when the next call ends.

        Returns:
          (max_steps, min_active), see `Program`.
        """
        if len(self._queue):
            return self._max_steps_per_call, len(self._done) - self._min_idle_rows
        num_active = self._count_active()
        size, max_steps = self._sizes.plan(self._key, len(self._done), num_active, self._method.xla)
        if size < len(self._done):
            self._shrink(size)
        if max_steps is None:
            max_steps = self._max_steps_per_call
        return min(max_steps, self._max_steps_per_call), self._sizes.fewer(num_active)

    def _count_active(self) -> int:
        return int((~self._done).sum())

    def _shrink(self, size: int) -> None:
        """Moves the rows that are not done into a smaller batch."""
        self._collect_finished(self._done & (self._row_indices >= 0))
        rows = np.flatnonzero(~self._done)
        padded_rows = rows[np.minimum(np.arange(size), len(rows) - 1)]
        is_real = np.arange(size) < len(rows)
        self._row_indices = np.where(is_real, self._row_indices[padded_rows], -1)
        self._loaded = self._loaded[padded_rows]
        self._steps_taken = self._steps_taken[padded_rows]
        self._done = ~is_real
        self._state = {name: tf.gather(x, padded_rows) for name, x in self._state.items()}
        self._examples = self._take_examples(self._loaded)

    def _take_examples(self, indices: np.ndarray) -> Examples:
        return Examples(*map(tf.constant, self._inputs.take(indices)), self._repeat)

    def _report(self) -> None:
        """Reports the examples that have finished, and the share of the work that is done.

        Rows that run count by their steps.
        """
        if self._num_finished:
            self._on_progress(self._num_finished)
            self._num_finished = 0
        if self._on_share is None or self._state is None:
            return
        running = ~self._done & (self._row_indices >= 0)
        image_shape = self._inputs.images.shape[1:]
        shares = self._method.measure_progress(self._state, self._steps_taken, image_shape)
        count = len(self._inputs.labels)
        num_done = count - len(self._queue) - running.sum() + shares[running].sum()
        self._on_share(float(num_done) / count)

    def _start_batch(self, size: int) -> None:
        """Makes an empty batch of so many rows."""
        # Which example each row attacks, -1 for none; and which one it holds.
        self._row_indices = np.full(size, -1)
        self._loaded = np.zeros(size, np.int64)
        self._done = np.ones(size, bool)
        self._steps_taken = np.zeros(size, np.int64)
        self._state = None

    @property
    def _min_idle_rows(self) -> int:
        """The number of idle rows that a refill waits for, because it costs a call."""
        return max(1, len(self._done) // 4)

    def _refill(self) -> bool:
        """Collects finished rows and loads waiting examples into them.

        Returns:
          Whether any row holds an example.
        """
        idle = self._done | (self._row_indices < 0)
        if not idle.all() and (not len(self._queue) or idle.sum() < self._min_idle_rows):
            return True
        self._collect_finished(idle & (self._row_indices >= 0))
        self._row_indices[idle] = -1
        if len(self._queue):
            if idle.all():
                self._resize_empty_batch()
                idle = self._done
            new_rows = np.flatnonzero(idle)[: len(self._queue)]
            self._row_indices[new_rows] = self._queue[: new_rows.size]
            self._queue = self._queue[new_rows.size :]
            self._load_rows(new_rows)
        return bool((self._row_indices >= 0).any())

    def _resize_empty_batch(self) -> None:
        self._num_calls = 0
        count, num_steps = len(self._queue), 1
        if self._fixed_calls is not None:
            num_steps = sum(self._fixed_calls)
        elif count > _EFFICIENT_ROWS:
            # While rows wait, a small batch stays full.
            count = max(_EFFICIENT_ROWS, count // _MIN_BATCHES)
        size = self._sizes.choose(self._key, count, xla=self._method.xla, num_steps=num_steps)
        if size != len(self._done):
            self._start_batch(size)

    def _load_rows(self, new_rows: np.ndarray) -> None:
        """Computes the initial state of `new_rows`, int [k]. Empty rows copy another row."""
        size = len(self._done)
        self._loaded = np.where(self._row_indices >= 0, self._row_indices, self._row_indices.max())
        self._examples = self._take_examples(self._loaded)
        init_size = self._sizes.choose(f"{self._key} init", new_rows.size, xla=self._method.xla)
        is_new = np.zeros(size, bool)
        is_new[new_rows] = True
        if init_size == size:
            state, done = self._program.init(self._examples, self._scalars)
            done = done.numpy()[new_rows]
        else:
            sources = np.minimum(np.arange(init_size), new_rows.size - 1)
            examples = self._take_examples(self._loaded[new_rows[sources]])
            state, done = self._program.init(examples, self._scalars)
            done = done.numpy()[: new_rows.size]
            positions = np.zeros(size, np.int64)
            positions[new_rows] = np.arange(new_rows.size)
            state = {name: tf.gather(value, positions) for name, value in state.items()}
        if self._state is not None:
            state = select_rows(tf.constant(is_new), state, self._state)
        self._state = state
        self._done[new_rows] = done
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
        self._num_finished += len(indices)

    def _capture(self) -> dict[str, np.ndarray]:
        """Returns the batch between two calls, for `_restore`."""
        arrays = {
            "sizes": np.array(self._sizes.dump()),
            "queue": self._queue,
            "row_indices": self._row_indices,
            "loaded": self._loaded,
            "done": self._done,
            "steps_taken": self._steps_taken,
            "num_calls": np.array(self._num_calls),
        }
        for name in ("init", "step"):
            counter = self._program.counters[name]
            arrays[f"calls/{name}"] = np.array([counter.forward_calls, counter.gradient_calls])
        return arrays | {f"state/{name}": value.numpy() for name, value in self._state.items()}

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continues from a batch that `_capture` has returned, or from what is left of it."""
        if "sizes" in arrays:
            self._sizes.load(str(arrays["sizes"]))
        if "row_indices" not in arrays:
            return
        self._queue, self._row_indices = arrays["queue"], arrays["row_indices"]
        self._loaded, self._done = arrays["loaded"], arrays["done"]
        self._steps_taken, self._num_calls = arrays["steps_taken"], int(arrays["num_calls"])
        # The calls are counted while a program is traced, which may not happen again.
        for name in ("init", "step"):
            counter = self._program.counters.setdefault(name, QueryCounter(None, 1))
            counter.forward_calls, counter.gradient_calls = map(float, arrays[f"calls/{name}"])
        self._examples = self._take_examples(self._loaded)
        self._state = {
            name.removeprefix("state/"): tf.constant(value)
            for name, value in arrays.items()
            if name.startswith("state/")
        }
