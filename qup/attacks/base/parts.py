"""An attack of one part or several, on examples that fit in memory."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qup.attacks.base import checks, engine, verdict
from qup.attacks.base import program as programs
from qup.attacks.base.engine import Ends, Given
from qup.attacks.base.method import Method
from qup.attacks.base.result import AttackResult
from qup.types import LogitsFn


class Classifiers(NamedTuple):
    """Who is attacked, and who decides.

    Attributes:
      attacked: The classifier that the attack sees, perhaps a faster copy.
      deciding: The classifier by which success counts.
    """

    attacked: LogitsFn
    deciding: LogitsFn


def numbered(method: Method) -> list[tuple[Method, int]]:
    """Returns the parts, each with the number of equal ones before it."""
    parts = method.parts()
    return [(part, parts[:i].count(part)) for i, part in enumerate(parts)]


def stages(method: Method) -> tuple[str, ...]:
    """Returns the names of the parts; of a single one, the method's own."""
    names = tuple(part.name for part in method.parts())
    return names if len(names) > 1 else (method.name,)


def attack(
    method: Method,
    classifiers: Classifiers,
    given: Given,
    *,
    batch_size: int,
    tick: Callable[[int], None] = lambda count: None,
    solved: np.ndarray | None = None,
) -> AttackResult:
    """Attacks examples with every part of a method.

    Of an attack with a budget, a part sees the examples that no part before
    it broke; of one of minimum norm, every part sees all, and the nearest
    adversarial image is kept.

    Args:
      method: The attack, checked.
      classifiers: Who is attacked, and who decides.
      given: The examples.
      batch_size: Rows a batch.
      tick: Called with the number of examples that a part has finished.
      solved: bool [n], examples to leave alone; None for none.

    Returns:
      The result; of a solved example, that of no attack.
    """
    count = len(given.labels)
    best = _Best(method, given)
    left = np.arange(count) if solved is None else np.flatnonzero(~solved)
    for number, (part, repeat) in enumerate(numbered(method)):
        if not left.size:
            break
        rows = given.rows(left)
        solver = _Solver(method, part, repeat, batch_size, tick)
        ends = solver.ends(classifiers.attacked, rows)
        judged = solver.judged(classifiers.deciding, rows, ends)
        best.offer(number, left, ends, judged)
        if classifiers.attacked is not classifiers.deciding:
            # Where only the faster copy was fooled, the attack goes on.
            claimed = solver.judged(classifiers.attacked, rows, ends)
            disputed = claimed.adversarial & ~judged.adversarial
            rows, again = rows.rows(disputed), left[disputed]
            ends = solver.ends(classifiers.deciding, rows)
            judged = solver.judged(classifiers.deciding, rows, ends)
            best.offer(number, again, ends, judged)
        if method.traits["kind"] == "budget":
            left = left[~best.success[left]]
    return best.result()


class _Solver(NamedTuple):
    """One part of a method, at work on one classifier or another."""

    method: Method
    part: Method
    repeat: int
    batch_size: int
    tick: Callable[[int], None]

    def ends(self, logits_fn: LogitsFn, rows: Given) -> Ends:
        """Attacks the rows; one without any budget stays where it is."""
        count = len(rows.labels)
        ends = Ends(rows.images.copy(), np.zeros(count), np.zeros(count))
        moving = np.flatnonzero(rows.epsilon != 0)
        if not moving.size:
            self.tick(count)
            return ends
        first = tf.constant(rows.images[: self.batch_size])
        answers = checks.answers(logits_fn, first)
        checks.check_labels(rows.labels, answers.num_classes)
        # A part may need fewer classes than the whole.
        programs.check_classes(self.method, answers)
        program, scalars = programs.compiled(logits_fn, self.part, answers)
        found = engine.solve(
            program, scalars, self.part, self.repeat, rows.rows(moving),
            self.batch_size, self.tick,
        )  # fmt: skip
        for column, values in zip(ends, found, strict=True):
            column[moving] = values
        return ends

    def judged(self, logits_fn: LogitsFn, rows: Given, ends: Ends):
        """Returns what a classifier says of the ends."""
        return verdict.judge(
            logits_fn, rows.images, ends.images, rows.labels,
            targeted=self.method.aimed, batch_size=self.batch_size,
        )  # fmt: skip


class _Best:
    """The best that the parts have found so far.

    Attributes:
      success: bool [n].
    """

    def __init__(self, method: Method, given: Given):
        count = len(given.labels)
        self._method, self._given = method, given
        self._images = given.images.copy()
        self._far = {norm: np.zeros(count) for norm in verdict.DISTANCES}
        self._stage = np.full(count, -1, np.int32)
        self._forward = np.zeros(count)
        self._gradient = np.zeros(count)
        self.success = np.zeros(count, bool)

    def offer(
        self, number: int, left: np.ndarray, ends: Ends, judged: verdict.Verdict
    ) -> None:
        """Keeps what a part found where it is better.

        Args:
          number: Of the part.
          left: Which examples the part saw.
          ends: Where it ended.
          judged: What the classifier says of it.
        """
        self._forward[left] += ends.forward_calls
        self._gradient[left] += ends.gradient_calls
        norm = self._method.measured
        good = judged.within(norm, self._given.epsilon[left])
        nearer = judged.distances[norm] < self._far[norm][left]
        better = good & (~self.success[left] | nearer)
        rows = left[better]
        self._images[rows] = ends.images[better]
        self._stage[rows] = number
        self.success[rows] = True
        for key, values in self._far.items():
            values[rows] = judged.distances[key][better]

    def result(self) -> AttackResult:
        """Returns everything found."""
        return AttackResult(
            images=self._images,
            success=self.success,
            distances=self._far,
            forward_calls=self._forward,
            gradient_calls=self._gradient,
            stage=self._stage,
            stages=stages(self._method),
            epsilon=self._given.epsilon,
        )
