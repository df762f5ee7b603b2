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
from qup.attacks.base.called import Call
from qup.attacks.base.engine import Given
from qup.attacks.base.method import Method
from qup.attacks.base.parts import Classifiers
from qup.attacks.base.result import AttackResult, nearest
from qup.core import hashing
from qup.types import Bounds

Tick = Callable[[int], None]


@dataclasses.dataclass(frozen=True)
class Attacker:
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
    classifiers: Classifiers
    batch_size: int
    targets: Any
    epsilon: Any
    seed: int

    @property
    def minimum_norm(self) -> bool:
        """Whether the attack looks for the nearest adversarial image."""
        kind = self.method and self.method.traits["kind"]
        return kind == "minimum_norm"

    @property
    def stops_early(self) -> bool:
        """Whether what broke at a small budget is the answer at a larger."""
        return (
            self.method is not None
            and getattr(self.method, "keep", "") != "last"
        )

    @property
    def measured(self) -> str:
        """The norm by which the attack counts."""
        if self.method is None:
            return self.options.get("norm", "linf")
        return self.method.measured

    def description(self) -> dict[str, Any]:
        """Returns what tells this attack from another, of JSON values."""
        options = self.options if self.method is None else vars(self.method)
        told = {
            "attack": self.name,
            "options": {key: _plain(value) for key, value in options.items()},
            "batch_size": self.batch_size,
            "targets": _plain(self.targets),
            "epsilon": _plain(self.epsilon),
        }
        if self.function is not None:
            told["function"] = likeness.digest(self.function)
        return json.loads(json.dumps(told, default=repr))

    def solve(
        self,
        given: Given,
        goals: np.ndarray | None,
        solved: np.ndarray | None = None,
        tick: Tick = lambda count: None,
    ) -> AttackResult:
        """Attacks examples.

        Args:
          given: The examples, with their true labels.
          goals: int32 [n], targets given one by one, or None.
          solved: bool [n], examples to leave alone; None for none.
          tick: Called with the number of examples finished.

        Raises:
          InputError: A label that is no class, or what the attack refuses.
        """
        if len(given.labels):
            first = tf.constant(given.images[: self.batch_size])
            told = checks.answers(self.classifiers.attacked, first)
            checks.check_labels(given.labels, told.num_classes)
            if goals is not None:
                checks.check_labels(goals, told.num_classes, "Targets")
        if self.targets is None:
            return self._once(given, solved, tick)
        if goals is not None:
            return self._once(given._replace(labels=goals), solved, tick)
        logits = self._logits(given.images)
        if self.targets != "all":
            keys = draws.keys(self.seed, given.ids)
            goals = choices.choose(self.targets, logits, given.labels, keys)
            given = given._replace(labels=goals.numpy())
            return self._once(given, solved, tick)
        found = []
        for rank in range(1, logits.shape[1]):
            goals = choices.ranked(logits, given.labels, rank).numpy()
            found.append(self._once(given._replace(labels=goals), solved, tick))
        return nearest(found, self.measured)

    def _logits(self, images: np.ndarray) -> tf.Tensor:
        found = []
        for start in range(0, len(images), self.batch_size):
            rows = np.arange(start, start + self.batch_size)
            rows = np.minimum(rows, len(images) - 1)
            logits = compilation.predict(
                self.classifiers.deciding, images[rows]
            )
            found.append(logits[: len(images) - start])
        return tf.concat(found, 0)

    def _once(self, given: Given, solved, tick: Tick) -> AttackResult:
        if self.method is not None:
            return parts.attack(
                self.method, self.classifiers, given,
                batch_size=self.batch_size, tick=tick, solved=solved,
            )  # fmt: skip
        return self._called(given, tick)

    def _called(self, given: Given, tick: Tick) -> AttackResult:
        """Runs a plain function, whose calls nobody counts."""
        count = len(given.labels)
        call = Call(
            self.function, self.options, self.name, self.bounds,
            self.batch_size,
        )  # fmt: skip
        images = call.images(self.classifiers.attacked, given, tick)
        judged = verdict.judge(
            self.classifiers.deciding, given.images, images, given.labels,
            targeted=bool(self.options.get("targeted", False)),
            batch_size=self.batch_size,
        )  # fmt: skip
        won = judged.within(self.measured, given.epsilon)
        shape = [-1] + [1] * (images.ndim - 1)
        return AttackResult(
            images=np.where(won.reshape(shape), images, given.images),
            success=won,
            distances={
                norm: np.where(won, far, 0.0)
                for norm, far in judged.distances.items()
            },
            forward_calls=np.full(count, np.nan),
            gradient_calls=np.full(count, np.nan),
            stage=np.where(won, 0, -1).astype(np.int32),
            stages=(self.name,),
            epsilon=given.epsilon,
        )


def _plain(value: Any) -> Any:
    """Returns a short JSON value that tells one value from another."""
    if isinstance(value, np.ndarray | list) or tf.is_tensor(value):
        content = np.ascontiguousarray(value)
        return f"{content.shape} {hashing.bytes_digest(content)}"
    return value
