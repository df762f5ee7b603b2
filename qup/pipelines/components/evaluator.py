"""TA and RA of a classifier, and the blessing of its SavedModel."""

import dataclasses
import json
import logging
from typing import Any

import numpy as np
import tensorflow as tf

from qup.core import progress
from qup.core.errors import InputError
from qup.core.measurements import UNCERTAINTY_EVALUATION
from qup.models import saving
from qup.orchestration import In, Out, component
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import Examples, Model, ModelBlessing, ModelEvaluation
from qup.robustness.evaluation import (
    bind_attack,
    build_attack_conditions,
    build_attack_options,
    evaluate_attack,
)

_log = logging.getLogger("qup")
# Percent between the TA of the SavedModel and the measured TA: rounding may
# change the class of one image in a thousand at the decision boundary.
_BLESSING_TOLERANCE = 0.1


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
    """Attacks a classifier under every condition that the settings name.

    Args:
      evaluation: "test_accuracy", and "robust_accuracy" and
        "robust_accuracy_strict" of each condition, and "reliability".
      blessing: BLESSED if the SavedModel, loaded in a new process, has the
        measured test accuracy.
      check_export: Load the SavedModel in a new process. Otherwise the model
        is not blessed, and cannot be pushed.
    """
    data, classifier, model_info = artifacts.load_inputs(examples, model, split=split)
    rows = []
    for title, options, max_images in build_attack_conditions(attack):
        _log.info("%s, epoch %d: %s", model_info.classifier, model_info.epochs, title)
        batches = data.evaluation_batches(split, attack["batch_size"], max_images=max_images)
        tracked_batches = progress.track(batches, title=title, total=len(batches), unit="batch")
        accuracies = evaluate_attack(classifier, tracked_batches, bind_attack(options, seed=seed))
        rows += accuracies.build_rows(model_info, options)
    rows = list({row.key(): row for row in rows}.values())
    artifacts.write_rows(evaluation, rows)
    record = {"measured": rows[0].value, "served": None, "reason": ""}
    if not check_export:
        _write_blessing(blessing, {**record, "reason": "not checked"}, blessed=False)
        return
    images, labels, _ = data.get_arrays(split)
    try:
        logits = saving.compute_served_logits(
            model.path / artifacts.SERVING,
            images,
            # Next to the outputs, where the next start removes files of a killed process.
            scratch=evaluation.path.parent,
        )
        record["served"] = 100 * float(np.mean(logits.argmax(-1) == labels))
    except InputError as error:
        # The measurements stay; the model is not pushed.
        record["reason"] = str(error)
    _bless_model(blessing, record)


def _bless_model(blessing: ModelBlessing, record: dict[str, Any]) -> None:
    served, measured = record["served"], record["measured"]
    blessed = served is not None and abs(served - measured) <= _BLESSING_TOLERANCE
    _write_blessing(blessing, record, blessed)
    _log.log(
        logging.INFO if blessed else logging.WARNING,
        "SavedModel in a new process: test accuracy %s, measured %.2f%s",
        "none" if served is None else f"{served:.2f}",
        measured,
        record["reason"] and f"; {record['reason']}",
    )


def _write_blessing(blessing: ModelBlessing, record: dict[str, Any], blessed: bool) -> None:
    (blessing.path / ("BLESSED" if blessed else "NOT_BLESSED")).touch()
    blessing.properties["blessed"] = blessed
    (blessing.path / "blessing.json").write_text(json.dumps(record, indent=1))


@component
def AccuracyMeter(
    examples: In[Examples],
    model: In[Model],
    evaluation: Out[ModelEvaluation],
    *,
    attack: dict[str, Any],
    temperature: float = 1.0,
    control: str = "",
    num_images: int | None = None,
    split: str = "test",
    seed: int = 0,
) -> None:
    """Attacks logits / temperature once.

    The temperature does not change any predicted class, nor TA; RA changes
    where the attack's arithmetic does.

    Args:
      evaluation: "test_accuracy", "robust_accuracy" and "robust_accuracy_strict".
      temperature: Divisor of the logits.
      control: What the network is a control for; "" for none.
    """
    data, classifier, model_info = artifacts.load_inputs(
        examples,
        model,
        split=split,
        temperature=temperature,
        control=control,
        evaluation=UNCERTAINTY_EVALUATION,
    )
    model_info = dataclasses.replace(model_info, seed=seed)

    def logits_at_temperature(images: tf.Tensor) -> tf.Tensor:
        return classifier(images, training=False) / temperature

    options = build_attack_options(attack)
    size = min(attack["batch_size"], num_images or data.info.sizes[split])
    batches = data.evaluation_batches(split, size, max_images=num_images)
    accuracies = evaluate_attack(logits_at_temperature, batches, bind_attack(options, seed=seed))
    rows = accuracies.build_rows(model_info, options)
    artifacts.write_rows(evaluation, rows)
    _log.info(
        "%s, T = %g: TA %.2f, RA %.2f",
        model_info.model,
        temperature,
        accuracies.test_accuracy.value,
        accuracies.robust_accuracy.value,
    )
