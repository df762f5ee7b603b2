"""The pairs (X_0, Delta_N) on disk, in shards: memory stays flat.

One shard is one batch of the walk: an .npz of `id` int64 [rows], `image`
uint8 [rows, height, width, channels], `delta` float32 of the same shape,
and, at each of `points`, how many of the rows were `right` and how many
were still right when `attacked`.
"""

import functools
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from qup import errors, files, nesting

# Pairs shuffled at a time.
_SHUFFLED = 10_000


class Deltas:
    """A folder of shards, complete or still growing.

    Attributes:
      directory: The folder.
      settings: How the walk was made; JSON values.
    """

    def __init__(self, directory: pathlib.Path, settings: Mapping[str, Any]):
        """Opens a folder, or starts one.

        Args:
          directory: The folder.
          settings: How the walk is made; must hold "num_shards".

        Raises:
          InputError: The folder holds a walk of other settings.
        """
        self.directory = pathlib.Path(directory)
        self.settings = dict(settings)
        path = self.directory / "settings.json"
        text = json.dumps(self.settings, sort_keys=True, indent=1)
        if not path.exists():
            files.write_text(path, text)
            return
        try:
            was = json.loads(path.read_text(encoding="utf-8"))
            changed = nesting.changes(was, json.loads(text))
        except (ValueError, AttributeError):
            changed = [f"{path} is damaged"]
        if changed:
            raise errors.InputError(
                f"{self.directory} holds a walk with other settings: "
                f"{', '.join(changed)}. Choose another folder, or remove it."
            )

    def path(self, shard: int) -> pathlib.Path:
        """Returns the file of shard number `shard`."""
        count = self.settings["num_shards"]
        return self.directory / f"shard-{shard:05d}-of-{count:05d}.npz"

    def missing(self) -> list[int]:
        """Returns the numbers of the shards that are not there yet."""
        return [
            shard
            for shard in range(self.settings["num_shards"])
            if not self.path(shard).exists()
        ]

    def write(self, shard: int, **arrays: np.ndarray) -> None:
        """Writes one shard whole; InputError if Delta is not finite."""
        if not np.isfinite(arrays["delta"]).all():
            raise errors.InputError(
                "The walk left the finite numbers: the classifier's gradient "
                "is NaN or infinite. Look at the classifier's training."
            )
        with files.replacing(self.path(shard)) as partial:
            np.savez(partial, **arrays)

    def read(self, shard: int) -> dict[str, np.ndarray]:
        """Reads one shard.

        Raises:
          InputError: The file is missing or damaged.
        """
        path = self.path(shard)
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = dict(archive)
            shape = arrays["image"].shape
            if arrays["delta"].shape != shape or len(arrays["id"]) != shape[0]:
                raise ValueError("its arrays do not fit one another")
            return arrays
        except Exception as error:
            raise errors.InputError(
                f"The shard {path} cannot be read: {error}. Remove it, and "
                "the next start walks its images again."
            ) from error

    @functools.cached_property
    def _summary(self) -> dict[str, Any]:
        """One pass over the shards: sizes, the scale, the trajectory."""
        ids, scale, right, attacked = [], 0.0, 0, 0
        for shard in range(self.settings["num_shards"]):
            arrays = self.read(shard)
            ids.append(arrays["id"])
            scale = max(scale, float(np.abs(arrays["delta"]).max()))
            right = right + arrays["right"]
            attacked = attacked + arrays["attacked"]
        images = len(np.unique(np.concatenate(ids)))
        if images != self.settings["num_images"]:
            raise errors.InputError(
                f"The shards of {self.directory} hold {images} images, "
                f"expected {self.settings['num_images']}. Remove the folder, "
                "and the next start walks anew."
            )
        return {
            "images": images,
            "shape": arrays["delta"].shape[1:],
            "scale": scale,
            "trajectory": list(
                zip(arrays["points"], right, attacked, strict=True)
            ),
        }

    @property
    def num_images(self) -> int:
        """Number of pairs."""
        return self._summary["images"]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self._summary["shape"]

    @property
    def scale(self) -> float:
        """The largest |Delta|; 1 where every Delta is zero."""
        return self._summary["scale"] or 1.0

    @property
    def trajectory(self) -> list[tuple[int, float, float]]:
        """[(n, right, right when attacked)]: counts of images at X_n."""
        return self._summary["trajectory"]

    def batches(
        self, batch_size: int, *, seed: int, epoch: int
    ) -> tf.data.Dataset:
        """Returns one epoch of shuffled pairs.

        Shards are permuted, then shuffled within a buffer of 10,000 pairs.

        Args:
          batch_size: Pairs a batch; the incomplete last one is dropped.
          seed: The order depends on (seed, epoch) alone.
          epoch: See seed.

        Returns:
          {"image": float32 [batch, height, width, channels] in [0, 1],
          "delta": float32 of the same shape}.
        """
        order = np.random.default_rng((seed, epoch))

        def shards() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            count = self.settings["num_shards"]
            permuted = np.random.default_rng((seed, epoch)).permutation(count)
            for shard in permuted:
                arrays = self.read(int(shard))
                yield arrays["image"], arrays["delta"]

        rows = (None, *self.image_shape)
        pairs = tf.data.Dataset.from_generator(
            shards,
            output_signature=(
                tf.TensorSpec(rows, tf.uint8),
                tf.TensorSpec(rows, tf.float32),
            ),
        )
        batches = (
            pairs.prefetch(1)
            .unbatch()
            .shuffle(_SHUFFLED, seed=int(order.integers(2**31)))
            .batch(batch_size, drop_remainder=True)
            .map(
                lambda image, delta: {
                    "image": tf.cast(image, tf.float32) / 255.0,
                    "delta": delta,
                }
            )
            .prefetch(tf.data.AUTOTUNE)
        )
        return batches.apply(
            tf.data.experimental.assert_cardinality(
                self.num_images // batch_size
            )
        )
