"""A method compiled for one classifier: what the engine runs."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import tensorflow as tf

from qup import compilation, errors
from qup.attacks.base import checks, options
from qup.attacks.base import victim as victims
from qup.attacks.base.method import Examples, Method, State
from qup.types import LogitsFn

# Steps that one call takes where there are many: a call costs as much as the
# arithmetic of an attack on a small classifier.
STRIDE = 5
# The least number of steps of which so many are taken together.
_MANY = 20


class Calls(NamedTuple):
    """How often the classifier is asked for one example."""

    forward: float
    gradient: float


class Program:
    """The compiled stages of a method.

    Attributes:
      init: (examples, scalars) -> (state, done), before the first step.
      step: (examples, state, scalars) -> state, of every row.
      settle: (examples, state, done, scalars) -> (state, done), one step of
        the rows that are not done; the others stay as they are.
      settle_many: The same, `STRIDE` steps; and of how many of them each row
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
        self.calls: dict[str, Calls] = {}
        self._logits_fn = logits_fn
        self._static = static
        self.init = self._compiled(self._init)
        self.step = self._compiled(self._step)
        self._stride = self._compiled(self._strided)
        self.settle = self._compiled(self._settle)
        self.settle_many = self._compiled(self._settle_many)
        self.images = self._compiled(self._images)
        self.conjugate = self._compiled(self._conjugate)

    def _compiled(self, stage: Callable) -> Callable:
        return tf.function(
            stage,
            autograph=False,
            jit_compile=compilation.use_xla(self._static.xla),
            # A batch of another size is another program: sizes are counted.
            reduce_retracing=False,
        )

    @contextlib.contextmanager
    def _counting(
        self, stage: str, examples: Examples
    ) -> Iterator[victims.Victim]:
        victim = victims.Victim(self._logits_fn, examples.images.shape[0])
        yield victim
        self.calls[stage] = Calls(victim.forward_calls, victim.gradient_calls)

    def _init(self, examples: Examples, scalars) -> tuple[State, tf.Tensor]:
        method = options.joined(self._static, scalars)
        with self._counting("init", examples) as victim:
            state = method.init(victim, examples)
        return state, method.done(examples, state)

    def _step(self, examples: Examples, state: State, scalars) -> State:
        method = options.joined(self._static, scalars)
        with self._counting("step", examples) as victim:
            return method.step(victim, examples, state)

    def _strided(self, examples: Examples, state: State, scalars) -> State:
        for _ in range(STRIDE):
            state = self._step(examples, state, scalars)
        return state

    def advanced(
        self, examples: Examples, state: State, scalars, length: int
    ) -> State:
        """Returns the state after `length` steps of every row."""
        strides = length // STRIDE if length >= _MANY else 0
        for _ in range(strides):
            state = self._stride(examples, state, scalars)
        for _ in range(length - strides * STRIDE):
            state = self.step(examples, state, scalars)
        return state

    def _settle(
        self, examples: Examples, state: State, done: tf.Tensor, scalars
    ) -> tuple[State, tf.Tensor]:
        method = options.joined(self._static, scalars)
        new = merged(done, state, self._step(examples, state, scalars))
        return new, done | method.done(examples, new)

    def _settle_many(
        self, examples: Examples, state: State, done: tf.Tensor, scalars
    ) -> tuple[State, tf.Tensor, tf.Tensor]:
        taken = tf.zeros_like(examples.labels)
        for _ in range(STRIDE):
            taken += tf.cast(~done, tf.int32)
            state, done = self._settle(examples, state, done, scalars)
        return state, done, taken

    def _images(self, examples: Examples, state: State, scalars) -> tf.Tensor:
        return options.joined(self._static, scalars).images(examples, state)

    def _conjugate(
        self, examples: Examples, state: State, scalars
    ) -> tf.Tensor:
        method = options.joined(self._static, scalars)
        with self._counting("conjugate", examples) as victim:
            return method.conjugate(victim, examples, state)


def merged(mask: tf.Tensor, first: State, second: State) -> State:
    """Takes the rows of `first` where `mask`, else those of `second`."""
    # This `where` takes whole rows: at 32x32x3 three to five times faster
    # than one that broadcasts the mask.
    return {
        name: tf.compat.v1.where(mask, value, second[name])
        for name, value in first.items()
    }


def check_classes(method: Method, answers: checks.Answers) -> None:
    """Raises an InputError if the attack needs more classes than there are."""
    least = method.classes
    if answers.num_classes < least:
        raise errors.InputError(
            f"{method.name} needs at least {least} classes; the classifier "
            f"has {answers.num_classes}. Attack it with apgd_ce, deepfool, "
            "carlini_wagner, or pgd on another loss than dlr."
        )


def compiled(
    logits_fn: LogitsFn, method: Method, answers: checks.Answers
) -> tuple[Program, dict[str, Any]]:
    """Returns the program of a method for a classifier, and its scalars.

    The program is made once for a classifier and the method's options that
    are no scalars.

    Raises:
      InputError: The attack needs more classes than the classifier has.
    """
    check_classes(method, answers)
    static, scalars = options.divided(method)
    program = compilation.program(
        logits_fn,
        ("attack", static, tuple(scalars)),
        lambda call: Program(
            checks.logits_of(call, answers.probabilities), static
        ),
    )
    return program, scalars
