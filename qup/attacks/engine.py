"""Runs a compiled attack over any number of examples, in one batch shape.

Rows that are done leave the batch, others take their places. A row's result
depends on nothing but the row, so neither the order of the examples nor
their neighbours change it.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from qup.attacks import inputs
from qup.attacks import method as attacks_method
from qup.attacks.inputs import ExampleBatch
from qup.attacks.method import Examples, Method, State
from qup.core import compilation, errors
from qup.core.types import LogitsFn

# A method compiled for one classifier: what the engine runs.


# Steps that one call takes where there are many: a call costs as much as the
# arithmetic of an attack on a small classifier.
UNROLLED_STEPS = 5
# The least number of steps of which so many are taken together.
_MIN_STEPS_TO_UNROLL = 20


class CallCounts(NamedTuple):
    """How often the classifier is asked for one example."""

    forward: float
    gradient: float


class Program:
    """The compiled stages of a method.

    Attributes:
      init: (examples, scalars) -> (state, done), before the first step.
      step: (examples, state, scalars) -> state, of every row.
      masked_step: (examples, state, done, scalars) -> (state, done), one step of
        the rows that are not done; the others stay as they are.
      masked_steps: The same, `UNROLLED_STEPS` steps; and of how many of them each row
        was not done yet, int32 [batch].
      images: (examples, state, scalars) -> float32 [batch, ...].
      conjugate: (examples, state, scalars) -> float32 [batch, ...].
      calls: Calls an example of "init" and of "step", once they have run.
    """

    def __init__(self, logits_fn: LogitsFn, static: Method):
        """Prepares the stages; each is traced when first run.

        Args:
          logits_fn: Image to logits.
          static: The method without its scalars, see `options.divided`.
        """
        self.calls: dict[str, CallCounts] = {}
        self._logits_fn = logits_fn
        self._static = static
        self.init = self._compile(self._init)
        self.step = self._compile(self._step)
        self._unrolled_steps = self._compile(self._unroll_steps)
        self.masked_step = self._compile(self._masked_step)
        self.masked_steps = self._compile(self._masked_steps)
        self.images = self._compile(self._images)
        self.conjugate = self._compile(self._conjugate)

    def _compile(self, stage: Callable) -> Callable:
        return tf.function(
            stage,
            autograph=False,
            jit_compile=compilation.use_xla(self._static.xla),
            # A batch of another size is another program: sizes are counted.
            reduce_retracing=False,
        )

    @contextlib.contextmanager
    def _count_calls(self, stage: str, examples: Examples) -> Iterator[attacks_method.QueryCounter]:
        classifier = attacks_method.QueryCounter(self._logits_fn, examples.images.shape[0])
        yield classifier
        self.calls[stage] = CallCounts(classifier.forward_calls, classifier.gradient_calls)

    def _init(self, examples: Examples, scalars) -> tuple[State, tf.Tensor]:
        method = attacks_method.merge_scalars(self._static, scalars)
        with self._count_calls("init", examples) as classifier:
            state = method.init(classifier, examples)
        return state, method.done(examples, state)

    def _step(self, examples: Examples, state: State, scalars) -> State:
        method = attacks_method.merge_scalars(self._static, scalars)
        with self._count_calls("step", examples) as classifier:
            return method.step(classifier, examples, state)

    def _unroll_steps(self, examples: Examples, state: State, scalars) -> State:
        for _ in range(UNROLLED_STEPS):
            state = self._step(examples, state, scalars)
        return state

    def run_steps(self, examples: Examples, state: State, scalars, num_steps: int) -> State:
        """Returns the state after `num_steps` steps of every row."""
        num_unrolled = num_steps // UNROLLED_STEPS if num_steps >= _MIN_STEPS_TO_UNROLL else 0
        for _ in range(num_unrolled):
            state = self._unrolled_steps(examples, state, scalars)
        for _ in range(num_steps - num_unrolled * UNROLLED_STEPS):
            state = self.step(examples, state, scalars)
        return state

    def _masked_step(
        self, examples: Examples, state: State, done: tf.Tensor, scalars
    ) -> tuple[State, tf.Tensor]:
        method = attacks_method.merge_scalars(self._static, scalars)
        new_state = select_rows(done, state, self._step(examples, state, scalars))
        return new_state, done | method.done(examples, new_state)

    def _masked_steps(
        self, examples: Examples, state: State, done: tf.Tensor, scalars
    ) -> tuple[State, tf.Tensor, tf.Tensor]:
        steps_taken = tf.zeros_like(examples.labels)
        for _ in range(UNROLLED_STEPS):
            steps_taken += tf.cast(~done, tf.int32)
            state, done = self._masked_step(examples, state, done, scalars)
        return state, done, steps_taken

    def _images(self, examples: Examples, state: State, scalars) -> tf.Tensor:
        return attacks_method.merge_scalars(self._static, scalars).images(examples, state)

    def _conjugate(self, examples: Examples, state: State, scalars) -> tf.Tensor:
        method = attacks_method.merge_scalars(self._static, scalars)
        with self._count_calls("conjugate", examples) as classifier:
            return method.conjugate(classifier, examples, state)


def select_rows(mask: tf.Tensor, first: State, second: State) -> State:
    """Takes the rows of `first` where `mask`, else those of `second`."""
    # This `where` takes whole rows: at 32x32x3 three to five times faster
    # than one that broadcasts the mask.
    return {name: tf.compat.v1.where(mask, value, second[name]) for name, value in first.items()}


def check_enough_classes(method: Method, classifier_info: inputs.ClassifierInfo) -> None:
    """Raises an InputError if the attack needs more classes than there are."""
    min_classes = method.min_classes
    if classifier_info.num_classes < min_classes:
        raise errors.InputError(
            f"{method.name} needs at least {min_classes} classes; the classifier "
            f"has {classifier_info.num_classes}. Attack it with apgd_ce, deepfool, "
            "carlini_wagner, or pgd on another loss than dlr."
        )


def compile_attack(
    logits_fn: LogitsFn, method: Method, classifier_info: inputs.ClassifierInfo
) -> tuple[Program, dict[str, Any]]:
    """Returns the program of a method for a classifier, and its scalars.

    The program is made once for a classifier and the method's options that
    are no scalars.

    Raises:
      InputError: The attack needs more classes than the classifier has.
    """
    check_enough_classes(method, classifier_info)
    static, scalars = attacks_method.split_scalars(method)
    program = compilation.get_program(
        logits_fn,
        ("attack", static, tuple(scalars)),
        lambda call: Program(inputs.convert_to_logits(call, classifier_info.probabilities), static),
    )
    return program, scalars


# So many batches pay for compiling a stride beside a step.
_MIN_BATCHES_TO_UNROLL = 4


class AttackOutputs(NamedTuple):
    """Where an attack ended, one row an example.

    Attributes:
      images: float32 [n, ...].
      forward_calls: float64 [n].
      gradient_calls: float64 [n].
    """

    images: np.ndarray
    forward_calls: np.ndarray
    gradient_calls: np.ndarray


def run_program(
    program: Program,
    scalars: dict,
    method: Method,
    repeat: int,
    examples: ExampleBatch,
    batch_size: int,
    on_progress: Callable[[int], None] = lambda count: None,
) -> AttackOutputs:
    """Attacks every example, `batch_size` at a time.

    Args:
      program: The compiled attack.
      scalars: Its scalar options.
      method: Tells whether rows leave before others.
      repeat: See `Examples.part`.
      examples: The examples.
      batch_size: Rows a batch; a batch with fewer is padded.
      on_progress: Called with the number of examples that were finished.

    Returns:
      The ends, in the order of `examples`.
    """
    batch = _DynamicBatch(program, scalars, repeat, examples, batch_size, on_progress)
    num_steps = method.count_fixed_steps()
    if method.cheap_step and len(examples.labels) >= _MIN_BATCHES_TO_UNROLL * batch_size:
        batch.steps_per_call = UNROLLED_STEPS
    while batch.refill(1 if num_steps is not None else batch.min_idle_rows):
        batch.step(num_steps)
    return batch.outputs


class _DynamicBatch:
    """The batch under attack: which example sits in which row.

    Attributes:
      outputs: What is known of the finished examples.
      steps_per_call: Steps that one call may take where few rows leave.
      min_idle_rows: So many rows are idle before the batch is refilled.
    """

    def __init__(self, program, scalars, repeat, examples, batch_size, on_progress):
        self._program, self._scalars, self._on_progress = program, scalars, on_progress
        self._repeat = tf.constant(repeat, tf.int32)
        self._inputs = examples
        self._next_example, self._num_examples = 0, len(examples.labels)
        self._example_indices = np.full(batch_size, -1)
        self._done = np.ones(batch_size, bool)
        self._steps_taken = np.zeros(batch_size, np.int64)
        self._state = None
        self.steps_per_call = 1
        # Rows that left in the last step; as none was taken, all.
        self._finished_per_step = float(batch_size)
        self.min_idle_rows = max(1, batch_size // 4)
        self.outputs = AttackOutputs(
            np.empty_like(examples.images),
            np.zeros(self._num_examples),
            np.zeros(self._num_examples),
        )

    def refill(self, min_idle: int) -> bool:
        """Takes finished rows out and puts waiting ones in.

        Args:
          min_idle: Wait until so many rows are idle, or all are.

        Returns:
          Whether a row is left to attack.
        """
        idle = self._done | (self._example_indices < 0)
        waiting = self._next_example < self._num_examples
        if not idle.all() and (not waiting or idle.sum() < min_idle):
            return True
        self._collect_finished(idle & (self._example_indices >= 0))
        free_rows = np.flatnonzero(idle)[: self._num_examples - self._next_example]
        self._example_indices[idle] = -1
        if free_rows.size:
            self._example_indices[free_rows] = np.arange(
                self._next_example, self._next_example + free_rows.size
            )
            self._next_example += free_rows.size
            self._load_rows(np.isin(np.arange(len(idle)), free_rows))
        return bool((self._example_indices >= 0).any())

    def _load_rows(self, new_rows: np.ndarray) -> None:
        """Starts the rows of `new_rows`; empty rows copy one that is there."""
        row_indices = np.where(
            self._example_indices >= 0, self._example_indices, self._example_indices.max()
        )
        rows = self._inputs.take(row_indices)
        self._examples = Examples(*map(tf.constant, rows), self._repeat)
        state, done = self._program.init(self._examples, self._scalars)
        if self._state is not None:
            state = select_rows(tf.constant(new_rows), state, self._state)
        self._state = state
        self._done[new_rows] = done.numpy()[new_rows]
        self._done[self._example_indices < 0] = True
        self._steps_taken[new_rows] = 0

    def step(self, num_steps: int | None) -> None:
        """Takes a step or several, all where every row takes as many."""
        if num_steps is not None:
            self._state = self._program.run_steps(
                self._examples, self._state, self._scalars, num_steps
            )
            self._steps_taken += num_steps
            self._done[:] = True
            return
        if self._done.all():
            return
        arguments = (self._examples, self._state, tf.constant(self._done), self._scalars)
        num_done_before, num_steps_now = self._done.sum(), self._choose_num_steps()
        if num_steps_now > 1:
            self._state, done, steps_taken = self._program.masked_steps(*arguments)
            self._steps_taken += steps_taken.numpy()
        else:
            self._steps_taken += ~self._done
            self._state, done = self._program.masked_step(*arguments)
        self._done = done.numpy().copy()
        self._finished_per_step = float(self._done.sum() - num_done_before) / num_steps_now

    def _choose_num_steps(self) -> int:
        """Returns how many steps the next call takes.

        Several where on the way no more than half of the rows leave: those
        that wait for the end are about as many as wait for others to leave.
        """
        few_finish = self._finished_per_step * self.steps_per_call <= 2 * self.min_idle_rows
        return self.steps_per_call if few_finish else 1

    def _collect_finished(self, finished: np.ndarray) -> None:
        if not finished.any():
            return
        images = self._program.images(self._examples, self._state, self._scalars)
        indices = self._example_indices[finished]
        self.outputs.images[indices] = images.numpy()[finished]
        init = self._program.calls["init"]
        step = self._program.calls.get("step", CallCounts(0, 0))
        steps_taken = self._steps_taken[finished]
        self.outputs.forward_calls[indices] = init.forward + steps_taken * step.forward
        self.outputs.gradient_calls[indices] = init.gradient + steps_taken * step.gradient
        self._on_progress(len(indices))
