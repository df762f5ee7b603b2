"""An attack ready to be run on examples: method or function, and its aim."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from qup import attacks
from qup.attacks import inputs, losses, results, stages, store
from qup.attacks.inputs import ExampleBatch
from qup.attacks.method import Method
from qup.attacks.results import DISTANCE_NORMS, AttackResult, select_closest
from qup.attacks.stages import ClassifierPair, FunctionAttack
from qup.core import compilation, errors, hashing, norms, prng
from qup.core.types import Bounds

ProgressCallback = Callable[[int], None]


@dataclasses.dataclass(frozen=True)
class AttackRunner:
    """What solves examples.

    Attributes:
      name: Of the attack.
      method: The attack, checked; None where it is a plain function.
      function: attack(logits_fn, images, labels, **options), else None.
      options: Of the function.
      bounds: The pixel box, or None.
      classifiers: Who is attacked, and who decides.
      batch_size: Rows a batch.
      targets: int [n], the name of a choice (see `targets`), "all" other
        classes in turn, or None.
      epsilon: The budget, a float, float [n], or None.
      seed: Drives the random choice of targets.
    """

    name: str
    method: Method | None
    function: Callable | None
    options: dict[str, Any]
    bounds: Bounds
    classifiers: ClassifierPair
    batch_size: int
    targets: Any
    epsilon: Any
    seed: int

    @property
    def is_minimum_norm(self) -> bool:
        """Whether the attack looks for the nearest adversarial image."""
        kind = self.method and self.method.traits["kind"]
        return kind == "minimum_norm"

    @property
    def stops_early(self) -> bool:
        """Whether what broke at a small budget is the answer at a larger."""
        return self.method is not None and getattr(self.method, "keep", "") != "last"

    @property
    def distance_norm(self) -> str:
        """The norm by which the attack counts."""
        if self.method is None:
            return self.options.get("norm", "linf")
        return self.method.distance_norm

    def describe(self) -> dict[str, Any]:
        """Returns what tells this attack from another, of JSON values."""
        options = self.options if self.method is None else vars(self.method)
        description = {
            "attack": self.name,
            "options": {key: _to_json_value(value) for key, value in options.items()},
            "batch_size": self.batch_size,
            "targets": _to_json_value(self.targets),
            "epsilon": _to_json_value(self.epsilon),
        }
        if self.function is not None:
            description["function"] = store.compute_function_digest(self.function)
        return json.loads(json.dumps(description, default=repr))

    def run(
        self,
        examples: ExampleBatch,
        target_labels: np.ndarray | None,
        already_adversarial: np.ndarray | None = None,
        on_progress: ProgressCallback = lambda count: None,
    ) -> AttackResult:
        """Attacks examples.

        Args:
          examples: The examples, with their true labels.
          target_labels: int32 [n], targets given one by one, or None.
          already_adversarial: bool [n], examples to leave alone; None for none.
          on_progress: Called with the number of examples finished.

        Raises:
          InputError: A label that is no class, or what the attack refuses.
        """
        if len(examples.labels):
            first_batch = tf.constant(examples.images[: self.batch_size])
            classifier_info = inputs.inspect_classifier(self.classifiers.surrogate, first_batch)
            inputs.check_label_range(examples.labels, classifier_info.num_classes)
            if target_labels is not None:
                inputs.check_label_range(target_labels, classifier_info.num_classes, "Targets")
        if self.targets is None:
            return self._run_once(examples, already_adversarial, on_progress)
        if target_labels is not None:
            return self._run_once(
                examples._replace(labels=target_labels), already_adversarial, on_progress
            )
        logits = self._predict_logits(examples.images)
        if self.targets != "all":
            keys = prng.make_keys(self.seed, examples.ids)
            target_labels = losses.choose_targets(self.targets, logits, examples.labels, keys)
            examples = examples._replace(labels=target_labels.numpy())
            return self._run_once(examples, already_adversarial, on_progress)
        results_by_rank = []
        for rank in range(1, logits.shape[1]):
            target_labels = losses.select_ranked_class(logits, examples.labels, rank).numpy()
            results_by_rank.append(
                self._run_once(
                    examples._replace(labels=target_labels), already_adversarial, on_progress
                )
            )
        return select_closest(results_by_rank, self.distance_norm)

    def _predict_logits(self, images: np.ndarray) -> tf.Tensor:
        logits_batches = []
        for start in range(0, len(images), self.batch_size):
            rows = np.arange(start, start + self.batch_size)
            rows = np.minimum(rows, len(images) - 1)
            logits = compilation.predict(self.classifiers.reference, images[rows])
            logits_batches.append(logits[: len(images) - start])
        return tf.concat(logits_batches, 0)

    def _run_once(
        self, examples: ExampleBatch, already_adversarial, on_progress: ProgressCallback
    ) -> AttackResult:
        if self.method is not None:
            return stages.run_stages(
                self.method,
                self.classifiers,
                examples,
                batch_size=self.batch_size,
                on_progress=on_progress,
                already_adversarial=already_adversarial,
            )
        return self._run_function(examples, on_progress)

    def _run_function(self, examples: ExampleBatch, on_progress: ProgressCallback) -> AttackResult:
        """Runs a plain function, whose calls nobody counts."""
        count = len(examples.labels)
        attack = FunctionAttack(
            self.function, self.options, self.name, self.bounds, self.batch_size
        )
        images = attack.run(self.classifiers.surrogate, examples, on_progress)
        evaluation = results.evaluate_images(
            self.classifiers.reference,
            examples.images,
            images,
            examples.labels,
            targeted=bool(self.options.get("targeted", False)),
            batch_size=self.batch_size,
        )
        success = evaluation.succeeds_within(self.distance_norm, examples.epsilon)
        shape = [-1] + [1] * (images.ndim - 1)
        return AttackResult(
            images=np.where(success.reshape(shape), images, examples.images),
            success=success,
            distances={
                norm: np.where(success, distance, 0.0)
                for norm, distance in evaluation.distances.items()
            },
            forward_calls=np.full(count, np.nan),
            gradient_calls=np.full(count, np.nan),
            stage=np.where(success, 0, -1).astype(np.int32),
            stages=(self.name,),
            epsilon=examples.epsilon,
        )


def _to_json_value(value: Any) -> Any:
    """Returns a short JSON value that tells one value from another."""
    if isinstance(value, np.ndarray | list) or tf.is_tensor(value):
        content = np.ascontiguousarray(value)
        return f"{content.shape} {hashing.bytes_digest(content)}"
    return value


# From what a user names to an `AttackRunner`, everything checked.


def build_attack_runner(
    attack: str | Callable,
    classifiers: ClassifierPair,
    epsilon,
    targets,
    batch_size: int,
    options: dict[str, Any],
) -> AttackRunner:
    """Prepares an attack for one budget.

    Args:
      attack: A registered name or a function, see `run`.
      classifiers: Who is attacked, and who decides.
      epsilon: The budget, a float, float [n], or None.
      targets: See `run`.
      batch_size: Rows a batch.
      options: The attack's own, with bounds and seed.

    Raises:
      InputError: An option or targets that the attack cannot use.
    """
    if options.get("targeted", False) is not False:
        raise errors.InputError(
            "run takes no targeted: labels are the true classes, and must "
            f"not be taken for targets; got {options['targeted']!r}. Name "
            "the targets by targets=..., integers [n], 'least_likely', "
            "'random', 'second_likely' or 'all'."
        )
    method, function, name = _resolve_attack(attack)
    if isinstance(targets, str) and targets != "all":
        losses.check_target_choice(targets)
    arguments = dict(options)
    if epsilon is not None and (function or _has_option(method, "epsilon")):
        arguments["epsilon"] = float(np.max(epsilon, initial=0))
    if targets is not None:
        if not (function and stages.accepts_option(function, "targeted")) and not _has_option(
            method, "targeted"
        ):
            raise errors.InputError(f"{name} takes no targets: it has no targeted form.")
        arguments["targeted"] = True
    if function is not None:
        arguments = stages.filter_options(function, arguments, name)
        norms.check_norm(arguments.get("norm", "linf"), DISTANCE_NORMS)
    return AttackRunner(
        name=name,
        method=method and attacks.build_method(name, **arguments),
        function=function,
        options={} if method else arguments,
        bounds=options["bounds"],
        classifiers=classifiers,
        batch_size=batch_size,
        targets=targets,
        epsilon=epsilon,
        seed=options["seed"],
    )


def _resolve_attack(attack: str | Callable) -> tuple[type | None, Callable | None, str]:
    """Returns the attack as a method or as a function, and its name."""
    if callable(attack):
        return None, attack, getattr(attack, "__name__", "function")
    method = attacks.traits(attack)["method"]
    return method, None if method else attacks.get(attack), attack


def _has_option(method: type | None, option: str) -> bool:
    return method is not None and option in method.__dataclass_fields__
