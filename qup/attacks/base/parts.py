"""An attack of one part or several, on examples that fit in memory."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qup.attacks.base import checks, engine, verdict
from qup.attacks.base import program as programs
from qup.attacks.base.engine import AttackOutputs, ExampleBatch
from qup.attacks.base.method import Method
from qup.attacks.base.result import AttackResult
from qup.types import LogitsFn


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
        classifier_info = checks.inspect_classifier(logits_fn, first_batch)
        checks.check_label_range(rows.labels, classifier_info.num_classes)
        # A part may need fewer classes than the whole.
        programs.check_enough_classes(self.method, classifier_info)
        program, scalars = programs.compile_attack(logits_fn, self.stage, classifier_info)
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
        return verdict.evaluate_images(
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
        self._distances = {norm: np.zeros(count) for norm in verdict.DISTANCE_NORMS}
        self._stage = np.full(count, -1, np.int32)
        self._forward_calls = np.zeros(count)
        self._gradient_calls = np.zeros(count)
        self.success = np.zeros(count, bool)

    def update(
        self,
        stage_number: int,
        indices: np.ndarray,
        outputs: AttackOutputs,
        evaluation: verdict.AttackEvaluation,
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
