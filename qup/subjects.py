"""What is measured, and the rows that come of it.

A subject travels with the classifier that it describes (`write_model_info`, `read_model_info`),
so that whoever measures it needs no settings.
"""

import dataclasses
import json
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

from qup import errors, evaluation, files
from qup.measurements import Row

_log = logging.getLogger("qup")


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """A classifier, and what all of its rows have in common.

    Attributes:
      dataset: Name of the dataset.
      model: Name of the architecture.
      classifier: "CL" (alone) or "ACL" (behind a translator).
      epochs: Epochs of the classifier.
      seed: The run's seed.
      parameters: What else the measurements depend on; JSON values.
    """

    dataset: str
    model: str
    classifier: str
    epochs: int
    seed: int
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def with_parameters(self, **parameters: Any) -> "ModelInfo":
        """Returns the subject with further parameters."""
        merged = {**self.parameters, **parameters}
        return dataclasses.replace(self, parameters=merged)

    def build_row(
        self, measure: str, accuracy: evaluation.Accuracy, attack: Mapping[str, Any] | None = None
    ) -> Row:
        """Returns one row.

        Args:
          measure: "test_accuracy", ...
          accuracy: The value.
          attack: The attack's name, epsilon and further options; None for a
            measure without.
        """
        options = dict(attack or {})
        return Row(
            dataset=self.dataset,
            model=self.model,
            classifier=self.classifier,
            attack=options.pop("name", ""),
            epsilon=options.pop("epsilon", None),
            measure=measure,
            value=accuracy.value,
            stderr=accuracy.stderr,
            n=accuracy.n,
            epochs=self.epochs,
            seed=self.seed,
            parameters={**self.parameters, **options},
        )

    def build_rows(
        self,
        clean: evaluation.Accuracy,
        attacked: Mapping[str, evaluation.Accuracy],
        attack: Mapping[str, Any],
    ) -> list[Row]:
        """Returns the rows of one look.

        A robust accuracy above the clean one, the sign of a broken attack,
        is warned of and becomes a row of its own.

        Args:
          clean: TA.
          attacked: Measure to its value under attack; "robust_accuracy" is
            one.
          attack: See `row`.
        """
        rows = [self.build_row("test_accuracy", clean)]
        rows += [self.build_row(m, a, attack) for m, a in attacked.items()]
        robust = attacked["robust_accuracy"]
        if robust.value > clean.value:
            _log.warning(
                "%s: robust accuracy %.2f is above test accuracy %.2f: the "
                "attack is broken or its gradients are masked. (%s)",
                self.classifier,
                robust.value,
                clean.value,
                {**self.parameters, **attack},
            )
            excess = robust._replace(value=robust.value - clean.value, stderr=None)
            rows.append(self.build_row("robust_accuracy_excess", excess, attack))
        return rows


def write_model_info(model_info: ModelInfo, path: pathlib.Path) -> None:
    """Writes a subject as JSON."""
    text = json.dumps(dataclasses.asdict(model_info), indent=1, sort_keys=True)
    files.write_text(path, text)


def read_model_info(path: pathlib.Path) -> ModelInfo:
    """Reads what `write_model_info` wrote, or raises an InputError."""
    try:
        return ModelInfo(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        message = f"{path} describes no classifier: {error}."
        raise errors.InputError(message) from error
