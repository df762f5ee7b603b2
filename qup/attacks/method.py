"""The parts of an attack: options, init, step, done, and the classifier with its call counts.

Each row of a batch is one example, with its own budget, step counter and random numbers. So
finished rows can leave the batch and others take their places without another compilation.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, NewType, TypeAlias

import numpy as np
import tensorflow as tf

from qup.attacks import inputs
from qup.core import compilation, errors, gradients, norms, prng
from qup.core.types import Bounds, LogitsFn

# The state of an attack: tensors [batch, ...] by name.
State: TypeAlias = dict[str, tf.Tensor]
# An int option that reaches the compiled step as a tensor, as every float option does. So other
# values need no other compilation.
Count = NewType("Count", int)


class QueryCounter:
    """The attacked classifier; counts its calls.

    A gradient call is one forward and one backward pass; a Jacobian of k classes counts k. Calls
    are counted per example while a step is traced: a call on p times as many rows counts p.

    Attributes:
      forward_calls: Number of forward calls per example.
      gradient_calls: Number of gradient calls per example.
    """

    def __init__(self, logits_fn: LogitsFn, batch_size: int):
        """Starts at zero calls.

        Args:
          logits_fn: Image to logits.
          batch_size: Number of examples per batch.
        """
        self._logits_fn = logits_fn
        self._batch_size = batch_size
        self.forward_calls = 0.0
        self.gradient_calls = 0.0

    def logits(self, images: tf.Tensor) -> tf.Tensor:
        """Returns logits, float32 [rows, classes]. Counts one forward call."""
        self.forward_calls += images.shape[0] / self._batch_size
        return self._logits_fn(images)

    def gradient(
        self, objective: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Differentiates an objective of the logits with respect to the images.

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
        """Differentiates several logits with respect to the images.

        Args:
          images: float32 [rows, ...].
          classes: int32 [rows, k], the classes per row; None for all.

        Returns:
          (logits, jacobian): float32 [rows, num_classes] and float32 [rows, k, ...].

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
        """Differentiates several objectives of the logits with respect to the images.

        Args:
          images: float32 [rows, ...].
          objectives: logits -> float32 [rows, k].

        Returns:
          (logits, gradients): float32 [rows, num_classes] and float32 [rows, k, ...]. Counts k
          gradient calls.

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
        "The classifier has no gradient with respect to its input: a part of it is not "
        "differentiable (NumPy code, a cast to integers, rounding). Use square, one_pixel or spsa, "
        "which need no gradient."
    )


def adversarial(logits: tf.Tensor, labels: tf.Tensor, targeted: bool) -> tf.Tensor:
    """Returns whether the attack has succeeded: bool [batch], False if the logits hold NaN.

    Args:
      logits: float32 [batch, classes].
      labels: int32 [batch], true classes or targets.
      targeted: Success means the class of the label, not any other class.
    """
    is_label = tf.argmax(logits, -1, tf.int32) == labels
    return has_no_nan(logits) & (is_label if targeted else ~is_label)


def has_no_nan(logits: tf.Tensor) -> tf.Tensor:
    """Returns bool [batch]: whether a row is free of NaN."""
    return ~tf.reduce_any(tf.math.is_nan(logits), -1)


class Examples(NamedTuple):
    """The inputs of an attack, one row per example.

    Attributes:
      images: float32 [batch, ...], inside the bounds.
      labels: int32 [batch], the true classes, or the targets of a targeted attack.
      ids: int64 [batch], the identities of the images.
      epsilon: float32 [batch], the budgets; NaN for an attack without one.
      repeat: int32 [], the number of equal stages before this one.
    """

    images: tf.Tensor
    labels: tf.Tensor
    ids: tf.Tensor
    epsilon: tf.Tensor
    repeat: tf.Tensor

    def budget(self) -> tf.Tensor:
        """Returns the budgets as float32 [batch, 1, ...]."""
        return norms.expand_like(self.epsilon, self.images)


class AttackOutputs(NamedTuple):
    """The end of an attack, one row per example.

    Attributes:
      images: float32 [n, ...].
      forward_calls: float64 [n].
      gradient_calls: float64 [n].
    """

    images: np.ndarray
    forward_calls: np.ndarray
    gradient_calls: np.ndarray


@dataclasses.dataclass
class StageProgress:
    """The finished part of one stage of an attack, so that an interrupted one resumes.

    Attributes:
      outputs: The outputs of all examples; those of unfinished ones are the inputs.
      finished: bool [n].
      batch: What the engine needs to continue with the batch that ran, see
        `engine.DynamicBatch`; empty at the start.
      save: Called after every call of a program as save(capture, is_urgent): `capture` returns the
        current `batch`, and with `is_urgent` it is the last chance to store it.
    """

    outputs: AttackOutputs
    finished: np.ndarray
    batch: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    save: Callable[[Callable[[], Mapping[str, np.ndarray]], bool], None] = (
        lambda capture, is_urgent: None
    )

    @classmethod
    def start(cls, images: np.ndarray) -> "StageProgress":
        """Returns the progress of a stage in which no example has finished."""
        count = len(images)
        outputs = AttackOutputs(images.copy(), np.zeros(count), np.zeros(count))
        return cls(outputs, np.zeros(count, bool))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """An attack with its options.

    A subclass adds its options as fields. `init`, `step`, `done` and `images` are compiled. Inside
    them a field annotated `float` or `Count` is a scalar tensor (or None, if the option is None).
    Every other field is its Python value, and another value needs another compilation.

    Attributes:
      bounds: (lowest, highest) pixel; None leaves pixels unclipped.
      seed: Seed of all random numbers.
      xla: "auto", "on" or "off".
    """

    bounds: Bounds = (0.0, 1.0)
    seed: Count = 0
    xla: str = "auto"

    # Set by attacks.register.
    name: ClassVar[str] = ""
    traits: ClassVar[Mapping[str, Any]] = {}

    def check(self) -> None:
        """Raises an InputError for an option out of its range."""

    def for_classes(self, num_classes: int) -> "Method":
        """Returns the attack for a classifier of so many classes; mostly itself."""
        del num_classes
        return self

    def stages(self) -> tuple["Method", ...]:
        """Returns the attacks that this one runs in sequence.

        Each runs on the examples for which those before it failed (in a minimum-norm attack on
        all, and the closest image counts). Equal stages, such as restarts or the targets in turn,
        differ by `examples.repeat`.
        """
        return (self,)

    def count_fixed_steps(self) -> int | None:
        """Returns the number of steps if it is the same for all rows, else None."""
        return None

    def count_max_steps(self, image_shape: Sequence[int]) -> int | None:
        """Returns the largest number of steps of a row, or None if it is unknown.

        It is `num_steps` if the attack has this option and does not say otherwise. Estimates of
        time and progress use it; a wrong number changes no result.
        """
        del image_shape
        return self.count_fixed_steps() or getattr(self, "num_steps", None)

    def measure_progress(
        self, state: State, steps_taken: np.ndarray, image_shape: Sequence[int]
    ) -> np.ndarray:
        """Returns the share of its work that each row has done, float64 [batch], 0 to 1.

        Args:
          state: The current state.
          steps_taken: int64 [batch].
          image_shape: (height, width, channels).
        """
        del state
        max_steps = self.count_max_steps(image_shape)
        return np.minimum(steps_taken / max_steps, 1.0) if max_steps else 0.0 * steps_taken

    def init(self, classifier: QueryCounter, examples: Examples) -> State:
        """Returns the state before the first step."""
        raise NotImplementedError

    def step(self, classifier: QueryCounter, examples: Examples, state: State) -> State:
        """Returns the state after one more step of every row."""
        raise NotImplementedError

    def done(self, examples: Examples, state: State) -> tf.Tensor:
        """Returns bool [batch]: whether a row needs no further step."""
        raise NotImplementedError

    def images(self, examples: Examples, state: State) -> tf.Tensor:
        """Returns the attacked images: float32 [batch, ...]."""
        return state["images"]

    def conjugate(self, classifier: QueryCounter, examples: Examples, state: State) -> tf.Tensor:
        """Returns the field by which the step from `state` changes the image.

        It is the paper's "possible effective conjugate" (Table 4): float32 [batch, ...].

        Raises:
          InputError: No conjugate is known.
        """
        raise errors.InputError(
            f"No conjugate of {self.name} is known: the paper lists those of six attacks (Table 4) "
            "and gives none for black-box attacks. Use the perturbation instead: images minus "
            "clean images."
        )

    @property
    def width(self) -> float:
        """Width of the box, the unit of relative options."""
        return get_box_width(self.bounds)

    @property
    def is_targeted(self) -> bool:
        """Whether success means the class of the label, not any other class."""
        return bool(getattr(self, "targeted", False))

    @property
    def budget(self) -> Any:
        """The epsilon; None without one."""
        return getattr(self, "epsilon", None)

    @property
    def distance_norm(self) -> str:
        """The norm of the attack's distances: "linf", "l2", "l1" or "l0"."""
        return getattr(self, "norm", self.traits["norms"][0])

    @property
    def needs_gradients(self) -> bool:
        """Whether the attack differentiates the classifier."""
        return bool(self.traits.get("gradients"))

    @property
    def uses_cross_entropy(self) -> bool:
        """Whether the gradient is that of the cross-entropy, which may vanish in float32."""
        return getattr(self, "loss", "") == "cross_entropy"

    @property
    def is_minimum_norm(self) -> bool:
        """Whether the attack searches for the closest adversarial image."""
        # Not by its name, which is that of an attack as well: the fingerprint of a step counts the
        # attacks that its code names.
        return self.traits.get("kind", "budget") != "budget"

    @property
    def stops_early(self) -> bool:
        """Whether a success at a small budget is also the result at a larger one."""
        return getattr(self, "keep", "") != "last"

    @property
    def min_classes(self) -> int:
        """The fewest classes that the attack needs."""
        min_classes = self.traits.get("classes", 2)
        # The denominator of the ratio contains the third largest logit.
        return max(min_classes, 3) if getattr(self, "loss", "") == "dlr" else min_classes

    def keys(self, examples: Examples, *counters) -> tf.Tensor:
        """Returns one key per row for the functions of `prng`: uint64 [batch].

        Args:
          examples: Provides ids and repeat.
          *counters: Integers, scalar or [batch], such as the step.
        """
        return prng.make_keys(self.seed, examples.ids, examples.repeat, *counters)


def clip(images: tf.Tensor, bounds: Bounds) -> tf.Tensor:
    """Returns `images` clipped to `bounds`; unchanged if None."""
    return images if bounds is None else tf.clip_by_value(images, *bounds)


def get_box_width(bounds: Bounds) -> float:
    """Returns the width of the box; 1 without bounds."""
    return 1.0 if bounds is None else bounds[1] - bounds[0]


def create_method(method_class: type[Method], options: Mapping[str, Any]) -> Method:
    """Returns a method with the options, which it checks.

    Raises:
      InputError: An option that is unknown, missing or out of its range.
    """
    fields = {field.name: field for field in dataclasses.fields(method_class)}
    for option in options:
        if option not in fields:
            raise errors.make_unknown_error(f"option of {method_class.name}", option, fields)
    for name, field in fields.items():
        if field.default is dataclasses.MISSING and name not in options:
            raise errors.InputError(
                f"{method_class.name} needs {name}=..., in the units of the pixels."
            )
    method = method_class(**options)
    method = dataclasses.replace(method, bounds=inputs.validate_bounds(method.bounds))
    compilation.use_xla(method.xla)
    norm = getattr(method, "norm", None)
    if norm is not None:
        norms.check_norm(norm, method.traits["norms"])
    if hasattr(method, "epsilon") and method.epsilon is not None:
        inputs.check_number("epsilon", method.epsilon, least=0)
    for field in fields.values():
        _check_field_type(field, getattr(method, field.name))
    method.check()
    return method


def _check_field_type(field: dataclasses.Field, value: Any) -> None:
    """Raises an InputError unless a value has the type of its field."""
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
    """Separates the compiled options from the scalars, which every call passes.

    Returns:
      (static, scalars): the method with None for each scalar, and the scalars. `merge_scalars` is
      the inverse.
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
    """Returns the method with the scalars as tensors."""
    return dataclasses.replace(static, **scalars)


def compile_repeated_step(step: Callable, xla: str) -> Callable:
    """Compiles `step` and returns a function that repeats it.

    XLA compiles the whole loop. Without XLA only the step is compiled and the loop runs in Python:
    the steps of a small network are 10 to 15 % slower in TensorFlow's loop on a CPU, because it
    does not optimise the body of a loop.

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
