"""What is attacked, and the rows that come of it."""

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from qup import evaluation
from qup.measurements import Row
from qup.pipelines.opening import Run

_log = logging.getLogger("qup")


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is attacked, and what all of its rows have in common.

    Attributes:
      run: The run.
      name: "CL" or "ACL".
      epochs: Epochs of the classifier.
      parameters: What the measurements depend on beside the attack.
    """

    run: Run
    name: str
    epochs: int
    parameters: Mapping[str, Any]

    def rows(
        self,
        clean: evaluation.Accuracy,
        attacked: Mapping[str, evaluation.Accuracy],
        options: Mapping[str, Any],
    ) -> list[Row]:
        """Returns the rows of one look.

        A robust accuracy above the clean one, the sign of a broken attack,
        is warned of and becomes a row of its own.

        Args:
          clean: TA.
          attacked: Measure to its value under attack; "robust_accuracy" is
            one.
          options: The attack's.
        """
        rows = [self._row("test_accuracy", clean)]
        rows += [self._row(m, a, options) for m, a in attacked.items()]
        robust = attacked["robust_accuracy"]
        if robust.value > clean.value:
            _log.warning(
                "%s: robust accuracy %.2f is above test accuracy %.2f: the "
                "attack is broken or its gradients are masked. (%s)",
                self.name, robust.value, clean.value,
                {**self.parameters, **options},
            )  # fmt: skip
            excess = robust._replace(
                value=robust.value - clean.value, stderr=None
            )
            rows.append(self._row("robust_accuracy_excess", excess, options))
        return rows

    def _row(self, measure, accuracy, options=None) -> Row:
        config = self.run.config
        return Row(
            dataset=self.run.data.info.name,
            model=config.model.name,
            classifier=self.name,
            attack="" if options is None else config.attack.name,
            epsilon=None if options is None else float(config.attack.epsilon),
            measure=measure,
            value=accuracy.value,
            stderr=accuracy.stderr,
            n=accuracy.n,
            epochs=self.epochs,
            seed=config.seed,
            parameters={**self.parameters, **(options or {})},
        )
