"""TA and RA of any network at any temperature, beside its uncertainty."""

import dataclasses
import logging
from typing import Any

import tensorflow as tf

from qup import looks, measurements, uncertainty_rows
from qup.components import artifacts
from qup.components.artifacts import Examples, Model, ModelEvaluation
from qup.datasets import examples as files_of_examples
from qup.evaluation import evaluate_attack
from qup.orchestration import In, Out, component

_log = logging.getLogger("qup")


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
      attack: The group `attack` of the settings, see qup/looks.py.
      temperature: What logits are divided by.
      control: What the network is a control for; "" for none.
      num_images: How many images; None for all.
      split: The images to attack.
      seed: Of random starts.
    """
    data = files_of_examples.read(examples.path)
    classifier = artifacts.load_classifier(model.path)

    def logits_at_temperature(images: tf.Tensor) -> tf.Tensor:
        return classifier(images, training=False) / temperature

    options = looks.build_attack_options(attack)
    size = min(attack["batch_size"], num_images or data.info.sizes[split])
    batches = data.evaluation_batches(split, size, max_images=num_images)
    accuracies = evaluate_attack(
        logits_at_temperature, batches, looks.bind_attack(options, seed=seed)
    )
    values = accuracies._asdict()
    model_info = artifacts.load_model_info(model.path).with_parameters(
        split=split,
        temperature=temperature,
        control=control,
        evaluation=uncertainty_rows.EVALUATION,
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
