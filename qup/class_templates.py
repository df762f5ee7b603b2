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
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from qup.datasets import Dataset
from qup.deltas import DeltaDataset
from qup.errors import InputError

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
