"""A plain function as an attack: how it is called, and what is checked.

```python
images = Call(brighten, {"epsilon": 0.1}, "brighten", (0, 1), 128).images(
    logits_fn, given, tick
)
```
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from qup import errors
from qup.attacks.base import checks
from qup.attacks.base.engine import ExampleBatch
from qup.types import Bounds, LogitsFn

# What a function may ask for, and is not given where it does not.
_OPTIONAL_ARGUMENTS = ("bounds", "seed", "ids")
# How far rounding may carry a pixel out of the box.
_BOUNDS_ATOL = 1e-6


class FunctionAttack(NamedTuple):
    """A function with its options.

    Attributes:
      function: attack(logits_fn, images, labels, **options) -> images.
      options: Its keyword arguments but for ids.
      name: For messages.
      bounds: The box that pixels must keep within, or None.
      batch_size: Rows a call; a batch with fewer is padded.
    """

    function: Callable
    options: dict[str, Any]
    name: str
    bounds: Bounds
    batch_size: int

    def run(
        self, logits_fn: LogitsFn, examples: ExampleBatch, on_progress: Callable[[int], None]
    ) -> np.ndarray:
        """Returns where the function ends: float32 [n, ...].

        It has one epsilon a call, so rows of other budgets go into other
        calls; rows whose budget is nothing stay where they are.

        Raises:
          InputError: It returns what are no images inside the box.
        """
        images = examples.images.copy()
        if not len(images):
            return images
        first_batch = tf.constant(examples.images[: self.batch_size])
        classifier = checks.get_logits_fn(
            logits_fn, checks.inspect_classifier(logits_fn, first_batch)
        )
        budgets = examples.epsilon
        for budget in np.unique(budgets):
            in_group = np.isnan(budgets) | (budgets == budget)
            indices = np.flatnonzero(in_group)
            if budget == 0:
                on_progress(len(indices))
                continue
            for start in range(0, len(indices), self.batch_size):
                rows = indices[start : start + self.batch_size]
                images[rows] = self._attack_batch(classifier, examples.take(rows), budget)
                on_progress(len(rows))
        return images

    def _attack_batch(self, logits_fn: LogitsFn, examples: ExampleBatch, budget: np.float32):
        count = len(examples.labels)
        padded_indices = np.minimum(np.arange(self.batch_size), count - 1)
        padded = examples.take(padded_indices)
        options = dict(self.options)
        # The budget as it was given, and not as rounded, where it is one.
        if "epsilon" in options and np.float32(options["epsilon"]) != budget:
            options["epsilon"] = float(budget)
        if accepts_option(self.function, "ids"):
            options["ids"] = tf.constant(padded.ids)
        perturbed = self.function(
            logits_fn, tf.constant(padded.images), tf.constant(padded.labels), **options
        )
        return self._validate_images(perturbed, padded.images)[:count]

    def _validate_images(self, perturbed, clean: np.ndarray) -> np.ndarray:
        try:
            perturbed = np.asarray(perturbed, np.float32)
        except (TypeError, ValueError):
            perturbed = np.empty(0)
        if perturbed.shape != clean.shape:
            raise errors.InputError(
                f"The attack {self.name} must return images of shape "
                f"{clean.shape}, as it was given; got {perturbed.shape}."
            )
        if not np.isfinite(perturbed).all():
            raise errors.InputError(
                f"The attack {self.name} returned NaN or infinite pixels. "
                "Look for a division by zero, or leave such pixels as they "
                "were."
            )
        low, high = self.bounds or (-np.inf, np.inf)
        if perturbed.min() < low - _BOUNDS_ATOL or perturbed.max() > high + _BOUNDS_ATOL:
            raise errors.InputError(
                f"The attack {self.name} returned pixels from "
                f"{perturbed.min():.4g} to {perturbed.max():.4g}, outside the bounds "
                f"{self.bounds}. Clip them, or pass bounds=None to run."
            )
        return perturbed


def accepts_option(function: Callable, option: str) -> bool:
    """Whether a function has an argument of that name, or takes any."""
    parameters = _get_parameters(function)
    return option in parameters or _accepts_any_option(parameters)


def filter_options(function: Callable, arguments: dict[str, Any], name: str) -> dict[str, Any]:
    """Leaves out bounds and seed where a function does not take them.

    Raises:
      InputError: It does not take another option, or needs one more.
    """
    parameters = _get_parameters(function)
    if _accepts_any_option(parameters):
        return arguments
    for option in arguments:
        if option not in (*parameters, *_OPTIONAL_ARGUMENTS):
            raise errors.make_unknown_error(f"option of {name}", option, parameters)
    for option, parameter in parameters.items():
        is_required = parameter.default is parameter.empty
        is_required = is_required and parameter.kind is parameter.KEYWORD_ONLY
        if is_required and option not in (*arguments, *_OPTIONAL_ARGUMENTS):
            raise errors.InputError(f"{name} needs {option}=...; got none.")
    return {k: v for k, v in arguments.items() if k in parameters}


def _accepts_any_option(parameters) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _get_parameters(function: Callable):
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise errors.InputError(
            f"The arguments of the attack {function!r} cannot be read: "
            f"{error}. Wrap it in a function."
        ) from error
