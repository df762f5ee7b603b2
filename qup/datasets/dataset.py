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
from qup.datasets.source import Source, Split, first, read_digest
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
        train = first(name, "train", source.splits["train"], train_size)
        test = first(name, "test", source.splits["test"], test_size)
        if not 0 <= validation_size < train.size:
            raise InputError(
                f"validation_size must be from 0 to {train.size - 1}, to "
                f"leave a training image of the {train.size} of {name}; got "
                f"{validation_size}."
            )
        order = _permutation(train.size, _VALIDATION, seed)
        # The places of each split's images within `Split.rows`.
        self._rows: dict[str, tuple[Split, np.ndarray]] = {
            "train": (train, np.sort(order[validation_size:])),
            "test": (test, np.arange(test.size)),
        }
        if validation_size:
            held_out = np.sort(order[:validation_size])
            self._rows["validation"] = (train, held_out)
        elif "validation" in source.splits:
            held = source.splits["validation"]
            self._rows["validation"] = (held, np.arange(held.size))
        self._files = source.files
        self.info = DatasetInfo(
            name,
            source.image_shape,
            source.class_names,
            {split: len(rows) for split, (_, rows) in self._rows.items()},
            source.origin,
        )

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of the class names, images and labels used."""
        return hashing.joined_digest(self._content())

    def _content(self) -> Iterator[str | np.ndarray]:
        yield repr(self.info.class_names)
        for name in sorted(self._rows):
            for array in self.arrays(name):
                yield f"{name} {array.shape}"
                yield np.ascontiguousarray(array)

    def source_digest(self) -> str:
        """Returns SHA-256, in hex, of the files that it is read from, now.

        Where there are none, the fingerprint.

        Raises:
          InputError: A file cannot be read.
        """
        if not self._files:
            return self.fingerprint
        return hashing.joined_digest(
            f"{name}\0{read_digest(path)}\n"
            for name, path in sorted(self._files.items())
        )

    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns a whole split.

        Args:
          split: "train", "test" or "validation".

        Returns:
          Images, uint8 [size, height, width, channels], labels, int32
          [size], and ids, int64 [size].

        Raises:
          InputError: Unknown split, or the images cannot be read.
        """
        rows, places = self._split(split)
        images, labels = (tensor.numpy() for tensor in rows.rows)
        if len(places) < len(labels):
            images, labels = images[places], labels[places]
        return images, labels, rows.ids[places]

    def _split(self, name: str) -> tuple[Split, np.ndarray]:
        if name not in self._rows:
            raise errors.unknown("split", name, self._rows)
        return self._rows[name]

    def training_batches(
        self, batch_size: int, *, seed: int, epoch: int
    ) -> tf.data.Dataset:
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
        split, places = self._rows["train"]
        errors.check_number("batch_size", batch_size, least=1)
        size = min(batch_size, len(places))
        places = places[_permutation(len(places), _SHUFFLE, seed, epoch)]
        places = places[: len(places) // size * size]
        return batching.batches(split, places, np.ones(len(places)), size)

    def evaluation_batches(
        self, split: str, batch_size: int, *, limit: int | None = None
    ) -> tf.data.Dataset:
        """Returns the images of a split once, in the order of their ids.

        Args:
          split: "train", "test" or "validation".
          batch_size: Images a batch. The last batch is filled with repeats
            of its last image, of weight 0.
          limit: Only the first that many images.

        Returns:
          Batches of exactly `batch_size` images.

        Raises:
          InputError: Unknown split, batch size out of its range, or the
            images cannot be read.
        """
        rows, places = self._split(split)
        places = places[:limit]
        errors.check_number("batch_size", batch_size, least=1)
        padding = -len(places) % batch_size
        weights = np.pad(np.ones(len(places)), (0, padding))
        places = np.pad(places, (0, padding), mode="edge")
        return batching.batches(rows, places, weights, batch_size)


def _permutation(size: int, purpose: int, *words: int) -> np.ndarray:
    if min(words) < 0:
        raise InputError(f"seed and epoch must be at least 0; got {words}.")
    return np.random.default_rng([purpose, *words]).permutation(size)
