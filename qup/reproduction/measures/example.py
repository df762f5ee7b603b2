"""Fig. 1 of the paper: one image before and after FGSM, with the network's confidences.

```python
example = find_example(classifier, images, labels, ids, attack)
example.attacked_class, example.attacked_confidence
```
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from qup.core.classifier import predict_logits
from qup.core.types import Attack, LogitsFn

# Values of the paper's figure, in percent: GoogLeNet on CIFAR-10, epsilon 8/255, an automobile that
# is classified as an airplane. It is not the network of Table 3.
PAPER_VALUES = {
    "test_accuracy": 90.78,
    "robust_accuracy": 3.67,
    "clean_confidence": 99.99,
    "attacked_confidence": 54.53,
}
# Rules of the selection of an image, in order of preference.
SELECTION_RULES = {
    "broken": "the first image that is classified correctly, and incorrectly after the attack",
    "right": "no attack succeeds; the first image that is classified correctly",
    "first": "no image is classified correctly; the first image",
}


@dataclasses.dataclass(frozen=True)
class AttackExample:
    """One image before and after an attack.

    Attributes:
      image: float32 [height, width, channels] in [0, 1].
      attacked: float32 [height, width, channels].
      id: Id of the image.
      label: True class.
      clean_class: Predicted class.
      clean_confidence: Softmax probability of `clean_class`, in percent.
      attacked_class: Predicted class of the attacked image.
      attacked_confidence: Softmax probability of `attacked_class`, in percent.
      rule: A key of `SELECTION_RULES`.
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
        """Returns the attributes by name, and class_names, for a file."""
        names = {"class_names": np.array(class_names)}
        fields = dataclasses.asdict(self)
        return {k: np.asarray(v) for k, v in fields.items()} | names


def build_example(arrays: Mapping[str, np.ndarray]) -> AttackExample:
    """Builds an example from `AttackExample.to_arrays`."""
    image_fields = ("image", "attacked")
    fields: dict[str, Any] = {
        field.name: arrays[field.name] if field.name in image_fields else arrays[field.name].item()
        for field in dataclasses.fields(AttackExample)
    }
    return AttackExample(**fields)


def find_example(
    logits_fn: LogitsFn, images, labels, ids, attack: Attack, *, batch_size: int = 128
) -> AttackExample:
    """Finds the first image with a successful attack; other rules apply if there is none.

    The search ends at the first batch with a successful attack.

    Args:
      logits_fn: The classifier.
      images: uint8 [n, height, width, channels], n at least 1.
      labels: int32 [n], true classes.
      ids: int64 [n].
      attack: attack(logits_fn, images, labels, *, ids) -> images.
      batch_size: Images per batch.
    """
    candidates: list[AttackExample] = []
    for start in range(0, len(labels), batch_size):
        # Batches have one shape: the last one is padded with the last image.
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
    # `min` returns the first image of the best rule.
    return min(candidates, key=lambda e: list(SELECTION_RULES).index(e.rule))


def _predict_classes(logits_fn: LogitsFn, images: tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Returns classes [batch] and their confidences in percent [batch]."""
    logits = predict_logits(logits_fn, images)
    probabilities = tf.nn.softmax(tf.cast(logits, tf.float64)).numpy()
    return probabilities.argmax(-1), 100 * probabilities.max(-1)
