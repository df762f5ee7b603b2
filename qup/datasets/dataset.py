"""Labelled images of one source, cut into the batches of `qup.core.types`.

```python
source = datasets.get("digits")()
data = Dataset("digits", source, validation_size=200)
data.info.sizes  # {"train": 1237, "test": 360, "validation": 200}
```
"""

import dataclasses
import functools
import logging
import numbers
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from qup.core import errors, hashing
from qup.core.errors import InputError
from qup.core.types import DatasetInfo

_log = logging.getLogger("qup")
_READ_SIZE = 512
_PREFETCH = 4
# Sides of images are below those of any classifier; a slip of the keyboard would fill the memory.
_MAX_SIDE = 1 << 14
# The first element of a generator's seed: the purpose of its numbers.
_SHUFFLE, _VALIDATION = 1, 2


@functools.cache
def log_once(level: int, text: str) -> None:
    """Logs a text once per process: a pipeline loads its data in several steps."""
    _log.log(level, "%s", text)


@dataclasses.dataclass(frozen=True)
class InputRecord:
    """What became of one file or array that the user gave.

    Attributes:
      name: A file's path within the data's folder ("train/cat/0.png"), or an array's name.
      used: Whether its pixels are among the images.
      notes: How they were changed, or why it was left alone.
    """

    name: str
    used: bool
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Split:
    """The images of one split, decoded at the first use and then kept in memory.

    Attributes:
      elements: (image uint8 [height, width, channels], label int32 []) in a fixed order. The
        position in it is the image's id.
      size: Number of elements.
      explain: Reason why `elements` cannot be read -> the error for the user, with the file's name.
      arrays: Images, labels and ids, instead of `elements`. They may be memory-mapped files.
      read_blocks: n -> the first n images, uint8 [block, height, width, channels], and labels,
        int32 [block], in blocks of any size; instead of `elements`.
    """

    elements: tf.data.Dataset | None
    size: int
    explain: Callable[[str], InputError] = InputError
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    read_blocks: Callable[[int], Iterable[tuple[np.ndarray, np.ndarray]]] | None = None

    @functools.cached_property
    def ids(self) -> np.ndarray:
        """int64 [size]; they do not depend on `size`."""
        if self.arrays is None:
            return np.arange(self.size, dtype=np.int64)
        return np.array(self.arrays[2][: self.size])

    @functools.cached_property
    def rows(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Images, uint8 [size, height, width, channels], and labels, int32 [size], on the host.

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
                return self._read_elements()
            except tf.errors.OpError as error:
                raise self.explain(error.message) from error

    def _read_elements(self) -> tuple[tf.Tensor, tf.Tensor]:
        # Filled in place: a list of batches would need the memory twice.
        images = labels = None
        num_read = 0
        for image, label in self._iterate_blocks():
            if images is None:
                images = tf.Variable(tf.zeros((self.size, *image.shape[1:]), tf.uint8))
                labels = tf.Variable(tf.zeros(self.size, tf.int32))
            ids = tf.range(num_read, num_read + len(label))
            images.scatter_update(tf.IndexedSlices(image, ids))
            labels.scatter_update(tf.IndexedSlices(label, ids))
            num_read += len(label)
        if num_read != self.size:
            raise self.explain(f"expected {self.size} images, received {num_read}")
        return images.read_value(), labels.read_value()

    def _iterate_blocks(self) -> Iterable[tuple[tf.Tensor, tf.Tensor]]:
        if self.read_blocks is not None:
            return self.read_blocks(self.size)
        return self.elements.take(self.size).batch(_READ_SIZE)


@dataclasses.dataclass(frozen=True)
class Source:
    """A whole dataset, before images are selected.

    Attributes:
      image_shape: (height, width, channels).
      class_names: One name per class, in the order of the labels.
      origin: Source and licence, one line.
      splits: At least "test". Without "train" no classifier can be trained.
      files: The files that hold the images, by names that do not depend on the folder.
      report: What became of each file or array of the user; empty for other data.
    """

    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    origin: str
    splits: Mapping[str, Split]
    files: Mapping[str, pathlib.Path] = dataclasses.field(default_factory=dict)
    report: tuple[InputRecord, ...] = ()


def build_split(images: np.ndarray, labels: np.ndarray, ids: np.ndarray | None = None) -> Split:
    """Returns a split of images in memory.

    Args:
      images: Integers in [0, 255], [size, height, width, channels].
      labels: Integers [size].
      ids: int64 [size]; None means 0, 1, 2, ...
    """
    if ids is None:
        ids = np.arange(len(labels), dtype=np.int64)
    arrays = (images.astype(np.uint8, copy=False), labels.astype(np.int32, copy=False), ids)
    return Split(None, len(labels), arrays=arrays)


def resize(images: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """Resizes bilinearly, with antialiasing, and rounds to integers.

    Args:
      images: [..., height, width, channels], values in [0, 255].
      image_size: New (height, width).

    Returns:
      uint8, values in [0, 255].
    """
    resized = tf.image.resize(images, image_size, antialias=True)
    return tf.saturate_cast(tf.round(resized), tf.uint8)


def check_image_size(image_size: tuple[int, int]) -> tuple[int, int]:
    """Returns `image_size`; InputError unless it is two integers of at least 1."""
    try:
        size = tuple(image_size)
    except TypeError:
        size = ()
    if len(size) != 2 or not all(type(n) is int and 1 <= n <= _MAX_SIDE for n in size):
        raise InputError(
            f"image_size must be (height, width), two integers from 1 to {_MAX_SIDE}; received "
            f"{errors.shorten(image_size)}."
        )
    return size


def check_seed(seed: int) -> None:
    """Raises an InputError unless `seed` is an integer of at least 0."""
    if not isinstance(seed, numbers.Integral) or seed < 0:
        raise InputError(f"seed must be an integer of at least 0; received {errors.shorten(seed)}.")


def check_choice(name: str, value: int, choices: Sequence[int]) -> None:
    """Raises an InputError unless `value` is one of `choices`."""
    if not isinstance(value, numbers.Integral) or value is True or value not in choices:
        *others, last = map(str, choices)
        raise InputError(
            f"{name} must be {', '.join(others)} or {last}; received {errors.shorten(value)}."
        )


def parse_path(name: str, value: str | os.PathLike) -> pathlib.Path:
    """Returns the path of the argument `name`; InputError if it is none."""
    try:
        path = pathlib.Path(value).expanduser()
    except (TypeError, RuntimeError) as error:
        raise InputError(
            f"{name} must be the path of a file or folder; received {errors.shorten(value)}."
        ) from error
    if "\0" in str(path):
        raise InputError(f"{name} {errors.shorten(value)} has a null character in it.")
    return path


def make_training_error(name: str) -> InputError:
    """Returns the error for data that has test images alone."""
    return InputError(
        f"{name} has test images alone, so no classifier can be trained on it. Add training images "
        "(image_folder: train/<class>/ beside test/; arrays: x_train and y_train in the .npz file) "
        "or attack a classifier of your own with --model_path or --saved_model."
    )


def compute_file_digest(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file, in hex; InputError if it cannot be read."""
    try:
        return hashing.hash_file(path)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error


class Dataset:
    """Splits of a source, as batches of a fixed size.

    A batch is the `Batch` of `qup.core.types`. An id is the image's position in the source's split,
    so it does not depend on the selected part (ids of "validation" are positions in "train").

    Attributes:
      info: Name, shape, classes, origin, and the size of each split.
      report: What became of each file or array of the user, see `Source`.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        *,
        train_size: int | None = None,
        test_size: int | None = None,
        validation_size: int = 0,
        seed: int = 0,
    ):
        """Selects images, see `datasets.load`; reads none of them.

        Raises:
          InputError: A size or the seed is out of its range.
        """
        check_seed(seed)
        if len(source.class_names) < 2:
            raise InputError(
                f"{name} has one class, {source.class_names[0]!r}. A classifier needs images of at "
                "least two classes."
            )
        test = _take_first(name, "test", source.splits["test"], test_size)
        # The positions of each split's images within `Split.rows`.
        self._split_indices: dict[str, tuple[Split, np.ndarray]] = {}
        if "train" in source.splits:
            train = _take_first(name, "train", source.splits["train"], train_size)
            self._split_indices |= _split_training(name, train, validation_size, seed)
        elif train_size is not None or not (type(validation_size) is int and validation_size == 0):
            raise make_training_error(name)
        if "validation" in source.splits and "validation" not in self._split_indices:
            validation = source.splits["validation"]
            self._split_indices["validation"] = (validation, np.arange(validation.size))
        order = ("train", "test", "validation")
        rows = self._split_indices | {"test": (test, np.arange(test.size))}
        self._split_indices = {split: rows[split] for split in order if split in rows}
        self._files = source.files
        self.report = source.report
        self.info = DatasetInfo(
            name,
            source.image_shape,
            source.class_names,
            {split: len(indices) for split, (_, indices) in self._split_indices.items()},
            source.origin,
        )

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of the class names and of the selected images and labels."""
        return hashing.hash_parts(self._iterate_content())

    def _iterate_content(self) -> Iterator[str | np.ndarray]:
        yield repr(self.info.class_names)
        for name in sorted(self._split_indices):
            for array in self.get_arrays(name):
                yield f"{name} {array.shape}"
                yield np.ascontiguousarray(array)

    def compute_source_digest(self) -> str:
        """Returns the SHA-256, in hex, of the source's files as they are now.

        Without files it is the fingerprint.

        Raises:
          InputError: A file cannot be read.
        """
        if not self._files:
            return self.fingerprint
        return hashing.hash_parts(
            f"{name}\0{compute_file_digest(path)}\n" for name, path in sorted(self._files.items())
        )

    def get_size(self, split: str) -> int:
        """Returns the number of images of a split; `InputError` if there is none."""
        return len(self._get_split(split)[1])

    def get_arrays(self, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns a whole split ("train", "test" or "validation").

        Returns:
          Images, uint8 [size, height, width, channels], labels, int32 [size], and ids, int64
          [size].

        Raises:
          InputError: Unknown split, or the images cannot be read.
        """
        source_split, indices = self._get_split(split)
        images, labels = (tensor.numpy() for tensor in source_split.rows)
        if len(indices) < len(labels):
            images, labels = images[indices], labels[indices]
        return images, labels, source_split.ids[indices]

    def _get_split(self, name: str) -> tuple[Split, np.ndarray]:
        if name == "train" and name not in self._split_indices:
            raise make_training_error(self.info.name)
        if name not in self._split_indices:
            raise errors.make_unknown_error("split", name, self._split_indices)
        return self._split_indices[name]

    def training_batches(self, batch_size: int, *, seed: int, epoch: int) -> tf.data.Dataset:
        """Returns one epoch of the shuffled training images; all weights are 1.

        The order depends on `seed` and `epoch` (from 0) alone. `batch_size` is reduced to the size
        of the split where that is smaller. An incomplete last batch is dropped.

        Raises:
          InputError: An argument is out of its range, the images cannot be read, or there are no
            training images.
        """
        split, indices = self._get_split("train")
        errors.check_number("batch_size", batch_size, at_least=1)
        size = min(batch_size, len(indices))
        indices = indices[_sample_permutation(len(indices), _SHUFFLE, seed, epoch)]
        indices = indices[: len(indices) // size * size]
        return _build_batches(split, indices, np.ones(len(indices)), size)

    def evaluation_batches(
        self, split: str, batch_size: int, *, max_images: int | None = None
    ) -> tf.data.Dataset:
        """Returns the images of a split once, in the order of their ids.

        Every batch has exactly `batch_size` rows. The last one is padded by repeats of its last
        image, with weight 0. With `max_images`, only the first ones are returned.

        Raises:
          InputError: Unknown split, batch size out of its range, or the images cannot be read.
        """
        source_split, indices = self._get_split(split)
        indices = indices[:max_images]
        errors.check_number("batch_size", batch_size, at_least=1)
        padding = -len(indices) % batch_size
        weights = np.pad(np.ones(len(indices)), (0, padding))
        indices = np.pad(indices, (0, padding), mode="edge")
        return _build_batches(source_split, indices, weights, batch_size)


def _take_first(name: str, split: str, images: Split, size: int | None) -> Split:
    """Returns the first `size` images of a split, without decoding any."""
    if size is None:
        return images
    if not isinstance(size, numbers.Integral) or not 1 <= size <= images.size:
        raise InputError(
            f"{split}_size must be from 1 to {images.size}, the number of {split} images of "
            f"{name}; received {errors.shorten(size)}."
        )
    return dataclasses.replace(images, size=size)


def _split_training(
    name: str, train: Split, validation_size: int, seed: int
) -> dict[str, tuple[Split, np.ndarray]]:
    """Returns the rows of "train" and, unless `validation_size` is 0, of "validation"."""
    is_integer = isinstance(validation_size, numbers.Integral)
    if not is_integer or not 0 <= validation_size < train.size:
        raise InputError(
            f"validation_size must be from 0 to {train.size - 1}, to leave a training image of "
            f"the {train.size} of {name}; received {errors.shorten(validation_size)}."
        )
    order = _sample_permutation(train.size, _VALIDATION, seed)
    rows = {"train": (train, np.sort(order[validation_size:]))}
    if validation_size:
        rows["validation"] = (train, np.sort(order[:validation_size]))
    return rows


def _sample_permutation(size: int, purpose: int, *seeds: int) -> np.ndarray:
    if min(seeds) < 0:
        raise InputError(f"seed and epoch must be at least 0; received {seeds}.")
    return np.random.default_rng([purpose, *seeds]).permutation(size)


def _build_batches(
    split: Split, indices: np.ndarray, weights: np.ndarray, batch_size: int
) -> tf.data.Dataset:
    """Returns batches of the rows `indices`, int64 [n], n a multiple of `batch_size`."""
    images, labels = split.rows

    def gather(indices, ids, weights):
        pixels = tf.cast(tf.gather(images, indices), tf.float32)
        return {
            "image": pixels / 255.0,
            "label": tf.gather(labels, indices),
            "weight": weights,
            "id": ids,
        }

    # The default rewriting of the pipeline would copy all images into its graph.
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    with tf.device("CPU:0"):
        rows = tf.data.Dataset.from_tensor_slices(
            (
                indices.reshape(-1, batch_size),
                split.ids[indices].reshape(-1, batch_size),
                weights.reshape(-1, batch_size).astype(np.float32),
            )
        )
        batches = rows.map(gather, num_parallel_calls=2).prefetch(_PREFETCH)
        return batches.with_options(options)
