"""Attacks examples in memory: with every stage of an attack, on every choice of target.

```python
result = run_stages(method, ClassifierPair(classifier, classifier), examples, batch_size=128)
```
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from qup.attacks import engine, inputs, losses
from qup.attacks.functional import FunctionAttack
from qup.attacks.inputs import ExampleBatch
from qup.attacks.method import AttackOutputs, Method
from qup.attacks.results import DISTANCE_NORMS, AttackEvaluation, AttackResult, evaluate_images
from qup.core import prng
from qup.core.classifier import inspect_classifier, predict_logits
from qup.core.types import LogitsFn


class ClassifierPair(NamedTuple):
    """The attacked classifier and the one that decides.

    Attributes:
      surrogate: The classifier that the attack sees, for example a faster copy.
      reference: The classifier that decides whether the attack has succeeded.
    """

    surrogate: LogitsFn
    reference: LogitsFn


def run_stages(
    attack: Method | FunctionAttack,
    classifiers: ClassifierPair,
    examples: ExampleBatch,
    *,
    batch_size: int,
    label_choices: Sequence[np.ndarray] | None = None,
    already_adversarial: np.ndarray | None = None,
    on_progress: Callable[[int], None] = lambda count: None,
) -> AttackResult:
    """Attacks examples with every stage of an attack.

    If the attack has a budget, a stage attacks the examples that withstood the stages before it.
    A minimum-norm attack runs every stage on all examples, and the closest adversarial image
    counts.

    Args:
      attack: The attack; its options are checked.
      classifiers: The attacked classifier and the one that decides.
      examples: The examples.
      batch_size: Rows per batch.
      label_choices: int32 [n] each: the labels to attack with, in place of those of `examples`.
        All are tried, and the closest adversarial image counts.
      already_adversarial: bool [n], examples that are not attacked; None for none.
      on_progress: Called with the number of examples that a stage has finished.

    Returns:
      The result. Examples that are not attacked count as failures.
    """
    best = _BestResults(attack, examples)
    attacked_classifiers = [classifiers.surrogate]
    if classifiers.surrogate is not classifiers.reference and isinstance(attack, Method):
        attacked_classifiers.append(classifiers.reference)
    stages = attack.stages()
    for labels in [examples.labels] if label_choices is None else label_choices:
        examples = examples._replace(labels=labels)
        remaining = np.arange(len(labels))
        if already_adversarial is not None:
            remaining = remaining[~already_adversarial]
        for stage_number, stage in enumerate(stages):
            rows, indices = examples.take(remaining), remaining
            for logits_fn in attacked_classifiers:
                if not indices.size:
                    break
                if isinstance(stage, FunctionAttack):
                    outputs = stage.run(logits_fn, rows, batch_size, on_progress)
                else:
                    classifier_info = inspect_classifier(logits_fn, rows.images[:batch_size])
                    # A stage may need fewer classes than the whole attack.
                    engine.check_enough_classes(attack, classifier_info)
                    program, scalars = engine.compile_attack(logits_fn, stage, classifier_info)
                    outputs = engine.DynamicBatch(
                        program,
                        scalars,
                        stage,
                        rows,
                        batch_size=batch_size,
                        repeat=stages[:stage_number].count(stage),
                        on_progress=on_progress,
                    ).run()
                evaluation = _evaluate(classifiers.reference, attack, rows, outputs, batch_size)
                succeeded = best.update(stage_number, indices, outputs, evaluation)
                if not attack.is_minimum_norm:
                    remaining = np.setdiff1d(remaining, indices[succeeded])
                if logits_fn is not classifiers.reference:
                    # If only the surrogate is fooled, the reference itself is attacked.
                    fooled = _evaluate(logits_fn, attack, rows, outputs, batch_size).adversarial
                    disputed = fooled & ~evaluation.adversarial
                    rows, indices = rows.take(disputed), indices[disputed]
    return best.result


def _evaluate(logits_fn, attack, rows, outputs, batch_size):
    return evaluate_images(
        logits_fn,
        rows.images,
        outputs.images,
        rows.labels,
        targeted=attack.is_targeted,
        batch_size=batch_size,
    )


class _BestResults:
    """The closest adversarial image of each example over the stages of an attack.

    Attributes:
      result: The best images so far, and the sum of all calls.
    """

    def __init__(self, attack: Method | FunctionAttack, examples: ExampleBatch):
        count = len(examples.labels)
        stage_names = tuple(stage.name for stage in attack.stages())
        self._norm = attack.distance_norm
        self.result = AttackResult(
            images=examples.images.copy(),
            success=np.zeros(count, bool),
            distances={norm: np.zeros(count) for norm in DISTANCE_NORMS},
            forward_calls=np.zeros(count),
            gradient_calls=np.zeros(count),
            stage=np.full(count, -1, np.int32),
            # A single stage may be another method, with the attack's options filled in.
            stages=stage_names if len(stage_names) > 1 else (attack.name,),
            epsilon=examples.epsilon,
        )

    def update(
        self,
        stage_number: int,
        indices: np.ndarray,
        outputs: AttackOutputs,
        evaluation: AttackEvaluation,
    ) -> np.ndarray:
        """Adds the outputs of a stage.

        Args:
          stage_number: The index of the stage.
          indices: int [m], the examples that the stage attacked.
          outputs: The outputs for these examples.
          evaluation: The classification of the outputs.

        Returns:
          bool [m]: whether the stage succeeded inside the budget.
        """
        best = self.result
        best.forward_calls[indices] += outputs.forward_calls
        best.gradient_calls[indices] += outputs.gradient_calls
        success = evaluation.succeeds_within(self._norm, best.epsilon[indices])
        is_closer = evaluation.distances[self._norm] < best.distances[self._norm][indices]
        is_better = success & (~best.success[indices] | is_closer)
        updated = indices[is_better]
        best.images[updated] = outputs.images[is_better]
        best.stage[updated] = stage_number
        best.success[updated] = True
        for norm, distances in best.distances.items():
            distances[updated] = evaluation.distances[norm][is_better]
        return success


def choose_labels(
    classifiers: ClassifierPair, examples: ExampleBatch, targets: Any, *, seed: int, batch_size: int
) -> list[np.ndarray]:
    """Returns the labels that an attack is given, one array per choice of target.

    Args:
      classifiers: The reference ranks the classes.
      examples: The examples with their true labels.
      targets: int32 [n]; "least_likely", "random" or "second_likely"; "all" for all other classes
        in turn; or None for the true labels.
      seed: Seed of the random targets.
      batch_size: Rows per batch.

    Raises:
      InputError: A label or target is not a class of the classifier.
    """
    labels = examples.labels
    if not len(labels):
        return [labels]
    classifier_info = inspect_classifier(classifiers.surrogate, examples.images[:batch_size])
    inputs.check_label_range(labels, classifier_info.num_classes)
    if targets is None:
        return [labels]
    if not isinstance(targets, str):
        inputs.check_label_range(targets, classifier_info.num_classes, "Targets")
        return [targets]
    logits = _predict_logits(classifiers.reference, examples.images, batch_size)
    if targets == "all":
        ranks = range(1, logits.shape[1])
        return [losses.select_ranked_class(logits, labels, rank).numpy() for rank in ranks]
    keys = prng.make_keys(seed, examples.ids)
    return [losses.choose_targets(targets, logits, labels, keys).numpy()]


def _predict_logits(logits_fn: LogitsFn, images: np.ndarray, batch_size: int) -> tf.Tensor:
    logits = []
    for rows, num_real in inputs.iterate_padded_rows(len(images), batch_size):
        logits.append(predict_logits(logits_fn, images[rows])[:num_real])
    return tf.concat(logits, 0)
