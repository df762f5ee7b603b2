"""Two controls of IFA: class templates in place of Delta_N, and the label leakage of a translator.

Delta_N is computed with the true label (supplement, section 3). A template is the mean Delta_N of a
class. If a pair is as accurate and as robust with templates as with the Delta_N of each image, its
translator only has to know the class, and the conjugate of the image itself adds nothing.

A translator G may also encode the class in G(X). Then the accuracy of X -> f(X + G(X)) is not a
property of the classifier f. A label reader reads the class from G(X).

```python
templates = compute_class_means(deltas, load_labels_by_id(data), num_classes=10)
write_template_deltas(deltas, templates, load_labels_by_id(data), "templates")
readers = build_label_readers(classifier, translator, templates)
accuracies = evaluate_label_readers(readers, classifier, batches)
accuracies["nearest_template", "misclassified"].value  # where f alone is incorrect
```
"""

import pathlib
from collections.abc import Callable, Iterable, Mapping

import keras
import numpy as np
import tensorflow as tf

from qup.augmentation.deltas import CLASS_TEMPLATE, DELTA_KEY, DeltaDataset
from qup.core import compilation
from qup.core.classifier import predict_logits
from qup.core.errors import InputError
from qup.core.measurements import Measurement, compute_accuracy
from qup.core.types import Batch, LogitsFn
from qup.datasets import Dataset
from qup.robustness import evaluation

# Batch -> classes, int32 [batch].
LabelReader = Callable[[Batch], tf.Tensor]
ALL_IMAGES, MISCLASSIFIED = "all", "misclassified"


def load_labels_by_id(dataset: Dataset) -> dict[int, int]:
    """Returns the label of every training image by its id."""
    _, labels, ids = dataset.get_arrays("train")
    return dict(zip(ids.tolist(), labels.tolist(), strict=True))


def _look_up_labels(ids: np.ndarray, labels_by_id: Mapping[int, int]) -> np.ndarray:
    try:
        return np.array([labels_by_id[i] for i in ids.tolist()], np.int64)
    except KeyError as error:
        raise InputError(
            f"The pairs hold image {error}, the training images do not. Give the examples from "
            "which the pairs were computed."
        ) from error


def compute_class_means(
    deltas: DeltaDataset, labels_by_id: Mapping[int, int], num_classes: int
) -> np.ndarray:
    """Returns the mean Delta_N of each class, float32 [num_classes, ...].

    Args:
      deltas: The pairs.
      labels_by_id: Label of each of their images by id, 0 to `num_classes` - 1.
      num_classes: Number of classes.

    Raises:
      InputError: A class has no image, or an image no label.
    """
    total = np.zeros((num_classes, *deltas.image_shape))
    count = np.zeros(num_classes)
    for shard in range(deltas.settings["num_shards"]):
        arrays = deltas.read_shard(shard)
        one_hot = np.eye(num_classes)[_look_up_labels(arrays["id"], labels_by_id)]
        total += np.tensordot(one_hot, arrays["delta"], axes=(0, 0))
        count += one_hot.sum(0)
    if not count.all():
        raise InputError(
            f"Class {int(count.argmin())} has no image among the {deltas.num_images} pairs, so it "
            "has no template. Compute Delta of more images."
        )
    return (total / count[:, None, None, None]).astype(np.float32)


def find_nearest_template(deltas: tf.Tensor, templates: np.ndarray) -> tf.Tensor:
    """Returns the class whose template has the largest cosine: int32 [batch].

    Args:
      deltas: float32 [batch, height, width, channels].
      templates: [num_classes, height, width, channels].
    """
    rows = tf.reshape(deltas, (len(deltas), -1))
    unit_templates = tf.math.l2_normalize(tf.reshape(templates, (len(templates), -1)), axis=1)
    # cos(d, t_c) times |d|, which is equal for all classes.
    return tf.argmax(rows @ tf.transpose(unit_templates), axis=1, output_type=tf.int32)


def write_template_deltas(
    deltas: DeltaDataset,
    templates: np.ndarray,
    labels_by_id: Mapping[int, int],
    directory: pathlib.Path,
) -> DeltaDataset:
    """Writes pairs in which each Delta_N is replaced by the template of its class.

    Args:
      deltas: The original pairs.
      templates: The result of `compute_class_means`.
      labels_by_id: Label of each image by id.
      directory: Folder of the new shards; existing ones are kept.
    """
    template_deltas = DeltaDataset(directory, {**deltas.settings, DELTA_KEY: CLASS_TEMPLATE})
    empty = np.zeros(0)
    counts = {"points": empty, "right": empty, "attacked": empty}
    for shard in template_deltas.list_missing():
        arrays = deltas.read_shard(shard)
        class_deltas = templates[_look_up_labels(arrays["id"], labels_by_id)]
        template_deltas.write_shard(shard, {**arrays, "delta": class_deltas}, counts)
    return template_deltas


def build_label_readers(
    classifier: LogitsFn, translator: keras.Model, templates: np.ndarray
) -> dict[str, LabelReader]:
    """Returns the ways to read a class from the output of a translator.

    Args:
      classifier: f, image to logits.
      translator: G, image to Delta.
      templates: The result of `compute_class_means`.

    Returns:
      "nearest_template", the template with the largest cosine to G(X); "classifier_of_delta",
      f(G(X)); "pair", f(X + G(X)).
    """

    def predict_delta(batch: Batch) -> tf.Tensor:
        return compilation.predict(translator, batch["image"])

    def predict_classes(images: tf.Tensor) -> tf.Tensor:
        logits = predict_logits(classifier, images)
        return tf.argmax(logits, axis=-1, output_type=tf.int32)

    return {
        "nearest_template": lambda batch: find_nearest_template(predict_delta(batch), templates),
        "classifier_of_delta": lambda batch: predict_classes(predict_delta(batch)),
        "pair": lambda batch: predict_classes(batch["image"] + predict_delta(batch)),
    }


def evaluate_label_readers(
    label_readers: Mapping[str, LabelReader], classifier: LogitsFn, batches: Iterable[Batch]
) -> dict[tuple[str, str], Measurement]:
    """Returns how often each reader is correct.

    Args:
      label_readers: Batch to classes, by name.
      classifier: f, image to logits.
      batches: The images, with true labels; weight 0 is omitted.

    Returns:
      Accuracies by reader and subset: "all", and "misclassified", the images that f misclassifies.
      The latter is omitted if it is empty.
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
