"""The user's images as elements of a tf.data.Dataset.

```python
data = from_tf_data(tfds.load("mnist", split="test", as_supervised=True))
```
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from qup.core.errors import InputError
from qup.datasets.arrays import from_arrays
from qup.datasets.dataset import Dataset


def from_tf_data(
    images: tf.data.Dataset, *, train: tf.data.Dataset | None = None, **options: Any
) -> Dataset:
    """Returns a dataset of the elements of a tf.data.Dataset, which are read into memory.

    Args:
      images: Test data; elements (image, label) or {"image": image, "label": label}, single or in
        batches. Rows of a "weight" of 0 are padding and are left out.
      train: Training data of the same form, or None.
      **options: See `from_arrays`.

    Raises:
      InputError: The elements have another form, their number is infinite, or they fail.
    """
    arrays = read_elements("the dataset", images)
    if train is None:
        return from_arrays(*arrays, **options)
    train_images, train_labels = read_elements("train", train)
    return from_arrays(*arrays, train_images=train_images, train_labels=train_labels, **options)


def read_elements(name: str, elements: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images and labels of a tf.data.Dataset as arrays.

    Args:
      name: For messages.
      elements: See `from_tf_data`.

    Raises:
      InputError: See `from_tf_data`.
    """
    if not isinstance(elements, tf.data.Dataset):
        raise InputError(
            f"from_tf_data expects a tf.data.Dataset as {name}; received "
            f"{type(elements).__name__}. Pass arrays to datasets.from_arrays."
        )
    if elements.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise InputError(f"{name} repeats without end. Pass dataset.take(n).")
    images, labels = [], []
    try:
        for element in elements:
            for image, label in _split_element(name, element):
                if images and image.shape != images[0].shape:
                    raise InputError(
                        f"The images of {name} have different shapes, {list(images[0].shape)} and "
                        f"{list(image.shape)}. Resize them: dataset.map(...), with tf.image.resize."
                    )
                images.append(image)
                labels.append(label)
    except tf.errors.OpError as error:
        detail = " ".join(error.message.split())[:300]
        raise InputError(f"{name} failed while it was read: {detail}") from error
    if not images:
        raise InputError(f"{name} has no elements.")
    return np.stack(images), np.stack(labels)


def _split_element(name: str, element: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (image, label) of each row of an element that counts."""
    weights = None
    if isinstance(element, Mapping) and {"image", "label"} <= set(element):
        images, labels, weights = element["image"], element["label"], element.get("weight")
    elif isinstance(element, tuple | list) and len(element) == 2:
        images, labels = element
    else:
        kind = sorted(element) if isinstance(element, Mapping) else type(element).__name__
        count = f" of {len(element)} parts" if isinstance(element, tuple | list) else ""
        raise InputError(
            f"The elements of {name} must be (image, label) or {{'image': ..., 'label': ...}}; "
            f"received {kind}{count}. Convert them with dataset.map(...)."
        )
    if not (isinstance(images, tf.Tensor) and isinstance(labels, tf.Tensor)):
        raise InputError(
            f"The images and labels of {name} must be dense tensors; received "
            f"{type(images).__name__} and {type(labels).__name__}. Resize images to one size."
        )
    if images.dtype == tf.string:
        raise InputError(
            f"The images of {name} are texts. Decode them: dataset.map(...), with "
            "tf.io.decode_image."
        )
    images, labels = images.numpy(), labels.numpy()
    if images.ndim < 4:
        yield images, labels
        return
    if images.ndim > 4 or np.ndim(labels) < 1 or len(labels) != len(images):
        raise InputError(
            f"A batch of {name} has images of the shape {list(images.shape)} and labels of the "
            f"shape {list(np.shape(labels))}; expected [batch, height, width, channels] and "
            "[batch]."
        )
    is_used = np.ones(len(images)) if weights is None else np.asarray(weights)
    for row in np.flatnonzero(is_used > 0):
        yield images[row], labels[row]
