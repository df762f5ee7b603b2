"""Fig. 1: one image that FGSM turns, and the accuracies it stands for."""

import dataclasses
import logging
from typing import Any

import numpy as np

from qup import example, looks, measurements
from qup.components import artifacts
from qup.components.artifacts import Examples, Model, ModelEvaluation
from qup.datasets import examples as files_of_examples
from qup.evaluation import Accuracy, evaluate_attack
from qup.example import AttackExample
from qup.measurements import Row
from qup.orchestration import In, Out, component
from qup.subjects import ModelInfo

_log = logging.getLogger("qup")
_EXAMPLE_FILE = "example.npz"


@component
def ExampleDrawer(
    examples: In[Examples],
    model: In[Model],
    evaluation: Out[ModelEvaluation],
    *,
    attack: dict[str, Any],
    num_images: int | None = None,
    split: str = "test",
    batch_size: int = 128,
    seed: int = 0,
) -> None:
    """Shows one attacked image, and TA and RA of all.

    Args:
      examples: The images.
      model: The classifier.
      evaluation: Its rows: "test_accuracy", "robust_accuracy" and
        "robust_accuracy_strict", and of the image "clean_confidence" and
        "attacked_confidence" in percent, of the class that the network
        names; and example.npz, see `example.Example.arrays`.
      attack: Name, epsilon and options, as `looks.bound` takes them: the
        figure's is {"name": "fgsm", "epsilon": 8 / 255, "norm": "linf",
        "loss": "cross_entropy", "pixel_clip": True}.
      num_images: How many images; None for all.
      split: Where they are from.
      batch_size: Images a batch.
      seed: Of a random attack.
    """
    data = files_of_examples.read(examples.path)
    classifier = artifacts.load_classifier(model.path)
    bound_attack = looks.bind_attack(attack, seed=seed)
    size = min(batch_size, num_images or data.info.sizes[split])
    batches = data.evaluation_batches(split, size, max_images=num_images)
    values = evaluate_attack(classifier, batches, bound_attack)._asdict()
    images, labels, ids = (a[:num_images] for a in data.get_arrays(split))
    attacked_example = example.find_example(
        classifier, images, labels, ids, bound_attack, batch_size=size
    )
    model_info = artifacts.load_model_info(model.path).with_parameters(split=split, figure="fig1")
    rows = model_info.build_rows(values.pop("test_accuracy"), values, attack)
    rows += _build_confidence_rows(model_info, attacked_example, data.info.class_names, attack)
    arrays = attacked_example.to_arrays(data.info.class_names)
    np.savez(evaluation.path / _EXAMPLE_FILE, **arrays)
    measurements.write_rows(evaluation.path / "measurements.csv", rows)
    _log.info(
        "Fig. 1: image %d, %s", attacked_example.id, example.SELECTION_RULES[attacked_example.rule]
    )


def _build_confidence_rows(
    model_info: ModelInfo,
    attacked_example: AttackExample,
    class_names: tuple[str, ...],
    attack: dict[str, Any],
) -> list[Row]:
    """Returns the two rows of the image; one image has no error."""
    model_info = model_info.with_parameters(
        image_id=attacked_example.id,
        label=class_names[attacked_example.label],
        rule=attacked_example.rule,
    )
    rows = [
        model_info.with_parameters(named=class_names[attacked_example.clean_class]).build_row(
            "clean_confidence", Accuracy(attacked_example.clean_confidence, None, 1)
        ),
        model_info.with_parameters(named=class_names[attacked_example.attacked_class]).build_row(
            "attacked_confidence", Accuracy(attacked_example.attacked_confidence, None, 1), attack
        ),
    ]
    return [dataclasses.replace(row, artifact=_EXAMPLE_FILE) for row in rows]
