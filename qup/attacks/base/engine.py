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
_PAYING = 4


class Given(NamedTuple):
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

    def rows(self, index: np.ndarray) -> "Given":
        """Returns the rows at `index`."""
        return Given(*(column[index] for column in self))


class Ends(NamedTuple):
    """Where an attack ended, one row an example.

    Attributes:
      images: float32 [n, ...].
      forward_calls: float64 [n].
      gradient_calls: float64 [n].
    """

    images: np.ndarray
    forward_calls: np.ndarray
    gradient_calls: np.ndarray


def solve(
    program: Program,
    scalars: dict,
    method: Method,
    part: int,
    given: Given,
    batch_size: int,
    tick: Callable[[int], None] = lambda count: None,
) -> Ends:
    """Attacks every example, `batch_size` at a time.

    Args:
      program: The compiled attack.
      scalars: Its scalar options.
      method: Tells whether rows leave before others.
      part: See `Examples.part`.
      given: The examples.
      batch_size: Rows a batch; a batch with fewer is padded.
      tick: Called with the number of examples that were finished.

    Returns:
      The ends, in the order of `given`.
    """
    slots = _Slots(program, scalars, part, given, batch_size, tick)
    length = method.length()
    if method.brief and len(given.labels) >= _PAYING * batch_size:
        slots.together = programs.STRIDE
    while slots.refill(1 if length is not None else slots.quarter):
        slots.advance(length)
    return slots.ends


class _Slots:
    """The batch under attack: which example sits in which row.

    Attributes:
      ends: What is known of the finished examples.
      together: Steps that one call may take where few rows leave.
      quarter: So many rows are idle before the batch is refilled.
    """

    def __init__(self, program, scalars, part, given, batch_size, tick):
        self._program, self._scalars, self._tick = program, scalars, tick
        self._part = tf.constant(part, tf.int32)
        self._given = given
        self._next, self._count = 0, len(given.labels)
        self._row = np.full(batch_size, -1)
        self._done = np.ones(batch_size, bool)
        self._taken = np.zeros(batch_size, np.int64)
        self._state = None
        self.together = 1
        # Rows that left in the last step; as none was taken, all.
        self._leaving = float(batch_size)
        self.quarter = max(1, batch_size // 4)
        self.ends = Ends(
            np.empty_like(given.images),
            np.zeros(self._count),
            np.zeros(self._count),
        )

    def refill(self, least: int) -> bool:
        """Takes finished rows out and puts waiting ones in.

        Args:
          least: Wait until so many rows are idle, or all are.

        Returns:
          Whether a row is left to attack.
        """
        idle = self._done | (self._row < 0)
        waiting = self._next < self._count
        if not idle.all() and (not waiting or idle.sum() < least):
            return True
        self._harvest(idle & (self._row >= 0))
        free = np.flatnonzero(idle)[: self._count - self._next]
        self._row[idle] = -1
        if free.size:
            self._row[free] = np.arange(self._next, self._next + free.size)
            self._next += free.size
            self._begin(np.isin(np.arange(len(idle)), free))
        return bool((self._row >= 0).any())

    def _begin(self, fresh: np.ndarray) -> None:
        """Starts the rows of `fresh`; empty rows copy one that is there."""
        seats = np.where(self._row >= 0, self._row, self._row.max())
        rows = self._given.rows(seats)
        self._examples = Examples(*map(tf.constant, rows), self._part)
        state, done = self._program.init(self._examples, self._scalars)
        if self._state is not None:
            state = programs.merged(tf.constant(fresh), state, self._state)
        self._state = state
        self._done[fresh] = done.numpy()[fresh]
        self._done[self._row < 0] = True
        self._taken[fresh] = 0

    def advance(self, length: int | None) -> None:
        """Takes a step or several, all where every row takes as many."""
        if length is not None:
            self._state = self._program.advanced(
                self._examples, self._state, self._scalars, length
            )
            self._taken += length
            self._done[:] = True
            return
        if self._done.all():
            return
        given = (
            self._examples, self._state, tf.constant(self._done), self._scalars
        )  # fmt: skip
        before, steps = self._done.sum(), self._steps()
        if steps > 1:
            self._state, done, taken = self._program.settle_many(*given)
            self._taken += taken.numpy()
        else:
            self._taken += ~self._done
            self._state, done = self._program.settle(*given)
        self._done = done.numpy().copy()
        self._leaving = float(self._done.sum() - before) / steps

    def _steps(self) -> int:
        """Returns how many steps the next call takes.

        Several where on the way no more than half of the rows leave: those
        that wait for the end are about as many as wait for others to leave.
        """
        few = self._leaving * self.together <= 2 * self.quarter
        return self.together if few else 1

    def _harvest(self, finished: np.ndarray) -> None:
        if not finished.any():
            return
        images = self._program.images(
            self._examples, self._state, self._scalars
        )
        rows = self._row[finished]
        self.ends.images[rows] = images.numpy()[finished]
        init = self._program.calls["init"]
        step = self._program.calls.get("step", programs.Calls(0, 0))
        taken = self._taken[finished]
        self.ends.forward_calls[rows] = init.forward + taken * step.forward
        self.ends.gradient_calls[rows] = init.gradient + taken * step.gradient
        self._tick(len(rows))
