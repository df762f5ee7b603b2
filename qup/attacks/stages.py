"""Attacks examples in memory: with every stage of an attack, on every choice of target.

```python
pair = ClassifierPair(classifier, classifier)
result = run_stages(method, pair, examples, sizes=BatchSizes(128))
```
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from qup.attacks import engine, inputs, losses
from qup.attacks.batch_sizes import BatchSizes
from qup.attacks.functional import FunctionAttack
from qup.attacks.inputs import ExampleBatch
from qup.attacks.method import AttackOutputs, Method, StageProgress
from qup.attacks.results import AttackResult
from qup.attacks.verification import DISTANCE_NORMS, Verification, is_within_budget, verify_images
from qup.attacks.work import ShareCounter
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

    @classmethod
    def build(cls, logits_fn: LogitsFn) -> "ClassifierPair":
        """Returns a classifier that both is attacked and decides."""
        return cls(logits_fn, logits_fn)


def run_stages(
    attack: Method | FunctionAttack,
    classifiers: ClassifierPair,
    examples: ExampleBatch,
    *,
    sizes: BatchSizes,
    label_choices: Sequence[np.ndarray] | None = None,
    already_adversarial: np.ndarray | None = None,
    load_progress: Callable[[str, np.ndarray], StageProgress] | None = None,
    on_progress: Callable[[int], None] = lambda count: None,
    on_finished: Callable[[int], None] = lambda count: None,
    shares: ShareCounter | None = None,
) -> AttackResult:
    """Attacks examples with every stage of an attack.

    If the attack has a budget, a stage attacks the examples that withstood the stages before it.
    A minimum-norm attack runs every stage on all examples, and the closest adversarial image
    counts.

    Args:
      attack: The attack; its options are checked.
      classifiers: The attacked classifier and the one that decides.
      examples: The examples.
      sizes: Chooses the numbers of rows of batches.
      label_choices: int32 [n] each: the labels to attack with, in place of those of `examples`.
        All are tried, and the closest adversarial image counts.
      already_adversarial: bool [n], examples that are not attacked; None for none.
      load_progress: (name of a stage, its images) -> what an interrupted run has finished of it.
      on_progress: Called with the number of examples that a stage has finished.
      on_finished: Called with the number of examples that no later stage attacks.
      shares: Reports the share of the work that is done.

    Returns:
      The result, without flags. Examples of `already_adversarial` count as failures. Without
      targets, misclassified examples are not attacked and count as successes at distance 0.
    """
    clean = _verify(classifiers.reference, attack, examples, examples.images, sizes)
    best = _BestResults(attack, examples, clean)
    is_attacked = ~best.result.success
    if already_adversarial is not None:
        is_attacked &= ~already_adversarial
    attacked_classifiers = [classifiers.surrogate]
    if classifiers.surrogate is not classifiers.reference and isinstance(attack, Method):
        attacked_classifiers.append(classifiers.reference)
    stages = attack.stages()
    label_choices = [examples.labels] if label_choices is None else label_choices
    last_stage = len(label_choices) - 1, len(stages) - 1
    for choice, labels in enumerate(label_choices):
        examples = examples._replace(labels=labels)
        if attack.is_targeted:
            clean = _verify(classifiers.reference, attack, examples, examples.images, sizes)
        remaining = np.flatnonzero(is_attacked)
        for stage_number, stage in enumerate(stages):
            rows, indices = examples.take(remaining), remaining
            for number, logits_fn in enumerate(attacked_classifiers):
                if not indices.size:
                    break
                progress = StageProgress.start(rows.images)
                if load_progress is not None:
                    progress = load_progress(f"{choice}-{stage_number}-{number}", rows.images)
                counter = _FinishedCounter(
                    len(examples.labels) - indices.size,
                    (choice, stage_number) == last_stage,
                    on_progress,
                    on_finished,
                )
                on_share = shares and shares.begin_stage(choice, stage_number, len(indices))
                outputs = _prepare_stage(
                    attack,
                    stage_number,
                    logits_fn,
                    rows,
                    progress,
                    sizes=sizes,
                    key=f"{stages.index(stage)}-{number}",
                    on_progress=counter.add,
                    on_share=on_share,
                )()
                has_ball = not (attack.is_minimum_norm or stage.is_minimum_norm)
                attacked = _verify(
                    classifiers.reference, attack, rows, outputs.images, sizes, has_ball
                )
                succeeded = best.update(stage_number, indices, outputs, attacked, clean)
                if not attack.is_minimum_norm:
                    remaining = np.setdiff1d(remaining, indices[succeeded])
                if logits_fn is not classifiers.reference:
                    # If only the surrogate is fooled, the reference itself is attacked.
                    fooled = _verify(logits_fn, attack, rows, outputs.images, sizes, has_ball)
                    disputed = fooled.adversarial & ~attacked.adversarial
                    rows, indices = rows.take(disputed), indices[disputed]
    return best.result


class _FinishedCounter:
    """Counts the examples that are finished while a stage runs."""

    def __init__(
        self,
        count: int,
        is_last_stage: bool,
        on_progress: Callable[[int], None],
        on_finished: Callable[[int], None],
    ):
        """Reports the examples that the stage does not attack; see `run_stages`."""
        self._count, self._is_last_stage = count, is_last_stage
        self._on_progress, self._on_finished = on_progress, on_finished
        on_finished(count)

    def add(self, count: int) -> None:
        """Reports that the stage has finished `count` more examples."""
        if self._is_last_stage:
            self._count += count
            self._on_finished(self._count)
        self._on_progress(count)


def _prepare_stage(
    attack: Method | FunctionAttack,
    stage_number: int,
    logits_fn: LogitsFn,
    rows: ExampleBatch,
    progress: StageProgress,
    *,
    sizes: BatchSizes,
    key: str,
    on_progress: Callable[[int], None],
    on_share: Callable[[float], None] | None,
) -> Callable[[], AttackOutputs]:
    """Returns the function that runs one stage of an attack on `rows`; see `run_stages`."""
    stages = attack.stages()
    stage = stages[stage_number]
    if isinstance(stage, FunctionAttack):
        return functools.partial(
            stage.run,
            logits_fn,
            rows,
            sizes.largest,
            progress,
            on_progress=on_progress,
            on_share=on_share,
        )
    info = inspect_classifier(logits_fn, rows.images[: sizes.largest])
    # A stage may need fewer classes than the whole attack.
    engine.check_enough_classes(attack, info)
    return engine.DynamicBatch(
        *engine.compile_attack(logits_fn, stage, info),
        stage,
        rows,
        sizes=sizes,
        key=key,
        repeat=stages[:stage_number].count(stage),
        progress=progress,
        on_progress=on_progress,
        on_share=on_share,
    ).run


def _verify(
    logits_fn: LogitsFn,
    attack: Method | FunctionAttack,
    examples: ExampleBatch,
    images: np.ndarray,
    sizes: BatchSizes,
    has_ball: bool = False,
) -> Verification:
    """Classifies images by the rules; only a stage with a budget must stay inside the ball."""
    return verify_images(
        logits_fn,
        examples.images,
        images,
        examples.labels,
        targeted=attack.is_targeted,
        batch_size=sizes.choose("verification", len(images)) if len(images) else sizes.largest,
        bounds=attack.bounds,
        norm=attack.distance_norm,
        epsilon=examples.epsilon if has_ball else None,
    )


class _BestResults:
    """The closest adversarial image of each example over the stages of an attack.

    Attributes:
      result: The best images so far, and the sum of all calls.
    """

    def __init__(
        self, attack: Method | FunctionAttack, examples: ExampleBatch, clean: Verification
    ):
        count = len(examples.labels)
        stage_names = tuple(stage.name for stage in attack.stages())
        self._norm, self._is_targeted = attack.distance_norm, attack.is_targeted
        self.result = AttackResult(
            images=examples.images.copy(),
            # In a targeted attack too, the labels of `clean` are the true ones.
            success=np.zeros(count, bool) if attack.is_targeted else ~clean.correct,
            distances={norm: np.zeros(count) for norm in DISTANCE_NORMS},
            forward_calls=np.zeros(count),
            gradient_calls=np.zeros(count),
            stage=np.full(count, -1, np.int32),
            # A single stage may be another method, with the attack's options filled in.
            stages=stage_names if len(stage_names) > 1 else (attack.name,),
            epsilon=examples.epsilon,
            correct=clean.correct,
            classes=clean.classes,
            violations=np.zeros(count, np.int8),
            progress=np.full(count, np.nan, np.float32),
            is_saturated=clean.is_saturated,
        )

    def update(
        self,
        stage_number: int,
        indices: np.ndarray,
        outputs: AttackOutputs,
        attacked: Verification,
        clean: Verification,
    ) -> np.ndarray:
        """Adds the outputs of a stage.

        Args:
          stage_number: The index of the stage.
          indices: int [m], the examples that the stage attacked.
          outputs: The outputs for these examples.
          attacked: The classification of the outputs, of m examples.
          clean: The classification of the clean images, of all examples.

        Returns:
          bool [m]: whether the stage succeeded inside the budget.
        """
        best = self.result
        best.forward_calls[indices] += outputs.forward_calls
        best.gradient_calls[indices] += outputs.gradient_calls
        best.violations[indices] |= attacked.violations
        change = attacked.margins - clean.margins[indices]
        progress = change if self._is_targeted else -change
        # Many attacks return the clean image where they fail, which says nothing.
        progress = np.where(attacked.distances["linf"] > 0, progress, np.nan)
        best.progress[indices] = np.fmax(best.progress[indices], progress)
        distances = attacked.distances[self._norm]
        within = is_within_budget(distances, best.epsilon[indices])
        success = attacked.adversarial & within
        is_closer = distances < best.distances[self._norm][indices]
        is_better = success & (~best.success[indices] | is_closer)
        updated = indices[is_better]
        best.images[updated] = outputs.images[is_better]
        best.stage[updated] = stage_number
        best.success[updated] = True
        # A later stage that obeys the rules makes up for one that broke them.
        best.violations[updated] = 0
        for norm, values in best.distances.items():
            values[updated] = attacked.distances[norm][is_better]
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
