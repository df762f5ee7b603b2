"""An attack with its options, taken apart into init, step and done.

Every row of a batch is an example on its own: it has its own budget, its
own counter of steps and its own random numbers. So rows that are done can
leave, others take their places, and nothing is compiled again.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, NewType, TypeAlias

import tensorflow as tf

from qup import draws, errors, norms
from qup.attacks.base.victim import QueryCounter
from qup.types import Bounds

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
        return draws.make_keys(self.seed, examples.ids, examples.repeat, *counters)


def clip(images: tf.Tensor, bounds: Bounds) -> tf.Tensor:
    """Returns `images` within `bounds`; unchanged where that is None."""
    return images if bounds is None else tf.clip_by_value(images, *bounds)


def get_box_width(bounds: Bounds) -> float:
    """Returns the width of the box, 1 where there is none."""
    return 1.0 if bounds is None else bounds[1] - bounds[0]
