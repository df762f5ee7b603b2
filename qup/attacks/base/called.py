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
from qup.attacks.base.engine import Given
from qup.types import Bounds, LogitsFn

# What a function may ask for, and is not given where it does not.
_OFFERED = ("bounds", "seed", "ids")
# How far rounding may carry a pixel out of the box.
_ROUNDING = 1e-6


class Call(NamedTuple):
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

    def images(
        self, logits_fn: LogitsFn, given: Given, tick: Callable[[int], None]
    ) -> np.ndarray:
        """Returns where the function ends: float32 [n, ...].

        It has one epsilon a call, so rows of other budgets go into other
        calls; rows whose budget is nothing stay where they are.

        Raises:
          InputError: It returns what are no images inside the box.
        """
        images = given.images.copy()
        if not len(images):
            return images
        first = tf.constant(given.images[: self.batch_size])
        call = checks.of_logits(logits_fn, checks.answers(logits_fn, first))
        budgets = given.epsilon
        for budget in np.unique(budgets):
            same = np.isnan(budgets) | (budgets == budget)
            group = np.flatnonzero(same)
            if budget == 0:
                tick(len(group))
                continue
            for start in range(0, len(group), self.batch_size):
                rows = group[start : start + self.batch_size]
                images[rows] = self._moved(call, given.rows(rows), budget)
                tick(len(rows))
        return images

    def _moved(self, call: LogitsFn, given: Given, budget: np.float32):
        count = len(given.labels)
        full = np.minimum(np.arange(self.batch_size), count - 1)
        padded = given.rows(full)
        options = dict(self.options)
        # The budget as it was given, and not as rounded, where it is one.
        if "epsilon" in options and np.float32(options["epsilon"]) != budget:
            options["epsilon"] = float(budget)
        if takes(self.function, "ids"):
            options["ids"] = tf.constant(padded.ids)
        moved = self.function(
            call,
            tf.constant(padded.images),
            tf.constant(padded.labels),
            **options,
        )
        return self._checked(moved, padded.images)[:count]

    def _checked(self, moved, clean: np.ndarray) -> np.ndarray:
        try:
            moved = np.asarray(moved, np.float32)
        except (TypeError, ValueError):
            moved = np.empty(0)
        if moved.shape != clean.shape:
            raise errors.InputError(
                f"The attack {self.name} must return images of shape "
                f"{clean.shape}, as it was given; got {moved.shape}."
            )
        if not np.isfinite(moved).all():
            raise errors.InputError(
                f"The attack {self.name} returned NaN or infinite pixels. "
                "Look for a division by zero, or leave such pixels as they "
                "were."
            )
        low, high = self.bounds or (-np.inf, np.inf)
        if moved.min() < low - _ROUNDING or moved.max() > high + _ROUNDING:
            raise errors.InputError(
                f"The attack {self.name} returned pixels from "
                f"{moved.min():.4g} to {moved.max():.4g}, outside the bounds "
                f"{self.bounds}. Clip them, or pass bounds=None to run."
            )
        return moved


def takes(function: Callable, option: str) -> bool:
    """Whether a function has an argument of that name, or takes any."""
    known = _parameters(function)
    return option in known or _any(known)


def options(
    function: Callable, given: dict[str, Any], name: str
) -> dict[str, Any]:
    """Leaves out bounds and seed where a function does not take them.

    Raises:
      InputError: It does not take another option, or needs one more.
    """
    known = _parameters(function)
    if _any(known):
        return given
    for option in given:
        if option not in (*known, *_OFFERED):
            raise errors.unknown(f"option of {name}", option, known)
    for option, parameter in known.items():
        needed = parameter.default is parameter.empty
        needed = needed and parameter.kind is parameter.KEYWORD_ONLY
        if needed and option not in (*given, *_OFFERED):
            raise errors.InputError(f"{name} needs {option}=...; got none.")
    return {k: v for k, v in given.items() if k in known}


def _any(known) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in known.values())


def _parameters(function: Callable):
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise errors.InputError(
            f"The arguments of the attack {function!r} cannot be read: "
            f"{error}. Wrap it in a function."
        ) from error
