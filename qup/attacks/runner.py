"""`attacks.run`: an attack on any number of examples, at one budget or several.

```python
result = attacks.run(
    "pgd", classifier, images, labels, epsilon=0.1, num_steps=40, keep="first_adversarial"
)
result.robust_accuracy, result.distances["l2"], result.gradient_calls

result = attacks.minimal_epsilon("pgd", classifier, images, labels, high=0.3, num_steps=40)
result.epsilon  # float32 [n]; NaN if the attack fails even with `high`
```
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from qup.attacks import inputs, losses, registry, reliability
from qup.attacks.batch_sizes import BatchSizes
from qup.attacks.functional import FunctionAttack, accepts_option, filter_options
from qup.attacks.inputs import ExampleBatch
from qup.attacks.method import Method, create_method
from qup.attacks.precision import get_precision_copy
from qup.attacks.results import (
    AttackResult,
    concatenate_results,
    restrict_to_budgets,
    select_results,
)
from qup.attacks.stages import ClassifierPair, choose_labels, run_stages
from qup.attacks.store import ShardStore, describe_attack
from qup.attacks.verification import DISTANCE_NORMS
from qup.attacks.work import ShareCounter
from qup.core import errors, interruption, norms, progress
from qup.core.classifier import ProbeInfo, wrap_classifier
from qup.core.identity import compute_classifier_identity
from qup.core.parts import Part
from qup.core.types import Bounds, LogitsFn

# A shard is what an interruption can cost and what is in memory. Rows that finish early are
# replaced only within a shard.
BATCHES_PER_SHARD = 4


def run(
    attack: str | Callable,
    logits_fn: LogitsFn,
    images,
    labels=None,
    *,
    batch_size: int = 128,
    bounds: Bounds = (0.0, 1.0),
    seed: int = 0,
    ids=None,
    epsilon=None,
    epsilons: Sequence[float] | None = None,
    targets=None,
    output=None,
    precision: str = "float32",
    pixel_range: tuple[float, float] | None = None,
    fixed_batch: bool = False,
    part: Part | None = None,
    logs_flags: bool = True,
    on_progress: Callable[[int], None] = lambda count: None,
    on_share: Callable[[float], None] | None = None,
    show_progress: bool = False,
    **options: Any,
) -> AttackResult | list[AttackResult] | None:
    """Attacks examples; returns success, distances and calls of each.

    Finished examples leave the batch and others take their places, so one compiled batch shape
    serves all.

    Args:
      attack: A registered name, or a function attack(logits_fn, images, labels, **options) ->
        images. The function receives `bounds`, `seed`, `ids` (int64 [batch]) and `epsilon` (one
        per call) if it accepts them.
      logits_fn: The classifier, a Keras model or a function.
      images: float [n, ...] inside `bounds`; or uint8, which is read as value / 255 (with bounds of
        (0, 1) only); or an iterable of such batches.
      labels: int [n] or [n, 1], the true classes; None if `images` is a tf.data.Dataset of (image,
        label).
      batch_size: Largest number of rows that are attacked together. Few images use a smaller batch.
        The last bits of a gradient depend on the batch size, and so do a few pixels.
      bounds: (lowest, highest) pixel, or None.
      seed: Seed of all random numbers, together with the ids of the examples.
      ids: int [n], the identities of the examples; None for 0, 1, 2, ...
      epsilon: The budget in the units of `bounds`, one or float [n]. For a minimum-norm attack it
        only decides what counts as success.
      epsilons: Several budgets, in place of `epsilon`.
      targets: int [n]; "least_likely", "random" or "second_likely"; "all" (each other class in
        turn, the closest image counts); or None for any class except the true one.
      output: Folder for the results, in shards. A second call with the same arguments resumes an
        interrupted one, of which at most half a minute is repeated.
      precision: "float32", or "bfloat16" to attack a faster copy of a Keras model in bfloat16,
        with batch normalisations folded into the convolutions. The model in float32 decides about
        success.
      pixel_range: (lowest, highest) pixel that the classifier takes, such as (0, 255) or (-1, 1),
        for images in [0, 1]; None for the images as they are. epsilon stays in units of the images:
        8 / 255 for 8 of 255 grey levels.
      fixed_batch: Attack few images too in batches of `batch_size` rows, so that a result does not
        depend on how the images are cut into calls and parts.
      part: Attack only the shards of one part; other processes attack the others, with the same
        arguments and the same folder `output`. A call without `part` returns the result of all,
        equal to the last bit to that of one process; it must follow the parts. `output` and
        `fixed_batch` are needed, and a shard has one batch.
      logs_flags: Whether to log the flags of the result as warnings.
      on_progress: Called with the number of examples that a stage has finished.
      on_share: Called many times with the share of the work that is done, 0 to 1. It is an
        estimate, because it is not known which images withstand; it never falls.
      show_progress: Show the share and the time that is left on standard error.
      **options: The options of the attack.

    Returns:
      An `AttackResult`; with `epsilons` a list of them, in their order; None with `part`.

    Raises:
      InputError: An argument is invalid.
    """
    if part is not None and (output is None or not fixed_batch):
        raise errors.InputError(
            "part needs output, the folder that the parts share, and fixed_batch=True, so that "
            f"the result does not depend on the parts; received output={output!r}, "
            f"fixed_batch={fixed_batch!r}."
        )
    if epsilon is not None and epsilons is not None:
        raise errors.InputError("Pass epsilon or epsilons, not both.")
    inputs.check_integer("batch_size", batch_size, least=1)
    inputs.check_integer("seed", seed)
    if not isinstance(output, str | os.PathLike | None):
        raise errors.InputError(f"output must be a folder's path or None; got {output!r}.")
    if labels is None:
        images, labels = inputs.split_labelled_dataset(images)
    labels = inputs.validate_labels(labels)
    budgets = [inputs.validate_epsilon(epsilon, len(labels))]
    if epsilons is not None:
        budgets = inputs.validate_epsilons(epsilons)
    options |= {"bounds": inputs.validate_bounds(bounds), "seed": seed}
    # `logits_fn` stays alive in this function.
    classifier = wrap_classifier(logits_fn, pixel_range=pixel_range)
    inputs.check_unit_box(classifier, options["bounds"])
    largest_batch = int(batch_size)
    if not fixed_batch:
        # A power of two, so that not every number of images needs its own compilation.
        largest_batch = min(largest_batch, 1 << max(0, len(labels) - 1).bit_length())
    sweep = _Sweep(
        attacks=[build_attack(attack, budget, targets, options) for budget in budgets],
        budgets=budgets,
        classifiers=ClassifierPair.build(classifier),
        batch_size=largest_batch,
        targets=inputs.validate_targets(targets, labels),
        seed=seed,
        sizes=BatchSizes(largest_batch, can_shrink=not fixed_batch),
        on_progress=on_progress,
    )
    in_shards = output is not None or not hasattr(images, "shape")
    # Rows of one shape need no larger shards, and small ones can be cut into more parts.
    shard_size = batch_size * (1 if fixed_batch else BATCHES_PER_SHARD) if in_shards else None
    shards = inputs.iterate_shards(
        images, labels, ids=ids, bounds=options["bounds"], shard_size=shard_size
    )
    shard_results, start = [], 0
    num_images = len(labels)
    if part is not None:
        num_images = _count_images(num_images, shard_size, part)
    with (
        _open_share(sweep.attacks[0].name, show_progress, on_share) as report,
        # Results in memory do not outlive an interruption.
        contextlib.nullcontext(sweep.on_finished)
        if output is None
        else interruption.count_finished(num_images) as sweep.on_finished,
    ):
        if report is not None:
            sweep.shares = ShareCounter(num_images, len(budgets), report)
        for shard_number, examples in enumerate(shards):
            if not shard_number:
                sweep.prepare(examples, precision)
                if output is not None:
                    sweep.open_stores(output, examples, targets, precision)
            if part is None or part.owns(shard_number):
                shard_results.append(sweep.attack_shard(shard_number, start, examples))
            start += len(examples.labels)
    if part is not None:
        return None
    results = sweep.combine(shard_results)
    if logs_flags:
        for result in results:
            reliability.log_flags(sweep.attacks[0].name, result.flags)
    return results if epsilons is not None else results[0]


def _count_images(count: int, shard_size: int | None, part: Part) -> int:
    """Returns how many of `count` images are in the shards of a part."""
    starts = range(0, count, shard_size or max(count, 1))
    sizes = [min(starts.step, count - start) for start in starts]
    return sum(size for shard, size in enumerate(sizes) if part.owns(shard))


def _open_share(
    name: str, show_progress: bool, on_share: Callable[[float], None] | None
) -> contextlib.AbstractContextManager:
    """Returns a context with the function that is called with the share of the work."""
    if not show_progress:
        return contextlib.nullcontext(on_share)
    return progress.open_share(name, lines=True, on_share=on_share)


@dataclasses.dataclass
class _Sweep:
    """An attack at one budget or several.

    Attributes:
      attacks: The attack with the options of each budget.
      budgets: Each is a float; a single one may be float [n] or None.
      classifiers: The attacked classifier and the one that decides.
      batch_size: Rows per batch.
      targets: See `choose_labels`; int32 [n] are those of all examples.
      seed: Seed of random targets.
      sizes: Chooses the numbers of rows of batches.
      on_progress: Called with the number of examples that a stage has finished.
      on_finished: Called with the number of examples that are finished at every budget.
      num_finished: Those of the shards that are complete.
      stores: The folder of each budget; empty if nothing is stored.
      probe: What the classifier showed on the first batch.
      shares: Reports the share of the work that is done.
    """

    attacks: list[Method | FunctionAttack]
    budgets: list
    classifiers: ClassifierPair
    batch_size: int
    targets: Any
    seed: int
    sizes: BatchSizes
    on_progress: Callable[[int], None]
    on_finished: Callable[[int], None] = lambda count: None
    num_finished: int = 0
    stores: list[ShardStore] = dataclasses.field(default_factory=list)
    probe: ProbeInfo = dataclasses.field(default_factory=ProbeInfo)
    shares: ShareCounter | None = None

    def prepare(self, examples: ExampleBatch, precision: str) -> None:
        """Inspects the classifier on the first batch, before anything is attacked.

        Args:
          examples: The first shard.
          precision: Of the attacked copy, see `run`.
        """
        classifier: Any = self.classifiers.reference
        first_batch = examples.images[: self.batch_size]
        if len(first_batch):
            num_classes = classifier.inspect(first_batch).num_classes
            self.attacks = [attack.for_classes(num_classes) for attack in self.attacks]
            self.probe = classifier.probe(
                first_batch, needs_gradient=self.attacks[0].needs_gradients
            )
        if precision != "float32":
            surrogate = get_precision_copy(classifier, precision)
            self.classifiers = ClassifierPair(surrogate, classifier)

    def open_stores(
        self, output: str | os.PathLike, examples: ExampleBatch, targets: Any, precision: str
    ) -> None:
        """Opens a folder for each budget.

        Args:
          output: The folder of all budgets.
          examples: The first shard, where functions are told apart.
          targets: The targets as the user passed them.
          precision: Of the attacked copy.
        """
        first_batch = examples.images[: self.batch_size]
        classifier_digest = ""
        if len(first_batch):
            classifier_digest = compute_classifier_identity(self.classifiers.reference, first_batch)
        folder_names = [""]
        if len(self.budgets) > 1:
            folder_names = inputs.build_epsilon_folders(self.budgets)
        for attack, budget, name in zip(self.attacks, self.budgets, folder_names, strict=True):
            description = describe_attack(
                attack, batch_size=self.batch_size, targets=targets, epsilon=budget
            )
            description |= {"classifier": classifier_digest, "precision": precision}
            if not self.sizes.can_shrink:
                description["fixed_batch"] = True
            store = ShardStore(pathlib.Path(output) / name, description)
            self.stores.append(store)

    def attack_shard(
        self, shard_number: int, start: int, examples: ExampleBatch
    ) -> list[AttackResult]:
        """Attacks one shard at every budget, the smallest first.

        Examples with a success at a smaller budget are not attacked again, unless the attack
        always runs to its end. A minimum-norm attack searches once for all budgets.

        Args:
          shard_number: The number of the shard.
          start: The index of its first example.
          examples: The examples, without budgets.
        """
        results: list = [None] * len(self.budgets)
        # Results of this shard: of the smaller budgets, and of the search of a minimum-norm attack.
        smaller_result: Any = None
        search_result: Any = None
        label_choices = None
        order = list(range(len(self.budgets)))
        if len(order) > 1:
            order.sort(key=self.budgets.__getitem__)
        for i in order:
            attack, rows = self.attacks[i], self._set_budgets(examples, self.budgets[i], start)
            search_once = len(order) > 1 and attack.is_minimum_norm
            is_last = search_once or i == order[-1]
            result: Any = None
            if self.stores:
                result = self.stores[i].read(shard_number, rows, self.sizes)
            is_stored = result is not None
            if is_stored:
                self.on_progress(len(result))
            elif search_result is None:
                label_choices = label_choices or self._choose_labels(examples, start)
                if self.shares is not None:
                    self.shares.begin_attack(
                        attack, examples, number=order.index(i), num_choices=len(label_choices)
                    )
                use_smaller = smaller_result is not None and attack.stops_early
                result = run_stages(
                    attack,
                    self.classifiers,
                    examples if search_once else rows,
                    sizes=self.sizes,
                    label_choices=label_choices,
                    already_adversarial=smaller_result.success if use_smaller else None,
                    load_progress=self._open_unfinished(i, shard_number, rows),
                    on_progress=self.on_progress,
                    on_finished=functools.partial(self._report_finished, is_last),
                    shares=self.shares,
                )
                if search_once:
                    search_result = result
                elif use_smaller:
                    result = select_results(smaller_result.success, smaller_result, result)
                    result = dataclasses.replace(result, epsilon=rows.epsilon)
            if not is_stored and search_once:
                result = restrict_to_budgets(search_result, rows, attack.distance_norm)
            if self.stores and not is_stored:
                self.stores[i].write(shard_number, rows, result, self.sizes)
            if not search_once:
                smaller_result = result
            # Images that are on disk need not stay in memory.
            results[i] = result
        self.num_finished += len(examples.labels)
        self.on_finished(self.num_finished)
        if self.shares is not None:
            self.shares.end_shard(len(examples.labels))
        if self.stores:
            results = [dataclasses.replace(result, images=()) for result in results]
        return results

    def _report_finished(self, is_last_budget: bool, count: int) -> None:
        """Reports the examples that are finished at every budget."""
        self.on_finished(self.num_finished + (count if is_last_budget else 0))

    def _open_unfinished(self, i: int, shard_number: int, rows: ExampleBatch) -> Callable | None:
        if not self.stores:
            return None
        return self.stores[i].open_unfinished(shard_number, rows).load_progress

    def combine(self, shard_results: list[list[AttackResult]]) -> list[AttackResult]:
        """Returns the result of all examples at each budget."""
        results = []
        for i, budget_results in enumerate(zip(*shard_results, strict=True)):
            if self.stores:
                results.append(self.stores[i].combine(budget_results))
            else:
                images = np.concatenate([result.images for result in budget_results])
                results.append(concatenate_results(budget_results, images))
        return [self._add_flags(*pair) for pair in zip(self.attacks, results, strict=True)]

    def _add_flags(self, attack: Method | FunctionAttack, result: AttackResult) -> AttackResult:
        """Returns the result with the reasons to doubt it."""
        classifier: Any = self.classifiers.reference
        info = classifier.info
        if info is None:  # There were no images.
            return result
        images = reliability.EvaluatedImages(
            success=result.success,
            correct=result.correct,
            classes=result.classes,
            progress=result.progress,
            violations=result.violations,
            is_saturated=result.is_saturated,
            epsilon=result.epsilon,
            distances=result.distances["linf"],
        )
        flags = reliability.find_flags(attack, images, info, self.probe)
        return dataclasses.replace(result, flags=flags)

    def _set_budgets(self, examples: ExampleBatch, budget, start: int) -> ExampleBatch:
        if budget is None:
            return examples
        count = len(examples.labels)
        budget = np.asarray(budget, np.float32)
        epsilon = budget[start : start + count] if budget.ndim else np.full(count, budget)
        return examples._replace(epsilon=epsilon)

    def _choose_labels(self, examples: ExampleBatch, start: int) -> list[np.ndarray]:
        targets = self.targets
        if isinstance(targets, np.ndarray):
            targets = targets[start : start + len(examples.labels)]
        return choose_labels(
            self.classifiers, examples, targets, seed=self.seed, batch_size=self.batch_size
        )


def build_attack(
    attack: str | Callable, epsilon, targets, options: dict[str, Any]
) -> Method | FunctionAttack:
    """Returns an attack with its options, checked for one budget.

    Raises:
      InputError: The attack cannot use an option or the targets.
    """
    if options.get("targeted", False) is not False:
        raise errors.InputError(
            "run accepts no targeted option, because labels are the true classes; got "
            f"targeted={options['targeted']!r}. Pass targets=..., integers [n], 'least_likely', "
            "'random', 'second_likely' or 'all'."
        )
    method_class: Any = None
    if callable(attack):
        function: Any = attack
        name = getattr(attack, "__name__", "function")
    else:
        method_class, name = registry.traits(attack)["method"], attack
        function = None if method_class else registry.get(attack)
    if isinstance(targets, str) and targets != "all":
        losses.check_target_choice(targets)
    known_options = method_class.__dataclass_fields__ if method_class else ()
    options = dict(options)
    if epsilon is not None and (function or "epsilon" in known_options):
        options["epsilon"] = float(np.max(epsilon, initial=0))
    if targets is not None:
        if not ("targeted" in known_options or (function and accepts_option(function, "targeted"))):
            raise errors.InputError(f"{name} accepts no targets: it has no targeted form.")
        options["targeted"] = True
    if method_class:
        return create_method(method_class, options)
    bounds = options["bounds"]
    options = filter_options(function, options, name)
    norms.check_norm(options.get("norm", "linf"), DISTANCE_NORMS)
    return FunctionAttack(function, options, name, bounds)


def minimal_epsilon(
    attack: str | Callable,
    logits_fn: LogitsFn,
    images,
    labels,
    *,
    high: float,
    halvings: int = 10,
    ids=None,
    **options: Any,
) -> AttackResult:
    """Finds the smallest budget at which an attack succeeds, by bisection per example.

    Args:
      attack: An attack that accepts an epsilon, see `run`.
      logits_fn: The classifier.
      images: float [n, ...], an array.
      labels: int [n].
      high: The largest budget.
      halvings: The precision of the budget is high / 2**halvings. The budget of an image that is
        already misclassified is 0.
      ids: int [n], or None for 0, 1, 2, ...
      **options: The options of the attack, and those of `run` except epsilon, targets as an array
        and output.

    Returns:
      The result at the smallest budgets with success, which are its `epsilon`; NaN without
      success. The calls are those of all budgets, the flags those of the largest.

    Raises:
      InputError: An argument is invalid.
    """
    errors.check_number("high", high, above=0)
    inputs.check_integer("halvings", halvings, least=1)
    for name in ("epsilon", "epsilons", "output"):
        if name in options:
            raise errors.InputError(f"minimal_epsilon accepts no {name}: it chooses the budgets.")
    _check_can_bisect(attack, images)
    images, labels = np.asarray(images), inputs.validate_labels(labels)
    ids = inputs.validate_ids(ids, len(labels))
    failing = np.zeros(len(labels), np.float32)
    succeeding = np.full(len(labels), high, np.float32)

    def run_at(budget: np.ndarray) -> AttackResult:
        result: Any = run(attack, logits_fn, images, labels, ids=ids, epsilon=budget, **options)
        return result

    best_result = run_at(succeeding)
    options = {**options, "logs_flags": False}  # Those of the largest budget are logged.
    clean_result = run_at(failing)
    best_result = _merge_better(best_result, clean_result, clean_result.success)
    succeeding = np.where(clean_result.success, 0, succeeding)
    # The smallest budget is between the two.
    can_bisect = best_result.success & ~clean_result.success
    for _ in range(halvings):
        midpoint = (failing + succeeding) / 2
        result = run_at(np.where(can_bisect, midpoint, succeeding))
        better = result.success & can_bisect
        succeeding = np.where(better, midpoint, succeeding)
        failing = np.where(can_bisect & ~better, midpoint, failing)
        best_result = _merge_better(best_result, result, better)
    return dataclasses.replace(
        best_result, epsilon=np.where(best_result.success, succeeding, np.nan).astype(np.float32)
    )


def _check_can_bisect(attack: str | Callable, images) -> None:
    """Raises an InputError if there is no budget to bisect."""
    traits = isinstance(attack, str) and registry.traits(attack)
    if traits and traits["kind"] != "budget":
        raise errors.InputError(
            f"{attack} searches for the closest adversarial image itself and has no budget to "
            f"bisect. Use the distances of attacks.run({attack!r}, ...)."
        )
    if not hasattr(images, "shape"):
        raise errors.InputError(
            "minimal_epsilon attacks the images many times and needs an array [n, ...]; got a "
            f"{type(images).__name__}."
        )


def _merge_better(
    best_result: AttackResult, result: AttackResult, is_better: np.ndarray
) -> AttackResult:
    """Takes the rows of `result` where `is_better`, and adds the calls."""
    return dataclasses.replace(
        select_results(is_better, result, best_result),
        forward_calls=best_result.forward_calls + result.forward_calls,
        gradient_calls=best_result.gradient_calls + result.gradient_calls,
    )
