"""Delta_N without its image: one fixed pattern a class.

A control of IFA (supplement, section 3). Delta_N is made with the true
label; if a pair is as accurate and as robust with the mean Delta_N of the
class in the place of the image's own, its translator had but to tell the
class, and nothing of it is special to the conjugate of an image.

```python
templates = class_means(deltas, known_labels(data), num_classes=10)
nearest(translator(images), templates)  # classes
replaced(deltas, templates, known_labels(data), "templates")
```
"""

import pathlib
from collections.abc import Callable, Iterable, Mapping

import keras
import numpy as np
import tensorflow as tf

from qup.augmentation.deltas import DeltaDataset
from qup.core import compilation
from qup.core.errors import InputError
from qup.core.measurements import Accuracy, compute_accuracy
from qup.core.types import Batch, LogitsFn
from qup.datasets import Dataset
from qup.robustness import evaluation

# In the settings of a walk whose Delta was replaced.
DELTA_KEY, CLASS_TEMPLATE = "delta", "class_template"


def load_labels_by_id(dataset: Dataset) -> dict[int, int]:
    """Returns the label of every training image by its id."""
    _, labels, ids = dataset.get_arrays("train")
    return dict(zip(ids.tolist(), labels.tolist(), strict=True))


def _look_up_labels(ids: np.ndarray, labels_by_id: Mapping[int, int]) -> np.ndarray:
    try:
        return np.array([labels_by_id[i] for i in ids.tolist()], np.int64)
    except KeyError as error:
        raise InputError(
            f"The walk holds image {error}, the training images do not. Give "
            "the examples that were walked."
        ) from error


def compute_class_means(
    deltas: DeltaDataset, labels_by_id: Mapping[int, int], num_classes: int
) -> np.ndarray:
    """Returns the mean Delta_N of each class, float32 [num_classes, ...].

    Args:
      deltas: The walk.
      labels_by_id: Label of each of its images by id, 0 to `num_classes` - 1.
      num_classes: Number of classes.

    Raises:
      InputError: A class has no walked image, or an image no label.
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
            f"No image of class {int(count.argmin())} was walked, so it has "
            f"no template; {deltas.num_images} images were. Walk more."
        )
    return (total / count[:, None, None, None]).astype(np.float32)


def find_nearest_template(deltas: tf.Tensor, templates: np.ndarray) -> tf.Tensor:
    """Returns the class whose template has the largest cosine.

    Args:
      deltas: float32 [batch, height, width, channels].
      templates: [num_classes, height, width, channels].

    Returns:
      int32 [batch].
    """
    rows = tf.reshape(deltas, (len(deltas), -1))
    unit_templates = tf.math.l2_normalize(tf.reshape(templates, (len(templates), -1)), axis=1)
    # cos(d, t_c) up to |d|, which is that of all classes.
    return tf.argmax(rows @ tf.transpose(unit_templates), axis=1, output_type=tf.int32)


def write_template_deltas(
    deltas: DeltaDataset,
    templates: np.ndarray,
    labels_by_id: Mapping[int, int],
    directory: pathlib.Path,
) -> DeltaDataset:
    """Writes the walk anew with every Delta_N that of its class.

    Args:
      deltas: The walk.
      templates: What `compute_class_means` returned.
      labels_by_id: Label of each image by id.
      directory: Folder of the new shards; those that are there are kept.

    Returns:
      Pairs that a translator learns as any others.
    """
    template_deltas = DeltaDataset(directory, {**deltas.settings, DELTA_KEY: CLASS_TEMPLATE})
    empty = np.zeros(0)
    counts = {"points": empty, "right": empty, "attacked": empty}
    for shard in template_deltas.list_missing():
        arrays = deltas.read_shard(shard)
        class_deltas = templates[_look_up_labels(arrays["id"], labels_by_id)]
        template_deltas.write_shard(shard, {**arrays, "delta": class_deltas}, counts)
    return template_deltas


# The class that a translator tells: its own accuracy as a classifier.
#
# A control of IFA (supplement, section 3). The translator G learns a Delta_N
# that was made with the true label, so G(X) may name the class by itself.
# Then the accuracy of X -> f(X + G(X)) is no property of the classifier f.
#
# ```python
# found = implied_accuracies(readers, classifier, batches)
# found["nearest_template", "misclassified"].value  # where f alone is wrong
# ```


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
        "nearest_template": lambda batch: find_nearest_template(predict_delta(batch), templates),
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
