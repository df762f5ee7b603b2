"""What a dataset's file returns: where its images come from.

```python
Source((28, 28, 1), ("0", "1"), "drawn by hand", {"train": Split(...)})
```
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from qup.core import hashing
from qup.errors import InputError

_READ_SIZE = 512


@dataclasses.dataclass(frozen=True)
class Split:
    """The images of one split, decoded once and then kept in memory.

    Attributes:
      elements: (image uint8 [height, width, channels], label int32 []), in
        a fixed order; the place in it is the image's id.
      size: Number of elements.
      explain: Turns the reason why `elements` cannot be read into the error
        for the user, naming the file.
      arrays: Images, labels and ids, instead of `elements`; they may be
        mapped files, read when first used.
    """

    elements: tf.data.Dataset | None
    size: int
    explain: Callable[[str], InputError] = InputError
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    @functools.cached_property
    def ids(self) -> np.ndarray:
        """Number of each image, int64 [size], whatever part is used."""
        if self.arrays is None:
            return np.arange(self.size, dtype=np.int64)
        return np.array(self.arrays[2][: self.size])

    def take(self, size: int) -> "Split":
        """Returns the first `size` images; no other is decoded."""
        return dataclasses.replace(self, size=size)

    @functools.cached_property
    def rows(self) -> tuple[tf.Tensor, tf.Tensor]:
        """All images and labels, in the host's memory.

        Returns:
          Images, uint8 [size, height, width, channels], and labels, int32
          [size].

        Raises:
          InputError: A file cannot be read, or images are missing.
        """
        with tf.device("CPU:0"):
            if self.arrays is not None:
                images, labels, _ = self.arrays
                return (
                    tf.constant(images[: self.size], tf.uint8),
                    tf.constant(labels[: self.size], tf.int32),
                )
            try:
                return self._read()
            except tf.errors.OpError as error:
                raise self.explain(error.message) from error

    def _read(self) -> tuple[tf.Tensor, tf.Tensor]:
        # Filled in place: collecting first would hold everything twice.
        shape = (self.size, *self.elements.element_spec[0].shape)
        images = tf.Variable(tf.zeros(shape, tf.uint8))
        labels = tf.Variable(tf.zeros(self.size, tf.int32))
        num_read = 0
        for image, label in self.elements.take(self.size).batch(_READ_SIZE):
            ids = tf.range(num_read, num_read + len(label))
            images.scatter_update(tf.IndexedSlices(image, ids))
            labels.scatter_update(tf.IndexedSlices(label, ids))
            num_read += len(label)
        if num_read != self.size:
            raise self.explain(f"expected {self.size} images, got {num_read}")
        return images.read_value(), labels.read_value()


@dataclasses.dataclass(frozen=True)
class Source:
    """A whole dataset before any of it is chosen or batched.

    Attributes:
      image_shape: (height, width, channels).
      class_names: One name a class, in the order of the labels.
      origin: Source and licence, one line.
      splits: At least "train" and "test".
      files: What the images are read from, by a name that does not depend
        on the place; empty where there are no files.
    """

    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    origin: str
    splits: Mapping[str, Split]
    files: Mapping[str, pathlib.Path] = dataclasses.field(default_factory=dict)


def build_split(images: np.ndarray, labels: np.ndarray, ids: np.ndarray | None = None) -> Split:
    """Returns a split of images that are in memory already.

    Args:
      images: Whole numbers in [0, 255], [size, height, width, channels].
      labels: Whole numbers, [size].
      ids: int64 [size]; None for their places.

    Returns:
      The split, in the order given.
    """
    if ids is None:
        ids = np.arange(len(labels), dtype=np.int64)
    arrays = (images.astype(np.uint8, copy=False), labels.astype(np.int32, copy=False), ids)
    return Split(None, len(labels), arrays=arrays)


def resize(images: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """Resizes bilinearly, without aliasing, and rounds to whole numbers.

    Args:
      images: [..., height, width, channels], values in [0, 255].
      image_size: New (height, width).

    Returns:
      uint8, values in [0, 255].
    """
    resized = tf.image.resize(images, image_size, antialias=True)
    return tf.saturate_cast(tf.round(resized), tf.uint8)


def check_image_size(image_size: tuple[int, int]) -> tuple[int, int]:
    """Returns `image_size` if it is two whole numbers of at least 1.

    Raises:
      InputError: It is not.
    """
    size = tuple(image_size)
    if len(size) != 2 or not all(type(n) is int and n >= 1 for n in size):
        raise InputError(
            "image_size must be (height, width), two whole numbers of at "
            f"least 1; got {image_size!r}."
        )
    return size


def take_first(name: str, split: str, images: Split, size: int | None) -> Split:
    """Returns the first `size` images of a split; all of them for None.

    Raises:
      InputError: It has not as many.
    """
    if size is None:
        return images
    if not 1 <= size <= images.size:
        raise InputError(
            f"{split}_size must be from 1 to {images.size}, the {split} "
            f"images of {name}; got {size}."
        )
    return images.take(size)


def compute_file_digest(path: pathlib.Path) -> str:
    """Returns SHA-256, in hex, of a file, or raises an InputError."""
    try:
        return hashing.file_digest(path)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
