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
    def _count_calls(self, stage: str, examples: Examples) -> Iterator[victims.QueryCounter]:
        classifier = victims.QueryCounter(self._logits_fn, examples.images.shape[0])
        yield classifier
        self.calls[stage] = CallCounts(classifier.forward_calls, classifier.gradient_calls)

    def _init(self, examples: Examples, scalars) -> tuple[State, tf.Tensor]:
        method = options.merge_scalars(self._static, scalars)
        with self._count_calls("init", examples) as classifier:
            state = method.init(classifier, examples)
        return state, method.done(examples, state)

    def _step(self, examples: Examples, state: State, scalars) -> State:
        method = options.merge_scalars(self._static, scalars)
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
        method = options.merge_scalars(self._static, scalars)
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
        return options.merge_scalars(self._static, scalars).images(examples, state)

    def _conjugate(self, examples: Examples, state: State, scalars) -> tf.Tensor:
        method = options.merge_scalars(self._static, scalars)
        with self._count_calls("conjugate", examples) as classifier:
            return method.conjugate(classifier, examples, state)


def select_rows(mask: tf.Tensor, first: State, second: State) -> State:
    """Takes the rows of `first` where `mask`, else those of `second`."""
    # This `where` takes whole rows: at 32x32x3 three to five times faster
    # than one that broadcasts the mask.
    return {name: tf.compat.v1.where(mask, value, second[name]) for name, value in first.items()}


def check_enough_classes(method: Method, classifier_info: checks.ClassifierInfo) -> None:
    """Raises an InputError if the attack needs more classes than there are."""
    min_classes = method.min_classes
    if classifier_info.num_classes < min_classes:
        raise errors.InputError(
            f"{method.name} needs at least {min_classes} classes; the classifier "
            f"has {classifier_info.num_classes}. Attack it with apgd_ce, deepfool, "
            "carlini_wagner, or pgd on another loss than dlr."
        )


def compile_attack(
    logits_fn: LogitsFn, method: Method, classifier_info: checks.ClassifierInfo
) -> tuple[Program, dict[str, Any]]:
    """Returns the program of a method for a classifier, and its scalars.

    The program is made once for a classifier and the method's options that
    are no scalars.

    Raises:
      InputError: The attack needs more classes than the classifier has.
    """
    check_enough_classes(method, classifier_info)
    static, scalars = options.split_scalars(method)
    program = compilation.get_program(
        logits_fn,
        ("attack", static, tuple(scalars)),
        lambda call: Program(checks.convert_to_logits(call, classifier_info.probabilities), static),
    )
    return program, scalars
