"""Steps 3 and 7: TA and RA of a classifier, and the blessing of its export."""

import json
import logging
from typing import Any

import numpy as np

from qup import export, looks, measurements, progress
from qup.components import artifacts
from qup.components.artifacts import (
    Examples,
    Model,
    ModelBlessing,
    ModelEvaluation,
)
from qup.datasets import examples as files_of_examples
from qup.errors import InputError
from qup.evaluation import attacked
from qup.orchestration import In, Out, component

_log = logging.getLogger("qup")
# Between the TA of a SavedModel and the one measured: rounding may turn an
# image in a thousand that lies on the border.
_TOLERANCE = 0.1


@component
def Evaluator(
    examples: In[Examples],
    model: In[Model],
    evaluation: Out[ModelEvaluation],
    blessing: Out[ModelBlessing],
    *,
    attack: dict[str, Any],
    split: str = "test",
    seed: int = 0,
    check_export: bool = True,
) -> None:
    """Attacks a classifier in every way that the settings ask for.

    Args:
      examples: The images.
      model: The classifier.
      evaluation: Its rows: "test_accuracy", and of each look
        "robust_accuracy" and "robust_accuracy_strict".
      blessing: BLESSED if the SavedModel, loaded in a fresh process, has the
        measured test accuracy.
      attack: The group `attack` of the settings, see qup/looks.py.
      split: The images to attack.
      seed: Of random starts.
      check_export: Load the SavedModel in a fresh process; else it is not
        blessed, and can not be pushed.
    """
    data = files_of_examples.read(examples.path)
    classifier = artifacts.load_network(model.path)
    subject = artifacts.subject(model.path).such(split=split)
    rows = []
    for title, options, limit in looks.looks(attack):
        _log.info("%s, epoch %d: %s", subject.classifier, subject.epochs, title)
        batches = data.evaluation_batches(
            split, attack["batch_size"], limit=limit
        )
        seen = progress.bar(
            batches, title=title, total=len(batches), unit="batch"
        )
        found = attacked(
            classifier, seen, looks.bound(options, seed=seed)
        )._asdict()
        rows += subject.rows(found.pop("test_accuracy"), found, options)
    rows = list({row.key(): row for row in rows}.values())
    measurements.write(evaluation.path / "measurements.csv", rows)
    told = {"measured": rows[0].value, "served": None, "reason": ""}
    if not check_export:
        _keep(blessing, {**told, "reason": "not checked"}, blessed=False)
        return
    images, labels, _ = data.arrays(split)
    try:
        logits = export.served_logits(
            model.path / artifacts.SERVING,
            images,
            # Beside the outputs: the next start removes what a kill leaves.
            scratch=evaluation.path.parent,
        )
        told["served"] = 100 * float(np.mean(logits.argmax(-1) == labels))
    except InputError as error:
        # What was measured stays; the model is not pushed.
        told["reason"] = str(error)
    _bless(blessing, told)


def _bless(blessing: ModelBlessing, told: dict[str, Any]) -> None:
    blessed = (
        told["served"] is not None
        and abs(told["served"] - told["measured"]) <= _TOLERANCE
    )
    _keep(blessing, told, blessed)
    served = "none" if told["served"] is None else f"{told['served']:.2f}"
    _log.log(
        logging.INFO if blessed else logging.WARNING,
        "the SavedModel in a fresh process: test accuracy %s, %.2f measured%s",
        served, told["measured"], told["reason"] and f"; {told['reason']}",
    )  # fmt: skip


def _keep(blessing: ModelBlessing, told: dict[str, Any], blessed: bool) -> None:
    (blessing.path / ("BLESSED" if blessed else "NOT_BLESSED")).touch()
    blessing.properties["blessed"] = blessed
    text = json.dumps(told, indent=1)
    (blessing.path / "blessing.json").write_text(text)
