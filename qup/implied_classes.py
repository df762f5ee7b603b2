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
from qup.evaluation import Accuracy, binomial
from qup.types import Batch, LogitsFn

# What reads a class from a batch: int32 [batch].
Reader = Callable[[Batch], tf.Tensor]
ALL, MISCLASSIFIED = "all", "misclassified"


def readers(
    classifier: LogitsFn, translator: keras.Model, templates: np.ndarray
) -> dict[str, Reader]:
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

    def delta(batch: Batch) -> tf.Tensor:
        return compilation.predict(translator, batch["image"])

    def decided(images: tf.Tensor) -> tf.Tensor:
        logits = compilation.predict(classifier, images)
        return tf.argmax(logits, axis=-1, output_type=tf.int32)

    return {
        "nearest_template": lambda batch: class_templates.nearest(
            delta(batch), templates
        ),
        "classifier_of_delta": lambda batch: decided(delta(batch)),
        "pair": lambda batch: decided(batch["image"] + delta(batch)),
    }


def implied_accuracies(
    readers: Mapping[str, Reader],
    classifier: LogitsFn,
    batches: Iterable[Batch],
) -> dict[tuple[str, str], Accuracy]:
    """Returns how often each reader is right.

    Args:
      readers: Batch to classes, by name.
      classifier: f, image to logits.
      batches: The images, with true labels; weight 0 is left out.

    Returns:
      Accuracies by reader and images, "all" and "misclassified", those
      where f(X) is wrong; the latter are left out where there are none.
    """
    right: dict[tuple[str, str], float] = {}
    total = {ALL: 0.0, MISCLASSIFIED: 0.0}
    for batch in batches:
        known = evaluation.hits(classifier, batch["image"], batch)
        masks = {ALL: batch["weight"], MISCLASSIFIED: batch["weight"] - known}
        for images, mask in masks.items():
            total[images] += float(tf.reduce_sum(mask))
        for name, read in readers.items():
            hit = tf.cast(read(batch) == batch["label"], tf.float32)
            for images, mask in masks.items():
                count = float(tf.reduce_sum(hit * mask))
                right[name, images] = right.get((name, images), 0.0) + count
    return {
        key: binomial(count, total[key[1]])
        for key, count in right.items()
        if total[key[1]]
    }
