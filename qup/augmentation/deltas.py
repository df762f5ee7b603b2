"""The pairs (X_0, Delta_N) on disk, in shards: memory stays flat.

One shard is one batch of the walk: an .npz of `id` int64 [rows], `image`
uint8 [rows, height, width, channels] and `delta` float32 of the same shape.
Beside it lie the shard's counts: an .npz of, at each of `points`, how many
of the rows were `right` and how many were still right when `attacked`.

```python
deltas = Deltas.open("runs/demo/pipeline/DeltaGen.epoch-1/deltas/5")
deltas.scale  # the largest |Delta|
```
"""

import functools
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from qup.core import config, errors, files

_SETTINGS_FILE = "settings.json"


class DeltaDataset:
    """A folder of shards, complete or still growing.

    Attributes:
      directory: The folder.
      settings: How the walk was made; JSON values.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        settings: Mapping[str, Any],
        counting_settings: Mapping[str, Any] | None = None,
    ):
        """Opens a folder, or starts one.

        Args:
          directory: The folder.
          settings: How the walk is made; must hold "num_shards".
          counting_settings: What is counted on the way, and how.

        Raises:
          InputError: The folder holds a walk of other settings.
        """
        self.directory = pathlib.Path(directory)
        self.settings = dict(settings)
        self._write_or_compare(_SETTINGS_FILE, self.settings)
        if counting_settings is not None:
            self._write_or_compare("counted.json", counting_settings)

    @classmethod
    def open(cls, directory: pathlib.Path) -> "DeltaDataset":
        """Opens a folder that holds a walk.

        Raises:
          InputError: It holds none.
        """
        path = pathlib.Path(directory) / _SETTINGS_FILE
        try:
            return cls(directory, json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            message = f"{directory} holds no walk: {error}."
            raise errors.InputError(message) from error

    def _write_or_compare(self, name: str, settings: Mapping[str, Any]) -> None:
        path = self.directory / name
        text = json.dumps(settings, sort_keys=True, indent=1)
        if not path.exists():
            files.write_text(path, text)
            return
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            differences = config.describe_changes(stored, json.loads(text))
        except (ValueError, AttributeError):
            differences = [f"{path} is damaged"]
        if differences:
            raise errors.InputError(
                f"{self.directory} holds a walk with other settings: "
                f"{', '.join(differences)}. Choose another folder, or remove it."
            )

    def link(self, directory: pathlib.Path) -> None:
        """Puts the walk, but no counts, into another folder as well."""
        shards = map(self.get_shard_path, range(self.settings["num_shards"]))
        for path in (self.directory / _SETTINGS_FILE, *shards):
            files.link_or_copy(path, directory / path.name)

    def get_shard_path(self, shard: int, kind: str = "shard") -> pathlib.Path:
        """Returns the file of a shard, or of its counts (kind "counts")."""
        count = self.settings["num_shards"]
        return self.directory / f"{kind}-{shard:05d}-of-{count:05d}.npz"

    def list_missing(self) -> list[int]:
        """Returns the numbers of the shards that are not there yet."""
        shards = range(self.settings["num_shards"])
        return [shard for shard in shards if not self.get_shard_path(shard).exists()]

    def write_shard(
        self, shard: int, arrays: Mapping[str, np.ndarray], counts: Mapping[str, np.ndarray]
    ) -> None:
        """Writes one shard whole; InputError if Delta is not finite."""
        if not np.isfinite(arrays["delta"]).all():
            raise errors.InputError(
                "The walk left the finite numbers: the classifier's gradient "
                "is NaN or infinite. Look at the classifier's training."
            )
        # The counts first: where the shard is, they are.
        with files.atomic_write(self.get_shard_path(shard, "counts")) as partial:
            np.savez(partial, **counts)
        with files.atomic_write(self.get_shard_path(shard)) as partial:
            np.savez(partial, **arrays)

    def read_shard(self, shard: int) -> dict[str, np.ndarray]:
        """Reads one shard.

        Raises:
          InputError: The file is missing or damaged.
        """
        path = self.get_shard_path(shard)
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
        """One pass over the shards: sizes and the scale."""
        ids, scale = [], 0.0
        for shard in range(self.settings["num_shards"]):
            arrays = self.read_shard(shard)
            ids.append(arrays["id"])
            scale = max(scale, float(np.abs(arrays["delta"]).max()))
        images = len(np.unique(np.concatenate(ids)))
        if images != self.settings["num_images"]:
            raise errors.InputError(
                f"The shards of {self.directory} hold {images} images, "
                f"expected {self.settings['num_images']}. Remove the folder, "
                "and the next start walks anew."
            )
        return {"images": images, "shape": arrays["delta"].shape[1:], "scale": scale}

    @property
    def num_images(self) -> int:
        """Number of pairs."""
        return self._summary["images"]

    @property
    def iterate_options(self) -> dict[str, Any]:
        """The keyword arguments of `opposite_fgsm.walk`."""
        names = ("num_steps", "step_size", "bounds", "loss")
        return {name: self.settings[name] for name in names}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self._summary["shape"]

    @property
    def scale(self) -> float:
        """The largest |Delta|; 1 where every Delta is zero."""
        return self._summary["scale"] or 1.0

    @property
    def trajectory_counts(self) -> list[tuple[int, float, float]]:
        """[(n, right, right when attacked)]: counts of images at X_n."""
        num_correct = num_robust = 0
        for shard in range(self.settings["num_shards"]):
            path = self.get_shard_path(shard, kind="counts")
            try:
                with np.load(path, allow_pickle=False) as counts:
                    points = counts["points"].tolist()
                    num_correct = num_correct + counts["right"]
                    num_robust = num_robust + counts["attacked"]
            except Exception as error:
                raise errors.InputError(
                    f"The counts {path} cannot be read: {error}. Remove the folder to walk anew."
                ) from error
        return list(zip(points, num_correct.tolist(), num_robust.tolist(), strict=True))


# The pairs (X_0, Delta_N) of a walk as shuffled batches, read by shards.
#
# ```python
# for batch in batches(deltas, 64, seed=0, epoch=0): ...
# ```


# Pairs shuffled at a time.
_SHUFFLE_BUFFER_SIZE = 10_000


def build_pair_batches(
    deltas: DeltaDataset, batch_size: int, *, seed: int, epoch: int
) -> tf.data.Dataset:
    """Returns one epoch of shuffled pairs.

    Shards are permuted, then shuffled within a buffer of 10,000 pairs.

    Args:
      deltas: The folder of the pairs.
      batch_size: Pairs a batch; the incomplete last one is dropped.
      seed: The order depends on (seed, epoch) alone.
      epoch: See seed.

    Returns:
      {"image": float32 [batch, height, width, channels] in [0, 1],
      "delta": float32 of the same shape}.
    """
    rng = np.random.default_rng((seed, epoch))

    def read_shards() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        count = deltas.settings["num_shards"]
        permuted = np.random.default_rng((seed, epoch)).permutation(count)
        for shard in permuted:
            arrays = deltas.read_shard(int(shard))
            yield arrays["image"], arrays["delta"]

    rows_shape = (None, *deltas.image_shape)
    pairs = tf.data.Dataset.from_generator(
        read_shards,
        output_signature=(
            tf.TensorSpec(rows_shape, tf.uint8),
            tf.TensorSpec(rows_shape, tf.float32),
        ),
    )
    batches = (
        pairs.prefetch(1)
        .unbatch()
        .shuffle(_SHUFFLE_BUFFER_SIZE, seed=int(rng.integers(2**31)))
        .batch(batch_size, drop_remainder=True)
        .map(lambda image, delta: {"image": tf.cast(image, tf.float32) / 255.0, "delta": delta})
        .prefetch(tf.data.AUTOTUNE)
    )
    return batches.apply(tf.data.experimental.assert_cardinality(deltas.num_images // batch_size))
