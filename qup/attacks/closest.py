"""What DDN, FMN, sigma-zero and PDPGD share: one gradient per step, and the closest image so far.

Each step evaluates the current image with its gradient, keeps it if it is the closest adversarial
image so far, and moves. So K steps cost K gradients and judge K images, of which the first is the
clean image.
"""

import dataclasses
import math
from typing import NamedTuple

import tensorflow as tf

from qup.attacks import engine, inputs, losses, method
from qup.core import errors, norms

# Adam (Kingma and Ba 2015, arXiv 1412.6980).
_BETA_1, _BETA_2, _ADAM_EPSILON = 0.9, 0.999, 1e-8


class Visit(NamedTuple):
    """The current image of each row, evaluated.

    Attributes:
      success: bool [batch], whether it is adversarial.
      values: float32 [batch], the objective, which the attack increases.
      gradient: float32 [batch, ...], of the objective.
      delta: float32 [batch, ...], the perturbation.
      distance: float32 [batch], the norm of `delta`.
    """

    success: tf.Tensor
    values: tf.Tensor
    gradient: tf.Tensor
    delta: tf.Tensor
    distance: tf.Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClosestSearch(method.Method):
    """Moves along the decision boundary and returns the closest adversarial image of its path.

    A subclass has `init_variables` and `move`. Lengths among the options are in widths of the box.

    Attributes:
      targeted: The labels are targets.
      num_steps: Number of steps, each with one gradient.
    """

    targeted: bool = False
    num_steps: method.Count = 300

    @property
    def objective(self) -> str:
        """The name of the loss that the attack increases."""
        return "margin"

    def init_variables(self, examples: method.Examples) -> method.State:
        """Returns the entries of the state that the subclass adds."""
        raise NotImplementedError

    def move(
        self, examples: method.Examples, state: method.State, visit: Visit
    ) -> tuple[tf.Tensor, method.State]:
        """Returns the next images, which the caller clips to the box, and the subclass's entries.

        `state` contains the closest image that includes the visited one.
        """
        raise NotImplementedError

    def init(self, classifier, examples):
        """Starts at the image; one that is adversarial already is done, at distance 0."""
        logits = classifier.logits(examples.images)
        success = method.adversarial(logits, examples.labels, self.targeted)
        return self.init_variables(examples) | {
            "images": examples.images,
            "best": examples.images,
            "distance": tf.where(success, 0.0, float("inf")),
            "step": tf.zeros_like(examples.labels),
        }

    def step(self, classifier, examples, state):
        """Evaluates the image, keeps it if it is the closest so far, and moves."""
        images, labels = state["images"], examples.labels
        objective = losses.build_objective(self.objective, labels, self.targeted)
        logits, values, gradient = classifier.gradient(objective, images)
        delta = images - examples.images
        distance = norms.compute_norm(delta, self.distance_norm)
        success = method.adversarial(logits, labels, self.targeted)
        is_closer = success & (distance < state["distance"])
        closest = {"best": images, "distance": distance}
        state = state | engine.select_rows(is_closer, closest, state)
        visit = Visit(success, values, gradient, delta, distance)
        images, variables = self.move(examples, state, visit)
        return (
            state
            | variables
            | {"images": method.clip(images, self.bounds), "step": state["step"] + 1}
        )

    def done(self, examples, state):
        """After `num_steps`, or for a clean image that is adversarial already."""
        return (state["step"] >= self.num_steps) | (state["distance"] == 0)

    def images(self, examples, state):
        """The closest adversarial image, or the clean image without success."""
        return state["best"]

    def anneal(self, step: tf.Tensor, first: float | tf.Tensor, last: float | tf.Tensor):
        """Returns a value that falls from `first` to `last` along half a cosine, float32 [batch].

        Args:
          step: int32 [batch], the number of steps taken.
          first: The value at step 0.
          last: The value at step `num_steps`.
        """
        share = tf.cast(step, tf.float32) / tf.cast(self.num_steps, tf.float32)
        # v_k = v_K + (v_0 - v_K) (1 + cos(pi k / K)) / 2
        return last + (first - last) * (1 + tf.cos(math.pi * share)) / 2


def check_positive(attack: method.Method, *names: str) -> None:
    """Raises an InputError unless these options are numbers above 0."""
    for name in names:
        errors.check_number(name, getattr(attack, name), above=0)


def check_fraction(attack: method.Method, *names: str) -> None:
    """Raises an InputError unless these options are numbers from 0 to 1."""
    for name in names:
        value = getattr(attack, name)
        inputs.check_number(name, value, least=0)
        if value > 1:
            raise errors.InputError(f"{name} must be between 0 and 1; received {value!r}.")


def init_moments(images: tf.Tensor) -> method.State:
    """Returns Adam's moments before the first step."""
    return {"first": tf.zeros_like(images), "second": tf.zeros_like(images)}


def update_moments(
    state: method.State, gradient: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, method.State]:
    """Returns Adam's direction and scale after one more gradient, and its moments.

    The step is -rate times the direction divided by the scale.

    Args:
      state: Contains the moments, and "step", the number of gradients before this one.
      gradient: float32 [batch, ...].

    Returns:
      (direction, scale, moments): float32 [batch, ...], the corrected mean of the gradients and
      the root of that of their squares plus 1e-8; and the new moments.
    """
    count = norms.expand_like(tf.cast(state["step"] + 1, tf.float32), gradient)
    first = _BETA_1 * state["first"] + (1 - _BETA_1) * gradient
    second = _BETA_2 * state["second"] + (1 - _BETA_2) * tf.square(gradient)
    direction = first / (1 - _BETA_1**count)
    scale = tf.sqrt(second / (1 - _BETA_2**count)) + _ADAM_EPSILON
    return direction, scale, {"first": first, "second": second}
