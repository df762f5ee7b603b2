"""A dataset cut into batches that every part of `qup` understands.

```python
data = Dataset("digits", datasets.get("digits")(), validation_size=200)
data.info.sizes  # {"train": 1237, "test": 360, "validation": 200}
```
"""

import functools
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from qup import errors
from qup.core import hashing
from qup.datasets import batching
from qup.datasets.source import Source, Split, compute_file_digest, take_first
from qup.errors import InputError
from qup.types import DatasetInfo

# The first word of a generator's seed: what the numbers are drawn for.
_SHUFFLE, _VALIDATION = 1, 2


class Dataset:
    """Splits of a source, as batches of a fixed size.

    A batch is the `Batch` of `qup.types`. An id is the image's place in the
    source's own split, so it stays the same whatever part of it is used
    (ids of "validation" are places in the source's "train").

    Attributes:
      info: Name, shape, classes, origin, and the size of each split.
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
        """Chooses the images to use; reads none of them.

        Args:
          name: The dataset's name.
          source: Its images.
          train_size: Use only the first that many training images.
          test_size: Use only the first that many test images.
          validation_size: Hold out that many of those training images.
          seed: Chooses which; at least 0.

        Raises:
          InputError: A size or the seed is out of its range.
        """
        if len(source.class_names) < 2:
            raise InputError(
                f"{name} has one class, {source.class_names[0]!r}; there is "
                "nothing to tell apart. Give images of at least two classes."
            )
        train = take_first(name, "train", source.splits["train"], train_size)
        test = take_first(name, "test", source.splits["test"], test_size)
        if not 0 <= validation_size < train.size:
            raise InputError(
                f"validation_size must be from 0 to {train.size - 1}, to "
                f"leave a training image of the {train.size} of {name}; got "
                f"{validation_size}."
            )
        order = _sample_permutation(train.size, _VALIDATION, seed)
        # The places of each split's images within `Split.rows`.
        self._split_indices: dict[str, tuple[Split, np.ndarray]] = {
            "train": (train, np.sort(order[validation_size:])),
            "test": (test, np.arange(test.size)),
        }
        if validation_size:
            held_out = np.sort(order[:validation_size])
            self._split_indices["validation"] = (train, held_out)
        elif "validation" in source.splits:
            validation = source.splits["validation"]
            self._split_indices["validation"] = (validation, np.arange(validation.size))
        self._files = source.files
        self.info = DatasetInfo(
            name,
            source.image_shape,
            source.class_names,
            {split: len(indices) for split, (_, indices) in self._split_indices.items()},
            source.origin,
        )

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of the class names, images and labels used."""
        return hashing.joined_digest(self._content())

    def _content(self) -> Iterator[str | np.ndarray]:
        yield repr(self.info.class_names)
        for name in sorted(self._split_indices):
            for array in self.get_arrays(name):
                yield f"{name} {array.shape}"
                yield np.ascontiguousarray(array)

    def compute_source_digest(self) -> str:
        """Returns SHA-256, in hex, of the files that it is read from, now.

        Where there are none, the fingerprint.

        Raises:
          InputError: A file cannot be read.
        """
        if not self._files:
            return self.fingerprint
        return hashing.joined_digest(
            f"{name}\0{compute_file_digest(path)}\n" for name, path in sorted(self._files.items())
        )

    def get_arrays(self, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns a whole split.

        Args:
          split: "train", "test" or "validation".

        Returns:
          Images, uint8 [size, height, width, channels], labels, int32
          [size], and ids, int64 [size].

        Raises:
          InputError: Unknown split, or the images cannot be read.
        """
        source_split, indices = self._get_split(split)
        images, labels = (tensor.numpy() for tensor in source_split.rows)
        if len(indices) < len(labels):
            images, labels = images[indices], labels[indices]
        return images, labels, source_split.ids[indices]

    def _get_split(self, name: str) -> tuple[Split, np.ndarray]:
        if name not in self._split_indices:
            raise errors.make_unknown_error("split", name, self._split_indices)
        return self._split_indices[name]

    def training_batches(self, batch_size: int, *, seed: int, epoch: int) -> tf.data.Dataset:
        """Returns one epoch of the training images, shuffled as a whole.

        The order depends on `seed` and `epoch` alone. What does not fill a
        batch is left out; a different rest in each epoch.

        Args:
          batch_size: Images a batch; reduced to the size of the split.
          seed: Of the shuffle, at least 0.
          epoch: Number of the epoch, from 0.

        Returns:
          Batches with the weights all 1.

        Raises:
          InputError: An argument is out of its range, or the images cannot
            be read.
        """
        split, indices = self._split_indices["train"]
        errors.check_number("batch_size", batch_size, at_least=1)
        size = min(batch_size, len(indices))
        indices = indices[_sample_permutation(len(indices), _SHUFFLE, seed, epoch)]
        indices = indices[: len(indices) // size * size]
        return batching.build_batches(split, indices, np.ones(len(indices)), size)

    def evaluation_batches(
        self, split: str, batch_size: int, *, max_images: int | None = None
    ) -> tf.data.Dataset:
        """Returns the images of a split once, in the order of their ids.

        Args:
          split: "train", "test" or "validation".
          batch_size: Images a batch. The last batch is filled with repeats
            of its last image, of weight 0.
          max_images: Only the first that many images.

        Returns:
          Batches of exactly `batch_size` images.

        Raises:
          InputError: Unknown split, batch size out of its range, or the
            images cannot be read.
        """
        source_split, indices = self._get_split(split)
        indices = indices[:max_images]
        errors.check_number("batch_size", batch_size, at_least=1)
        padding = -len(indices) % batch_size
        weights = np.pad(np.ones(len(indices)), (0, padding))
        indices = np.pad(indices, (0, padding), mode="edge")
        return batching.build_batches(source_split, indices, weights, batch_size)


def _sample_permutation(size: int, purpose: int, *seeds: int) -> np.ndarray:
    if min(seeds) < 0:
        raise InputError(f"seed and epoch must be at least 0; got {seeds}.")
    return np.random.default_rng([purpose, *seeds]).permutation(size)
