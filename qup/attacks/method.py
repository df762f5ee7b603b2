"""An attack with its options, taken apart into init, step and done.

Every row of a batch is an example on its own: it has its own budget, its
own counter of steps and its own random numbers. So rows that are done can
leave, others take their places, and nothing is compiled again.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, NewType, TypeAlias

import numpy as np
import tensorflow as tf

from qup.attacks import inputs
from qup.core import compilation, errors, gradients, norms, prng
from qup.core.types import Bounds, LogitsFn

# The classifier as an attack sees it: what it answers, and how often asked.
#
# One gradient is one forward and one backward pass, and counts as one
# gradient call; a Jacobian of k classes counts k.


class QueryCounter:
    """A classifier under attack.

    Calls are counted while a step is traced, for each example: a call on a
    batch of p times as many rows counts p.
    """

    def __init__(self, logits_fn: LogitsFn, batch_size: int):
        """Makes a victim.

        Args:
          logits_fn: Image to logits.
          batch_size: Number of examples a batch.
        """
        self._logits_fn = logits_fn
        self._batch_size = batch_size
        self.forward_calls = 0.0
        self.gradient_calls = 0.0

    def logits(self, images: tf.Tensor) -> tf.Tensor:
        """Returns logits, float32 [rows, classes]; one forward call."""
        self.forward_calls += images.shape[0] / self._batch_size
        return self._logits_fn(images)

    def gradient(
        self, objective: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Differentiates an objective of the logits by the images.

        Args:
          objective: logits float32 [rows, classes] -> float32 [rows].
          images: float32 [rows, ...].

        Returns:
          (logits, values, gradients), at `images`.

        Raises:
          InputError: The classifier has no gradient.
        """
        self.gradient_calls += images.shape[0] / self._batch_size
        logits, values, input_gradients = gradients.differentiate_logits(
            self._logits_fn, objective, images
        )
        if input_gradients is None:
            raise make_no_gradient_error()
        return logits, values, input_gradients

    def jacobian(
        self, images: tf.Tensor, classes: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Differentiates several logits by the images.

        Args:
          images: float32 [rows, ...].
          classes: int32 [rows, k], which logits of each row; None for all.

        Returns:
          (logits, jacobian): float32 [rows, num_classes] and
          float32 [rows, k, ...].

        Raises:
          InputError: The classifier has no gradient.
        """
        return self.gradients(
            images,
            lambda logits: logits if classes is None else tf.gather(logits, classes, batch_dims=1),
        )

    def gradients(
        self, images: tf.Tensor, objectives: Callable[[tf.Tensor], tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Differentiates several objectives of the logits by the images.

        Args:
          images: float32 [rows, ...].
          objectives: logits -> float32 [rows, k].

        Returns:
          (logits, slopes): float32 [rows, num_classes] and
          float32 [rows, k, ...]; k gradient calls.

        Raises:
          InputError: The classifier has no gradient.
        """
        logits, input_gradients = gradients.compute_class_jacobian(
            self._logits_fn, objectives, images
        )
        if input_gradients is None:
            raise make_no_gradient_error()
        self.gradient_calls += input_gradients.shape[1] * images.shape[0] / self._batch_size
        return logits, input_gradients


def make_no_gradient_error() -> errors.InputError:
    """Returns the error for a classifier that cannot be differentiated."""
    return errors.InputError(
        "The classifier gives no gradient by its input: something in it is "
        "not differentiable (NumPy code, a cast to integers, rounding). "
        "Attack it with square, one_pixel or spsa, which need none."
    )


def adversarial(logits: tf.Tensor, labels: tf.Tensor, targeted: bool) -> tf.Tensor:
    """Marks the rows whose attack has succeeded.

    Args:
      logits: float32 [batch, classes].
      labels: int32 [batch], true classes or targets.
      targeted: Success is the target's class, not any but the true one.

    Returns:
      bool [batch]; False where the logits hold NaN, which are no class.
    """
    is_label = tf.argmax(logits, -1, tf.int32) == labels
    return has_no_nan(logits) & (is_label if targeted else ~is_label)


def has_no_nan(logits: tf.Tensor) -> tf.Tensor:
    """Marks the rows without NaN: bool [batch]."""
    return ~tf.reduce_any(tf.math.is_nan(logits), -1)


# What an attack remembers of each example: tensors [batch, ...] by name.
State: TypeAlias = dict[str, tf.Tensor]
# An int that reaches the compiled step as a tensor, as every float does, so
# that a sweep over it compiles nothing again.
Count = NewType("Count", int)


class Examples(NamedTuple):
    """What an attack is given, one row an example.

    Attributes:
      images: float32 [batch, ...], inside the bounds.
      labels: int32 [batch], the true classes, or the targets where the
        attack is targeted.
      ids: int64 [batch], the images' own numbers.
      epsilon: float32 [batch], the budgets; NaN for an attack without one.
      repeat: int32 [], how many equal parts of the attack went before.
    """

    images: tf.Tensor
    labels: tf.Tensor
    ids: tf.Tensor
    epsilon: tf.Tensor
    repeat: tf.Tensor

    def budget(self) -> tf.Tensor:
        """Returns the budgets as float32 [batch, 1, ...]."""
        return norms.expand_like(self.epsilon, self.images)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """An attack with its options.

    A subclass adds its options as fields. Inside `init`, `step`, `done` and
    `images`, which are compiled, a field annotated `float` or `Count` is a
    scalar tensor (or None, where None was given); every other field is the
    Python value, and another value compiles another program.

    Attributes:
      bounds: (lowest, highest) pixel; None leaves pixels unclipped.
      seed: Drives every random number.
      xla: "auto", "on" or "off".
    """

    bounds: Bounds = (0.0, 1.0)
    seed: Count = 0
    xla: str = "auto"

    # Set by attacks.register.
    name: ClassVar[str] = ""
    traits: ClassVar[Mapping[str, Any]] = {}
    # Whether a step is so little more than a gradient that the call that
    # takes it counts: then several are taken in one where few rows leave.
    cheap_step: ClassVar[bool] = False

    def check(self) -> None:
        """Raises an InputError for an option out of its range."""

    def stages(self) -> tuple["Method", ...]:
        """Returns the attacks that one after the other make this one.

        Each runs where those before it failed (an attack of minimum norm:
        everywhere, and the nearest is kept). Equal parts differ by
        `examples.part`: restarts, or the targets in turn.
        """
        return (self,)

    def count_fixed_steps(self) -> int | None:
        """Returns the number of steps where all rows take the same.

        None where a row may be done before the others.
        """
        return None

    def init(self, classifier: QueryCounter, examples: Examples) -> State:
        """Returns the state before the first step."""
        raise NotImplementedError

    def step(self, classifier: QueryCounter, examples: Examples, state: State) -> State:
        """Returns the state after one more step of every row."""
        raise NotImplementedError

    def done(self, examples: Examples, state: State) -> tf.Tensor:
        """Marks the rows that need no further step: bool [batch]."""
        raise NotImplementedError

    def images(self, examples: Examples, state: State) -> tf.Tensor:
        """Returns the attacked images: float32 [batch, ...]."""
        return state["images"]

    def conjugate(self, classifier: QueryCounter, examples: Examples, state: State) -> tf.Tensor:
        """Returns the field by which the step from `state` moves.

        The paper's "possible effective conjugate" (Table 4): float32
        [batch, ...].

        Raises:
          InputError: None is known.
        """
        raise errors.InputError(
            f"No conjugate of {self.name} is known: the paper lists those of "
            "six attacks (Table 4) and says that it cannot give those of the "
            "black-box ones. Look at the perturbation instead, images less "
            "clean images."
        )

    @property
    def width(self) -> float:
        """Width of the box, the unit of options that are shares of it."""
        return get_box_width(self.bounds)

    @property
    def is_targeted(self) -> bool:
        """Whether success is the class of the label, not any other."""
        return bool(getattr(self, "targeted", False))

    @property
    def budget(self) -> Any:
        """The epsilon; None where the attack has or was given none."""
        return getattr(self, "epsilon", None)

    @property
    def distance_norm(self) -> str:
        """The norm by which the attack counts: "linf", "l2", "l1", "l0"."""
        return getattr(self, "norm", self.traits["norms"][0])

    @property
    def min_classes(self) -> int:
        """The fewest classes that the attack can do with."""
        min_classes = self.traits.get("classes", 2)
        # The ratio is one by the third logit.
        return max(min_classes, 3) if getattr(self, "loss", "") == "dlr" else min_classes

    def keys(self, examples: Examples, *counters) -> tf.Tensor:
        """Returns the rows' keys for `draws`: uint64 [batch].

        Args:
          examples: Gives ids and part.
          *counters: Integers, scalar or [batch], such as the step.
        """
        return prng.make_keys(self.seed, examples.ids, examples.repeat, *counters)


def clip(images: tf.Tensor, bounds: Bounds) -> tf.Tensor:
    """Returns `images` within `bounds`; unchanged where that is None."""
    return images if bounds is None else tf.clip_by_value(images, *bounds)


def get_box_width(bounds: Bounds) -> float:
    """Returns the width of the box, 1 where there is none."""
    return 1.0 if bounds is None else bounds[1] - bounds[0]


# Options of a method: checked, and divided into static ones and scalars.


def validate_method(method: Method) -> Method:
    """Returns the method with its bounds as a tuple, its options checked.

    Raises:
      InputError: An option out of its range.
    """
    method = dataclasses.replace(method, bounds=inputs.validate_bounds(method.bounds))
    compilation.use_xla(method.xla)
    norm = getattr(method, "norm", None)
    if norm is not None:
        norms.check_norm(norm, method.traits["norms"])
    if hasattr(method, "epsilon") and method.epsilon is not None:
        inputs.check_number("epsilon", method.epsilon, least=0)
    for field in dataclasses.fields(method):
        _check_field_type(field, getattr(method, field.name))
    method.check()
    return method


def _check_field_type(field: dataclasses.Field, value: Any) -> None:
    """Raises an InputError unless a value is what its field is for."""
    if value is None and field.type in (int | None, Count | None):
        return
    if field.type in (int, int | None):
        inputs.check_integer(field.name, value)
    elif field.type in (Count, Count | None):
        least = None if field.name == "seed" else 1
        inputs.check_integer(field.name, value, least=least)
    elif field.type is bool and not isinstance(value, bool | np.bool_):
        raise errors.InputError(f"{field.name} must be True or False; got {value!r}.")


def split_scalars(method: Method) -> tuple[Method, dict[str, Any]]:
    """Separates what is compiled in from what is passed at every call.

    Returns:
      (static, scalars): the method with None for each scalar, and the
      scalars' values. `merge_scalars` puts them together again.
    """
    scalars = {
        field.name: (tf.int32 if field.type is Count else tf.float32)
        for field in dataclasses.fields(method)
        if field.type in (Count, float, float | None)
        and field.name != "epsilon"
        and getattr(method, field.name) is not None
    }
    values = {name: tf.cast(getattr(method, name), dtype) for name, dtype in scalars.items()}
    blanks = {name: None for name in scalars}
    if hasattr(method, "epsilon"):
        blanks["epsilon"] = None
    return dataclasses.replace(method, **blanks), values


def merge_scalars(static: Method, scalars: Mapping[str, tf.Tensor]) -> Method:
    """Returns the method with its scalars as the tensors given."""
    return dataclasses.replace(static, **scalars)


# A compiled step, repeated.


def compile_repeated_step(step: Callable, xla: str) -> Callable:
    """Compiles `step` and returns the function that repeats it.

    XLA compiles the loop as a whole. Without XLA the step is compiled and
    the loop is Python's: TensorFlow's own runs a small network's steps 10
    to 15 % slower on a CPU, because it does not optimise a loop's body.

    Args:
      step: step(images, *rest) -> images, of tensors.
      xla: "auto", "on" or "off".

    Returns:
      run(images, num_steps, *rest) -> images.
    """
    compiled_step = tf.function(step, autograph=False, reduce_retracing=True)

    def run_in_graph(images, num_steps, *rest):
        _, result = tf.while_loop(
            lambda i, _: i < num_steps,
            lambda i, current: (i + 1, compiled_step(current, *rest)),
            (tf.constant(0), images),
            shape_invariants=(tf.TensorShape([]), images.shape),
            parallel_iterations=1,
        )
        return result

    if compilation.use_xla(xla):
        return tf.function(run_in_graph, autograph=False, jit_compile=True, reduce_retracing=True)

    def run(images, num_steps, *rest):
        if not tf.executing_eagerly():
            return run_in_graph(images, num_steps, *rest)
        for _ in range(int(num_steps)):
            images = compiled_step(images, *rest)
        return images

    return run
