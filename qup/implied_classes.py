"""The class that a translator tells: its own accuracy as a classifier.

A control of IFA (supplement, section 3). The translator G learns a Delta_N
that was made with the true label, so G(X) may name the class by itself.
Then the accuracy of X -> f(X + G(X)) is no property of the classifier f.

```python
found = implied_accuracies(readers, classifier, batches)
found["nearest_template", "misclassified"].value  # where f alone is wrong
```
"""

from collections.abc import Callable, Iterable, Mapping

import keras
import numpy as np
import tensorflow as tf

from qup import class_templates, compilation, evaluation
from qup.evaluation import Accuracy, compute_accuracy
from qup.types import Batch, LogitsFn

# What reads a class from a batch: int32 [batch].
LabelReader = Callable[[Batch], tf.Tensor]
ALL_IMAGES, MISCLASSIFIED = "all", "misclassified"


def build_label_readers(
    classifier: LogitsFn, translator: keras.Model, templates: np.ndarray
) -> dict[str, LabelReader]:
    """Returns the ways to read a class from what a translator gives.

    Args:
      classifier: f, image to logits.
      translator: G, image to Delta.
      templates: Mean Delta_N of each class in training, float32
        [num_classes, height, width, channels].

    Returns:
      "nearest_template", the template with the largest cosine to G(X);
      "classifier_of_delta", f(G(X)); "pair", f(X + G(X)).
    """

    def predict_delta(batch: Batch) -> tf.Tensor:
        return compilation.predict(translator, batch["image"])

    def predict_classes(images: tf.Tensor) -> tf.Tensor:
        logits = compilation.predict(classifier, images)
        return tf.argmax(logits, axis=-1, output_type=tf.int32)

    return {
        "nearest_template": lambda batch: class_templates.find_nearest_template(
            predict_delta(batch), templates
        ),
        "classifier_of_delta": lambda batch: predict_classes(predict_delta(batch)),
        "pair": lambda batch: predict_classes(batch["image"] + predict_delta(batch)),
    }


def evaluate_label_readers(
    label_readers: Mapping[str, LabelReader], classifier: LogitsFn, batches: Iterable[Batch]
) -> dict[tuple[str, str], Accuracy]:
    """Returns how often each reader is right.

    Args:
      label_readers: Batch to classes, by name.
      classifier: f, image to logits.
      batches: The images, with true labels; weight 0 is left out.

    Returns:
      Accuracies by reader and images, "all" and "misclassified", those
      where f(X) is wrong; the latter are left out where there are none.
    """
    num_correct: dict[tuple[str, str], float] = {}
    total = {ALL_IMAGES: 0.0, MISCLASSIFIED: 0.0}
    for batch in batches:
        correct_mask = evaluation.compute_correct_mask(classifier, batch["image"], batch)
        masks = {ALL_IMAGES: batch["weight"], MISCLASSIFIED: batch["weight"] - correct_mask}
        for subset, mask in masks.items():
            total[subset] += float(tf.reduce_sum(mask))
        for name, read_labels in label_readers.items():
            is_read_correctly = tf.cast(read_labels(batch) == batch["label"], tf.float32)
            for subset, mask in masks.items():
                count = float(tf.reduce_sum(is_read_correctly * mask))
                num_correct[name, subset] = num_correct.get((name, subset), 0.0) + count
    return {
        key: compute_accuracy(count, total[key[1]])
        for key, count in num_correct.items()
        if total[key[1]]
    }
