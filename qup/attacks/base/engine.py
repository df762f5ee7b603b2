"""Runs a compiled attack over any number of examples, in one batch shape.

Rows that are done leave the batch, others take their places. A row's result
depends on nothing but the row, so neither the order of the examples nor
their neighbours change it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qup.attacks.base import program as programs
from qup.attacks.base.method import Examples, Method
from qup.attacks.base.program import Program

# So many batches pay for compiling a stride beside a step.
_MIN_BATCHES_TO_UNROLL = 4


class ExampleBatch(NamedTuple):
    """Examples on the host, one row an example.

    Attributes:
      images: float32 [n, ...].
      labels: int32 [n].
      ids: int64 [n].
      epsilon: float32 [n].
    """

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    epsilon: np.ndarray

    def take(self, index: np.ndarray) -> "ExampleBatch":
        """Returns the rows at `index`."""
        return ExampleBatch(*(column[index] for column in self))


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
        batch.steps_per_call = programs.UNROLLED_STEPS
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
            state = programs.select_rows(tf.constant(new_rows), state, self._state)
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
        step = self._program.calls.get("step", programs.CallCounts(0, 0))
        steps_taken = self._steps_taken[finished]
        self.outputs.forward_calls[indices] = init.forward + steps_taken * step.forward
        self.outputs.gradient_calls[indices] = init.gradient + steps_taken * step.gradient
        self._on_progress(len(indices))
