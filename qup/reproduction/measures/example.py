"""Fig. 1 of the paper: one image, its FGSM noise, and what the network says.

```python
shown = show(classifier, images, labels, ids, attack)
shown.attacked_class, shown.attacked_confidence
```
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from qup.core import compilation
from qup.core.types import Attack, LogitsFn

# What the paper's figure says, in percent: GoogLeNet on CIFAR-10, epsilon
# 8/255, an automobile that becomes an airplane. It is not Table 3's network.
PAPER_VALUES = {
    "test_accuracy": 90.78,
    "robust_accuracy": 3.67,
    "clean_confidence": 99.99,
    "attacked_confidence": 54.53,
}
# By which of the rules an image was chosen, in words.
SELECTION_RULES = {
    "broken": "the first image, by id, that is classified rightly and, once attacked, wrongly",
    "right": "no image that is classified rightly is broken; the first that is classified rightly",
    "first": "no image is classified rightly; the first",
}


@dataclasses.dataclass(frozen=True)
class AttackExample:
    """One image before and after an attack.

    Attributes:
      image: float32 [height, width, channels] in [0, 1].
      attacked: float32 [height, width, channels].
      id: The image's own number.
      label: Its true class.
      clean_class: What the network takes it for.
      clean_confidence: Softmax probability of that class, in percent.
      attacked_class: What it takes the attacked image for.
      attacked_confidence: Softmax probability of that class, in percent.
      rule: A key of `SELECTION_RULES`: how it was chosen.
    """

    image: np.ndarray
    attacked: np.ndarray
    id: int
    label: int
    clean_class: int
    clean_confidence: float
    attacked_class: int
    attacked_confidence: float
    rule: str

    def to_arrays(self, class_names: Sequence[str]) -> dict[str, np.ndarray]:
        """Returns everything for a file.

        Args:
          class_names: Of all classes.

        Returns:
          The attributes under their names, and class_names.
        """
        names = {"class_names": np.array(class_names)}
        fields = dataclasses.asdict(self)
        return {k: np.asarray(v) for k, v in fields.items()} | names


def build_example(arrays: Mapping[str, np.ndarray]) -> AttackExample:
    """Returns what `AttackExample.arrays` gave."""
    image_fields = ("image", "attacked")
    fields: dict[str, Any] = {
        field.name: arrays[field.name] if field.name in image_fields else arrays[field.name].item()
        for field in dataclasses.fields(AttackExample)
    }
    return AttackExample(**fields)


def find_example(
    logits_fn: LogitsFn, images, labels, ids, attack: Attack, *, batch_size: int = 128
) -> AttackExample:
    """Looks for an image whose attack succeeds, in the order given.

    The rule is `RULES["broken"]`; it looks no further than the first batch
    that holds one.

    Args:
      logits_fn: The classifier.
      images: uint8 [n, height, width, channels], n at least 1.
      labels: int32 [n], the true classes.
      ids: int64 [n].
      attack: attack(logits_fn, images, labels, *, ids) -> images.
      batch_size: Images a batch.

    Returns:
      The example; by the other rules where no attack succeeds.
    """
    candidates: list[AttackExample] = []
    for start in range(0, len(labels), batch_size):
        # One batch shape: what is too much repeats the last image.
        rows = np.arange(start, start + batch_size)
        rows = np.minimum(rows, len(labels) - 1)
        clean = tf.constant(images[rows] / np.float32(255), tf.float32)
        true_labels = tf.constant(labels[rows], tf.int32)
        perturbed = attack(logits_fn, clean, true_labels, ids=tf.constant(ids[rows]))
        clean_prediction, attacked_prediction = (
            _predict_classes(logits_fn, x) for x in (clean, perturbed)
        )
        correct = clean_prediction[0] == labels[rows]
        masks = {
            "broken": correct & (attacked_prediction[0] != labels[rows]),
            "right": correct,
            "first": np.ones_like(correct),
        }
        for rule, mask in masks.items():
            for position in np.flatnonzero(mask)[:1]:
                row = int(rows[position])
                candidates.append(
                    AttackExample(
                        clean[position].numpy(),
                        perturbed[position].numpy(),
                        int(ids[row]),
                        int(labels[row]),
                        int(clean_prediction[0][position]),
                        float(clean_prediction[1][position]),
                        int(attacked_prediction[0][position]),
                        float(attacked_prediction[1][position]),
                        rule,
                    )
                )
        if masks["broken"].any():
            break
    # Of the best rule, the first: min keeps the earlier of equals.
    return min(candidates, key=lambda e: list(SELECTION_RULES).index(e.rule))


def _predict_classes(logits_fn: LogitsFn, images: tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Returns classes [batch] and their confidences in percent [batch]."""
    logits = compilation.predict(logits_fn, images)
    probabilities = tf.nn.softmax(tf.cast(logits, tf.float64)).numpy()
    return probabilities.argmax(-1), 100 * probabilities.max(-1)
