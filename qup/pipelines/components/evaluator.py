"""Steps 3 and 7: TA and RA of a classifier, and the blessing of its export."""

import dataclasses
import json
import logging
from typing import Any

import numpy as np
import tensorflow as tf

from qup.core import measurements, progress
from qup.core.errors import InputError
from qup.datasets import examples as example_files
from qup.models import saving
from qup.orchestration import In, Out, component
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import Examples, Model, ModelBlessing, ModelEvaluation
from qup.robustness import evaluation as robustness_evaluation
from qup.robustness.evaluation import evaluate_attack
from qup.uncertainty import measurements as uncertainty_measurements

_log = logging.getLogger("qup")
# Between the TA of a SavedModel and the one measured: rounding may turn an
# image in a thousand that lies on the border.
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
    """Attacks a classifier in every way that the settings ask for.

    Args:
      examples: The images.
      model: The classifier.
      evaluation: Its rows: "test_accuracy", and of each look
        "robust_accuracy" and "robust_accuracy_strict".
      blessing: BLESSED if the SavedModel, loaded in a fresh process, has the
        measured test accuracy.
      attack: The group `attack` of the settings, see qup/robustness/evaluation.py.
      split: The images to attack.
      seed: Of random starts.
      check_export: Load the SavedModel in a fresh process; else it is not
        blessed, and can not be pushed.
    """
    data = example_files.read(examples.path)
    classifier = artifacts.load_network(model.path)
    model_info = artifacts.load_model_info(model.path).with_parameters(split=split)
    rows = []
    for title, options, max_images in robustness_evaluation.build_attack_conditions(attack):
        _log.info("%s, epoch %d: %s", model_info.classifier, model_info.epochs, title)
        batches = data.evaluation_batches(split, attack["batch_size"], max_images=max_images)
        tracked_batches = progress.track(batches, title=title, total=len(batches), unit="batch")
        accuracies = evaluate_attack(
            classifier, tracked_batches, robustness_evaluation.bind_attack(options, seed=seed)
        )._asdict()
        rows += model_info.build_rows(accuracies.pop("test_accuracy"), accuracies, options)
    rows = list({row.key(): row for row in rows}.values())
    measurements.write_rows(evaluation.path / "measurements.csv", rows)
    blessing_record = {"measured": rows[0].value, "served": None, "reason": ""}
    if not check_export:
        _write_blessing(blessing, {**blessing_record, "reason": "not checked"}, blessed=False)
        return
    images, labels, _ = data.get_arrays(split)
    try:
        logits = saving.compute_served_logits(
            model.path / artifacts.SERVING,
            images,
            # Beside the outputs: the next start removes what a kill leaves.
            scratch=evaluation.path.parent,
        )
        blessing_record["served"] = 100 * float(np.mean(logits.argmax(-1) == labels))
    except InputError as error:
        # What was measured stays; the model is not pushed.
        blessing_record["reason"] = str(error)
    _bless_model(blessing, blessing_record)


def _bless_model(blessing: ModelBlessing, blessing_record: dict[str, Any]) -> None:
    blessed = (
        blessing_record["served"] is not None
        and abs(blessing_record["served"] - blessing_record["measured"]) <= _BLESSING_TOLERANCE
    )
    _write_blessing(blessing, blessing_record, blessed)
    served_text = (
        "none" if blessing_record["served"] is None else f"{blessing_record['served']:.2f}"
    )
    _log.log(
        logging.INFO if blessed else logging.WARNING,
        "the SavedModel in a fresh process: test accuracy %s, %.2f measured%s",
        served_text,
        blessing_record["measured"],
        blessing_record["reason"] and f"; {blessing_record['reason']}",
    )


def _write_blessing(
    blessing: ModelBlessing, blessing_record: dict[str, Any], blessed: bool
) -> None:
    (blessing.path / ("BLESSED" if blessed else "NOT_BLESSED")).touch()
    blessing.properties["blessed"] = blessed
    text = json.dumps(blessing_record, indent=1)
    (blessing.path / "blessing.json").write_text(text)


# TA and RA of any network at any temperature, beside its uncertainty.


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
    """Attacks logits / temperature once, as the settings say.

    The temperature leaves every decision as it is, and TA with it; RA moves
    where the attack's arithmetic does.

    Args:
      examples: The images.
      model: The classifier.
      evaluation: Its rows: "test_accuracy", "robust_accuracy" and
        "robust_accuracy_strict".
      attack: The group `attack` of the settings, see qup/robustness/evaluation.py.
      temperature: What logits are divided by.
      control: What the network is a control for; "" for none.
      num_images: How many images; None for all.
      split: The images to attack.
      seed: Of random starts.
    """
    data = example_files.read(examples.path)
    classifier = artifacts.load_classifier(model.path)

    def logits_at_temperature(images: tf.Tensor) -> tf.Tensor:
        return classifier(images, training=False) / temperature

    options = robustness_evaluation.build_attack_options(attack)
    size = min(attack["batch_size"], num_images or data.info.sizes[split])
    batches = data.evaluation_batches(split, size, max_images=num_images)
    accuracies = evaluate_attack(
        logits_at_temperature, batches, robustness_evaluation.bind_attack(options, seed=seed)
    )
    values = accuracies._asdict()
    model_info = artifacts.load_model_info(model.path).with_parameters(
        split=split,
        temperature=temperature,
        control=control,
        evaluation=uncertainty_measurements.EVALUATION,
    )
    model_info = dataclasses.replace(model_info, seed=seed)
    rows = model_info.build_rows(values.pop("test_accuracy"), values, options)
    measurements.write_rows(evaluation.path / "measurements.csv", rows)
    _log.info(
        "%s, T = %g: TA %.2f, RA %.2f",
        model_info.model,
        temperature,
        accuracies.test_accuracy.value,
        accuracies.robust_accuracy.value,
    )
