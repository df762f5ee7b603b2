"""An attack ready to be run on examples: method or function, and its aim."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from qup import compilation, draws
from qup.attacks import targets as choices
from qup.attacks.base import checks, likeness, parts, verdict
from qup.attacks.base.called import FunctionAttack
from qup.attacks.base.engine import ExampleBatch
from qup.attacks.base.method import Method
from qup.attacks.base.parts import ClassifierPair
from qup.attacks.base.result import AttackResult, select_closest
from qup.core import hashing
from qup.types import Bounds

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
            description["function"] = likeness.compute_function_digest(self.function)
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
            classifier_info = checks.inspect_classifier(self.classifiers.surrogate, first_batch)
            checks.check_label_range(examples.labels, classifier_info.num_classes)
            if target_labels is not None:
                checks.check_label_range(target_labels, classifier_info.num_classes, "Targets")
        if self.targets is None:
            return self._run_once(examples, already_adversarial, on_progress)
        if target_labels is not None:
            return self._run_once(
                examples._replace(labels=target_labels), already_adversarial, on_progress
            )
        logits = self._predict_logits(examples.images)
        if self.targets != "all":
            keys = draws.make_keys(self.seed, examples.ids)
            target_labels = choices.choose_targets(self.targets, logits, examples.labels, keys)
            examples = examples._replace(labels=target_labels.numpy())
            return self._run_once(examples, already_adversarial, on_progress)
        results_by_rank = []
        for rank in range(1, logits.shape[1]):
            target_labels = choices.select_ranked_class(logits, examples.labels, rank).numpy()
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
            return parts.run_stages(
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
        evaluation = verdict.evaluate_images(
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
