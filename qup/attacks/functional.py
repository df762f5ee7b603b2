"""Plain functions as attacks: their options and the checks of what they return.

```python
attack = FunctionAttack(brighten, {"epsilon": 0.1}, "brighten", (0.0, 1.0))
outputs = attack.run(logits_fn, examples, batch_size=128)
```
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from qup.attacks.inputs import ExampleBatch
from qup.attacks.method import AttackOutputs, StageProgress
from qup.core import errors
from qup.core.classifier import wrap_classifier
from qup.core.types import Bounds, LogitsFn

# Arguments that a function receives only if it accepts them.
_OPTIONAL_ARGUMENTS = ("bounds", "seed", "ids")


class FunctionAttack(NamedTuple):
    """A function with its options, used like a `Method`.

    Attributes:
      function: attack(logits_fn, images, labels, **options) -> images.
      options: Its keyword arguments except ids.
      name: The name in messages and results.
      bounds: (lowest, highest) pixel, or None.
    """

    function: Callable
    options: dict[str, Any]
    name: str
    bounds: Bounds

    @property
    def is_minimum_norm(self) -> bool:
        """False: a function has a budget."""
        return False

    @property
    def stops_early(self) -> bool:
        """False: a function always runs to its end."""
        return False

    @property
    def needs_gradients(self) -> bool:
        """True: a function does not say whether it takes gradients."""
        return True

    def for_classes(self, num_classes: int) -> "FunctionAttack":
        """Returns the function itself."""
        del num_classes
        return self

    @property
    def distance_norm(self) -> str:
        """The norm of the budget."""
        return self.options.get("norm", "linf")

    @property
    def is_targeted(self) -> bool:
        """Whether the labels are targets."""
        return bool(self.options.get("targeted", False))

    def count_max_steps(self, image_shape: Sequence[int]) -> None:
        """Returns None: a function says nothing about its steps."""
        del image_shape

    def stages(self) -> tuple["FunctionAttack", ...]:
        """Returns the function itself."""
        return (self,)

    def run(
        self,
        logits_fn: LogitsFn,
        examples: ExampleBatch,
        batch_size: int,
        progress: StageProgress,
        on_progress: Callable[[int], None] = lambda count: None,
        on_share: Callable[[float], None] | None = None,
    ) -> AttackOutputs:
        """Attacks all examples; the number of calls is NaN, because nothing counts them.

        The function takes one epsilon per call, so examples with different budgets are in
        different calls. Examples with epsilon 0 are not attacked.

        Raises:
          InputError: The function does not return images of the shape that it received.
        """
        outputs, budgets = progress.outputs, examples.epsilon
        outputs.forward_calls[:] = outputs.gradient_calls[:] = np.nan
        if len(budgets):
            logits_fn = wrap_classifier(logits_fn)
            logits_fn.inspect(examples.images[:batch_size])
        on_progress(int((progress.finished | (budgets == 0)).sum()))
        waiting = ~progress.finished & (budgets != 0)
        for budget in np.unique(budgets[waiting]):
            has_budget = np.isnan(budgets) if np.isnan(budget) else budgets == budget
            indices = np.flatnonzero(has_budget & waiting)
            for start in range(0, len(indices), batch_size):
                rows = indices[start : start + batch_size]
                padded_rows = rows[np.minimum(np.arange(batch_size), len(rows) - 1)]
                perturbed = self._attack_batch(logits_fn, examples.take(padded_rows), budget)
                outputs.images[rows] = perturbed[: len(rows)]
                progress.finished[rows] = True
                progress.save(dict, False)
                on_progress(len(rows))
                if on_share is not None:
                    on_share(float(np.mean(progress.finished | (budgets == 0))))
        return outputs

    def _attack_batch(self, logits_fn: LogitsFn, batch: ExampleBatch, budget: np.float32):
        options = dict(self.options)
        # A budget for all examples is passed as the user gave it, not rounded to float32.
        if "epsilon" in options and np.float32(options["epsilon"]) != budget:
            options["epsilon"] = float(budget)
        if accepts_option(self.function, "ids"):
            options["ids"] = tf.constant(batch.ids)
        perturbed = self.function(
            logits_fn, tf.constant(batch.images), tf.constant(batch.labels), **options
        )
        try:
            perturbed = np.asarray(perturbed, np.float32)
        except (TypeError, ValueError):
            perturbed = np.empty(0)
        if perturbed.shape != batch.images.shape:
            raise errors.InputError(
                f"The attack {self.name} must return images of the shape that it received, "
                f"{batch.images.shape}; got {perturbed.shape}."
            )
        return perturbed


def accepts_option(function: Callable, option: str) -> bool:
    """Returns whether a function has an argument of that name, or accepts any."""
    parameters = _get_parameters(function)
    return option in parameters or _accepts_any_option(parameters)


def filter_options(function: Callable, options: dict[str, Any], name: str) -> dict[str, Any]:
    """Removes bounds and seed if a function does not accept them.

    Raises:
      InputError: The function does not accept another option, or requires one more.
    """
    parameters = _get_parameters(function)
    if _accepts_any_option(parameters):
        return options
    for option in options:
        if option not in (*parameters, *_OPTIONAL_ARGUMENTS):
            raise errors.make_unknown_error(f"option of {name}", option, parameters)
    for option, parameter in parameters.items():
        is_required = parameter.default is parameter.empty
        is_required = is_required and parameter.kind is parameter.KEYWORD_ONLY
        if is_required and option not in (*options, *_OPTIONAL_ARGUMENTS):
            raise errors.InputError(f"{name} needs {option}=...; it is missing.")
    return {option: value for option, value in options.items() if option in parameters}


def _accepts_any_option(parameters) -> bool:
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


def _get_parameters(function: Callable):
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise errors.InputError(
            f"The arguments of the attack {function!r} cannot be read: {error}. Wrap it in a "
            "function."
        ) from error
