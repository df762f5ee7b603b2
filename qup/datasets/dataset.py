"""A dataset cut into batches that every part of `qup` understands.

```python
data = Dataset("digits", datasets.get("digits")(), validation_size=200)
data.info.sizes  # {"train": 1237, "test": 360, "validation": 200}
```
"""

import functools
import hashlib

import numpy as np
import tensorflow as tf

from qup import errors
from qup.datasets.source import Source, Split
from qup.errors import InputError
from qup.types import DatasetInfo

# The first word of a generator's seed: what the numbers are drawn for.
_SHUFFLE, _VALIDATION = 1, 2
_PREFETCH = 4


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
        train = _first(name, "train", source.splits["train"], train_size)
        test = _first(name, "test", source.splits["test"], test_size)
        if not 0 <= validation_size < train.size:
            raise InputError(
                f"validation_size must be from 0 to {train.size - 1}, to "
                f"leave a training image of the {train.size} of {name}; got "
                f"{validation_size}."
            )
        order = _permutation(train.size, _VALIDATION, seed)
        self._rows: dict[str, tuple[Split, np.ndarray]] = {
            "train": (train, np.sort(order[validation_size:])),
            "test": (test, np.arange(test.size)),
        }
        if validation_size:
            held_out = np.sort(order[:validation_size])
            self._rows["validation"] = (train, held_out)
        self.info = DatasetInfo(
            name,
            source.image_shape,
            source.class_names,
            {split: len(ids) for split, (_, ids) in self._rows.items()},
            source.origin,
        )

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of the class names, images and labels used."""
        digest = hashlib.sha256(repr(self.info.class_names).encode())
        for name, (split, ids) in sorted(self._rows.items()):
            digest.update(f"{name} {ids.tobytes().hex()}".encode())
            for rows in split.rows:
                digest.update(np.ascontiguousarray(rows.numpy()))
        return digest.hexdigest()

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
        split, ids = self._rows["train"]
        errors.check_number("batch_size", batch_size, least=1)
        size = min(batch_size, len(ids))
        ids = ids[_permutation(len(ids), _SHUFFLE, seed, epoch)]
        ids = ids[: len(ids) // size * size]
        return _batches(split, ids, np.ones(len(ids)), size)

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
        if split not in self._rows:
            raise errors.unknown("split", split, self._rows)
        rows, ids = self._rows[split]
        ids = ids[:limit]
        errors.check_number("batch_size", batch_size, least=1)
        padding = -len(ids) % batch_size
        weights = np.pad(np.ones(len(ids)), (0, padding))
        ids = np.pad(ids, (0, padding), mode="edge")
        return _batches(rows, ids, weights, batch_size)


def _batches(
    split: Split, ids: np.ndarray, weights: np.ndarray, batch_size: int
) -> tf.data.Dataset:
    images, labels = split.rows

    def gather(ids, weights):
        pixels = tf.cast(tf.gather(images, ids), tf.float32)
        return {
            "image": pixels / 255.0,
            "label": tf.gather(labels, ids),
            "weight": weights,
            "id": ids,
        }

    with tf.device("CPU:0"):
        rows = tf.data.Dataset.from_tensor_slices(
            (
                ids.reshape(-1, batch_size).astype(np.int64),
                weights.reshape(-1, batch_size).astype(np.float32),
            )
        )
        batches = rows.map(gather, num_parallel_calls=2).prefetch(_PREFETCH)
        return batches.with_options(_keep_images_shared())


def _keep_images_shared() -> tf.data.Options:
    # Rewriting the pipeline would copy all the images into its graph.
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    return options


def _first(name: str, split: str, images: Split, size: int | None) -> Split:
    if size is None:
        return images
    if not 1 <= size <= images.size:
        raise InputError(
            f"{split}_size must be from 1 to {images.size}, the {split} "
            f"images of {name}; got {size}."
        )
    return images.take(size)


def _permutation(size: int, purpose: int, *words: int) -> np.ndarray:
    if min(words) < 0:
        raise InputError(f"seed and epoch must be at least 0; got {words}.")
    return np.random.default_rng([purpose, *words]).permutation(size)
