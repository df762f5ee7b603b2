"""Images and labels of a user as the batches of a training.

```python
dataset, split = prepare_data((images, labels), None, None, 0, pixel_range=None, value_range=None)
batches = TrainingBatches(dataset, 128, seed=0).get_epoch(0, num_replays=1)
```
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from qup import datasets
from qup.core import errors
from qup.core.classifier import validate_pixel_range
from qup.datasets import Dataset
from qup.datasets.labels import convert_to_array
from qup.datasets.tf_data import read_elements

_log = logging.getLogger("qup")
# Without validation images, a twentieth of the training images is held out, up to a number.
_HELD_OUT_PART, _MAX_HELD_OUT = 20, 1000


def prepare_data(
    data: Any,
    validation_data: Any,
    validation_size: int | None,
    seed: int,
    *,
    pixel_range: tuple[float, float] | None,
    value_range: Sequence[float] | None,
) -> tuple[Dataset, str | None]:
    """Returns a dataset with the split "train", and the split of the validation images or None."""
    if isinstance(data, Dataset) and validation_data is None and "validation" in data.info.sizes:
        return data, "validation"
    if isinstance(data, Dataset) and validation_size == 0 and validation_data is None:
        return data, None
    names = data.info.class_names if isinstance(data, Dataset) else None
    images, labels = read_images("data", data)
    options = {"class_names": names, "seed": seed}
    options["value_range"] = value_range or choose_value_range(images, pixel_range)
    train = {"train_images": images, "train_labels": labels}
    if validation_data is not None:
        return datasets.from_arrays(
            *read_images("validation_data", validation_data), **train, **options
        ), "test"
    if validation_size is None:
        validation_size = min(_MAX_HELD_OUT, -(-len(images) // _HELD_OUT_PART))
    # A dataset needs test images, which are not used here.
    dataset = datasets.from_arrays(
        images, labels, **train, **options, validation_size=validation_size
    )
    if not validation_size:
        return dataset, None
    _log.info("%d of %d training images are held out for validation.", validation_size, len(images))
    return dataset, "validation"


def read_images(name: str, data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and labels as arrays.

    Args:
      name: For messages.
      data: A tuple (images, labels), a tf.data.Dataset, or a `Dataset`, of which the training
        images are taken.

    Raises:
      InputError: It is none of these, or its elements are not (image, label).
    """
    if isinstance(data, Dataset):
        return data.get_arrays("train")[:2]
    if isinstance(data, tf.data.Dataset):
        return read_elements(name, data)
    if isinstance(data, tuple | list) and len(data) == 2:
        images, labels = (convert_to_array(name, values) for values in data)
        return images, labels
    received = type(data).__name__
    if isinstance(data, tuple | list):
        received = f"{received} of {len(data)}"
    raise errors.InputError(
        f"{name} must be (images, labels), a tf.data.Dataset of (image, label), or a dataset of "
        f"qup.datasets; received {received}."
    )


def choose_value_range(
    images: np.ndarray, pixel_range: tuple[float, float] | None
) -> tuple[float, float] | None:
    """Returns the range of pixels of the model if the images have it; None to find out.

    Floats in [0, 1] are taken for images in [0, 1].
    """
    stated = validate_pixel_range(pixel_range)
    if stated is None or images.dtype.kind != "f" or not images.size:
        return None
    low, high = float(images.min()), float(images.max())
    is_unit = low >= 0 and high <= 1
    return stated if not is_unit and stated[0] <= low and high <= stated[1] else None


class TrainingBatches:
    """The batches of each epoch.

    Attributes:
      count: Batches of a pass over the images, and the mean number of steps of an epoch.
      shape: [batch, height, width, channels].
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int):
        """Reads no image; InputError for a batch size out of its range."""
        errors.check_number("batch_size", batch_size, at_least=1)
        size = min(batch_size, dataset.info.sizes["train"])
        self.count = dataset.info.sizes["train"] // size
        self.shape = (size, *dataset.info.image_shape)
        self._dataset, self._seed = dataset, seed

    def get_epoch(self, epoch: int, num_replays: int) -> tf.data.Dataset:
        """Returns the batches of an epoch, from 0.

        With m replays an epoch is the m-th part of a pass, each batch m times in a row.

        Raises:
          InputError: There are fewer batches than replays.
        """
        if self.count < num_replays:
            raise errors.InputError(
                f"free repeats each batch {num_replays} times and needs as many batches; there "
                f"are {self.count} of {self.shape[0]} images. Lower batch_size or num_replays."
            )
        image_pass, part = divmod(epoch, num_replays)
        batches = self._dataset.training_batches(self.shape[0], seed=self._seed, epoch=image_pass)
        if num_replays == 1:
            return batches
        start, stop = (self.count * i // num_replays for i in (part, part + 1))
        repeated = (
            batches.skip(start)
            .take(stop - start)
            .flat_map(lambda batch: tf.data.Dataset.from_tensors(batch).repeat(num_replays))
        )
        count = (stop - start) * num_replays
        return repeated.apply(tf.data.experimental.assert_cardinality(count))
