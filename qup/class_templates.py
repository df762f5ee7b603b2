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
from qup.deltas import Deltas
from qup.errors import InputError

# In the settings of a walk whose Delta was replaced.
KEY, REPLACED = "delta", "class_template"


def known_labels(dataset: Dataset) -> dict[int, int]:
    """Returns the label of every training image by its id."""
    _, labels, ids = dataset.arrays("train")
    return dict(zip(ids.tolist(), labels.tolist(), strict=True))


def _labels(ids: np.ndarray, known: Mapping[int, int]) -> np.ndarray:
    try:
        return np.array([known[i] for i in ids.tolist()], np.int64)
    except KeyError as error:
        raise InputError(
            f"The walk holds image {error}, the training images do not. Give "
            "the examples that were walked."
        ) from error


def class_means(
    deltas: Deltas, known: Mapping[int, int], num_classes: int
) -> np.ndarray:
    """Returns the mean Delta_N of each class, float32 [num_classes, ...].

    Args:
      deltas: The walk.
      known: Label of each of its images by id, 0 to `num_classes` - 1.
      num_classes: Number of classes.

    Raises:
      InputError: A class has no walked image, or an image no label.
    """
    total = np.zeros((num_classes, *deltas.image_shape))
    count = np.zeros(num_classes)
    for shard in range(deltas.settings["num_shards"]):
        arrays = deltas.read(shard)
        chosen = np.eye(num_classes)[_labels(arrays["id"], known)]
        total += np.tensordot(chosen, arrays["delta"], axes=(0, 0))
        count += chosen.sum(0)
    if not count.all():
        raise InputError(
            f"No image of class {int(count.argmin())} was walked, so it has "
            f"no template; {deltas.num_images} images were. Walk more."
        )
    return (total / count[:, None, None, None]).astype(np.float32)


def nearest(deltas: tf.Tensor, templates: np.ndarray) -> tf.Tensor:
    """Returns the class whose template has the largest cosine.

    Args:
      deltas: float32 [batch, height, width, channels].
      templates: [num_classes, height, width, channels].

    Returns:
      int32 [batch].
    """
    rows = tf.reshape(deltas, (len(deltas), -1))
    units = tf.math.l2_normalize(
        tf.reshape(templates, (len(templates), -1)), axis=1
    )
    # cos(d, t_c) up to |d|, which is that of all classes.
    return tf.argmax(rows @ tf.transpose(units), axis=1, output_type=tf.int32)


def replaced(
    deltas: Deltas,
    templates: np.ndarray,
    known: Mapping[int, int],
    directory: pathlib.Path,
) -> Deltas:
    """Writes the walk anew with every Delta_N that of its class.

    Args:
      deltas: The walk.
      templates: What `class_means` returned.
      known: Label of each image by id.
      directory: Folder of the new shards; those that are there are kept.

    Returns:
      Pairs that a translator learns as any others.
    """
    made = Deltas(directory, {**deltas.settings, KEY: REPLACED})
    nothing = np.zeros(0)
    counts = {"points": nothing, "right": nothing, "attacked": nothing}
    for shard in made.missing():
        arrays = deltas.read(shard)
        own = templates[_labels(arrays["id"], known)]
        made.write(shard, {**arrays, "delta": own}, counts)
    return made
