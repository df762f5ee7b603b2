"""Fig. 1: one image that FGSM turns, and the accuracies it stands for."""

import dataclasses
import logging
from typing import Any

import numpy as np

from qup import example, looks, measurements
from qup.components import artifacts
from qup.components.artifacts import Examples, Model, ModelEvaluation
from qup.datasets import examples as files_of_examples
from qup.evaluation import Accuracy, attacked
from qup.example import Example
from qup.measurements import Row
from qup.orchestration import In, Out, component
from qup.subjects import Subject

_log = logging.getLogger("qup")
_FILE = "example.npz"


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
    bound = looks.bound(attack, seed=seed)
    size = min(batch_size, num_images or data.info.sizes[split])
    batches = data.evaluation_batches(split, size, limit=num_images)
    values = attacked(classifier, batches, bound)._asdict()
    images, labels, ids = (a[:num_images] for a in data.arrays(split))
    shown = example.show(
        classifier, images, labels, ids, bound, batch_size=size
    )
    subject = artifacts.subject(model.path).such(split=split, figure="fig1")
    rows = subject.rows(values.pop("test_accuracy"), values, attack)
    rows += _confidences(subject, shown, data.info.class_names, attack)
    arrays = shown.arrays(data.info.class_names)
    np.savez(evaluation.path / _FILE, **arrays)
    measurements.write(evaluation.path / "measurements.csv", rows)
    _log.info("Fig. 1: image %d, %s", shown.id, example.RULES[shown.rule])


def _confidences(
    subject: Subject,
    shown: Example,
    class_names: tuple[str, ...],
    attack: dict[str, Any],
) -> list[Row]:
    """Returns the two rows of the image; one image has no error."""
    subject = subject.such(
        image_id=shown.id, label=class_names[shown.label], rule=shown.rule
    )
    rows = [
        subject.such(named=class_names[shown.clean_class]).row(
            "clean_confidence", Accuracy(shown.clean_confidence, None, 1)
        ),
        subject.such(named=class_names[shown.attacked_class]).row(
            "attacked_confidence",
            Accuracy(shown.attacked_confidence, None, 1),
            attack,
        ),
    ]
    return [dataclasses.replace(row, artifact=_FILE) for row in rows]
