"""An attack of one part or several, on examples that fit in memory."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from qup.attacks import engine, inputs, results
from qup.attacks.engine import AttackOutputs
from qup.attacks.inputs import ExampleBatch
from qup.attacks.method import Method
from qup.attacks.results import AttackResult
from qup.core import errors
from qup.core.types import Bounds, LogitsFn


class ClassifierPair(NamedTuple):
    """Who is attacked, and who decides.

    Attributes:
      surrogate: The classifier that the attack sees, perhaps a faster copy.
      reference: The classifier by which success counts.
    """

    surrogate: LogitsFn
    reference: LogitsFn


def enumerate_repeats(method: Method) -> list[tuple[Method, int]]:
    """Returns the parts, each with the number of equal ones before it."""
    stages = method.stages()
    return [(stage, stages[:i].count(stage)) for i, stage in enumerate(stages)]


def get_stage_names(method: Method) -> tuple[str, ...]:
    """Returns the names of the parts; of a single one, the method's own."""
    names = tuple(stage.name for stage in method.stages())
    return names if len(names) > 1 else (method.name,)


def run_stages(
    method: Method,
    classifiers: ClassifierPair,
    examples: ExampleBatch,
    *,
    batch_size: int,
    on_progress: Callable[[int], None] = lambda count: None,
    already_adversarial: np.ndarray | None = None,
) -> AttackResult:
    """Attacks examples with every part of a method.

    Of an attack with a budget, a part sees the examples that no part before
    it broke; of one of minimum norm, every part sees all, and the nearest
    adversarial image is kept.

    Args:
      method: The attack, checked.
      classifiers: Who is attacked, and who decides.
      examples: The examples.
      batch_size: Rows a batch.
      on_progress: Called with the number of examples that a part has finished.
      already_adversarial: bool [n], examples to leave alone; None for none.

    Returns:
      The result; of a solved example, that of no attack.
    """
    count = len(examples.labels)
    best = _BestResults(method, examples)
    remaining = (
        np.arange(count) if already_adversarial is None else np.flatnonzero(~already_adversarial)
    )
    for stage_number, (stage, repeat) in enumerate(enumerate_repeats(method)):
        if not remaining.size:
            break
        rows = examples.take(remaining)
        runner = _StageRunner(method, stage, repeat, batch_size, on_progress)
        outputs = runner.run(classifiers.surrogate, rows)
        evaluation = runner.evaluate(classifiers.reference, rows, outputs)
        best.update(stage_number, remaining, outputs, evaluation)
        if classifiers.surrogate is not classifiers.reference:
            # Where only the faster copy was fooled, the attack goes on.
            surrogate_evaluation = runner.evaluate(classifiers.surrogate, rows, outputs)
            disputed = surrogate_evaluation.adversarial & ~evaluation.adversarial
            rows, disputed_indices = rows.take(disputed), remaining[disputed]
            outputs = runner.run(classifiers.reference, rows)
            evaluation = runner.evaluate(classifiers.reference, rows, outputs)
            best.update(stage_number, disputed_indices, outputs, evaluation)
        if method.traits["kind"] == "budget":
            remaining = remaining[~best.success[remaining]]
    return best.build_result()


class _StageRunner(NamedTuple):
    """One part of a method, at work on one classifier or another."""

    method: Method
    stage: Method
    repeat: int
    batch_size: int
    on_progress: Callable[[int], None]

    def run(self, logits_fn: LogitsFn, rows: ExampleBatch) -> AttackOutputs:
        """Attacks the rows; one without any budget stays where it is."""
        count = len(rows.labels)
        outputs = AttackOutputs(rows.images.copy(), np.zeros(count), np.zeros(count))
        attackable = np.flatnonzero(rows.epsilon != 0)
        if not attackable.size:
            self.on_progress(count)
            return outputs
        first_batch = tf.constant(rows.images[: self.batch_size])
        classifier_info = inputs.inspect_classifier(logits_fn, first_batch)
        inputs.check_label_range(rows.labels, classifier_info.num_classes)
        # A part may need fewer classes than the whole.
        engine.check_enough_classes(self.method, classifier_info)
        program, scalars = engine.compile_attack(logits_fn, self.stage, classifier_info)
        attack_outputs = engine.run_program(
            program,
            scalars,
            self.stage,
            self.repeat,
            rows.take(attackable),
            self.batch_size,
            self.on_progress,
        )
        for column, values in zip(outputs, attack_outputs, strict=True):
            column[attackable] = values
        return outputs

    def evaluate(self, logits_fn: LogitsFn, rows: ExampleBatch, outputs: AttackOutputs):
        """Returns what a classifier says of the ends."""
        return results.evaluate_images(
            logits_fn,
            rows.images,
            outputs.images,
            rows.labels,
            targeted=self.method.is_targeted,
            batch_size=self.batch_size,
        )


class _BestResults:
    """The best that the parts have found so far.

    Attributes:
      success: bool [n].
    """

    def __init__(self, method: Method, examples: ExampleBatch):
        count = len(examples.labels)
        self._method, self._examples = method, examples
        self._images = examples.images.copy()
        self._distances = {norm: np.zeros(count) for norm in results.DISTANCE_NORMS}
        self._stage = np.full(count, -1, np.int32)
        self._forward_calls = np.zeros(count)
        self._gradient_calls = np.zeros(count)
        self.success = np.zeros(count, bool)

    def update(
        self,
        stage_number: int,
        indices: np.ndarray,
        outputs: AttackOutputs,
        evaluation: results.AttackEvaluation,
    ) -> None:
        """Keeps what a part found where it is better.

        Args:
          stage_number: Of the part.
          indices: Which examples the part saw.
          outputs: Where it ended.
          evaluation: What the classifier says of it.
        """
        self._forward_calls[indices] += outputs.forward_calls
        self._gradient_calls[indices] += outputs.gradient_calls
        norm = self._method.distance_norm
        inside = evaluation.succeeds_within(norm, self._examples.epsilon[indices])
        closer = evaluation.distances[norm] < self._distances[norm][indices]
        better = inside & (~self.success[indices] | closer)
        updated = indices[better]
        self._images[updated] = outputs.images[better]
        self._stage[updated] = stage_number
        self.success[updated] = True
        for key, values in self._distances.items():
            values[updated] = evaluation.distances[key][better]

    def build_result(self) -> AttackResult:
        """Returns everything found."""
        return AttackResult(
            images=self._images,
            success=self.success,
            distances=self._distances,
            forward_calls=self._forward_calls,
            gradient_calls=self._gradient_calls,
            stage=self._stage,
            stages=get_stage_names(self._method),
            epsilon=self._examples.epsilon,
        )


# A plain function as an attack: how it is called, and what is checked.
#
# ```python
# images = Call(brighten, {"epsilon": 0.1}, "brighten", (0, 1), 128).images(
#     logits_fn, given, tick
# )
# ```


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
        classifier = inputs.get_logits_fn(
            logits_fn, inputs.inspect_classifier(logits_fn, first_batch)
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
