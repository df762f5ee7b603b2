"""The pairs (X_0, Delta_N) on disk, in shards, so that memory use is constant.

One shard is one batch of images: an .npz of `id` int64 [rows], `image` uint8 [rows, height, width,
channels] and `delta` float32 of the same shape. Next to it are the shard's counts: an .npz of
`points` (values of n), and for each n the number of rows classified correctly (`right`) and the
number classified correctly under the attack (`attacked`).

```python
deltas = DeltaDataset.open("runs/demo/pipeline/DeltaGen.epoch-1/deltas/5")
deltas.scale  # the largest |Delta|
for batch in build_pair_batches(deltas, 64, seed=0, epoch=0): ...
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

# Key and value in the settings of pairs whose Delta was replaced.
DELTA_KEY, CLASS_TEMPLATE = "delta", "class_template"
_SETTINGS_FILE = "settings.json"
_SHUFFLE_BUFFER_SIZE = 10_000


class DeltaDataset:
    """A folder of shards, complete or still growing.

    Attributes:
      directory: The folder.
      settings: The options of the iterates and of the shards; JSON values.
    """

    def __init__(
        self,
        directory: str | pathlib.Path,
        settings: Mapping[str, Any],
        counting_settings: Mapping[str, Any] | None = None,
    ):
        """Opens a folder, or creates one.

        Args:
          directory: The folder.
          settings: See above; must hold "num_shards".
          counting_settings: Options of the counts.

        Raises:
          InputError: The folder holds pairs of other settings.
        """
        self.directory = pathlib.Path(directory)
        self.settings = dict(settings)
        self._write_or_compare(_SETTINGS_FILE, self.settings)
        if counting_settings is not None:
            self._write_or_compare("counted.json", counting_settings)

    @classmethod
    def open(cls, directory: str | pathlib.Path) -> "DeltaDataset":
        """Opens a folder that holds pairs; InputError if it does not."""
        path = pathlib.Path(directory) / _SETTINGS_FILE
        try:
            return cls(directory, json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise errors.InputError(f"{directory} holds no pairs (X_0, Delta): {error}.") from error

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
                f"{self.directory} holds pairs (X_0, Delta) with other settings: "
                f"{', '.join(differences)}. Choose another folder, or remove this one."
            )

    def link(self, directory: pathlib.Path) -> None:
        """Hard-links (or copies) the shards, but no counts, into another folder."""
        shards = map(self.get_shard_path, range(self.settings["num_shards"]))
        for path in (self.directory / _SETTINGS_FILE, *shards):
            files.link_or_copy(path, directory / path.name)

    def get_shard_path(self, shard: int, kind: str = "shard") -> pathlib.Path:
        """Returns the path of a shard, or of its counts (kind "counts")."""
        count = self.settings["num_shards"]
        return self.directory / f"{kind}-{shard:05d}-of-{count:05d}.npz"

    def list_missing(self) -> list[int]:
        """Returns the numbers of the shards that do not exist yet."""
        shards = range(self.settings["num_shards"])
        return [shard for shard in shards if not self.get_shard_path(shard).exists()]

    def write_shard(
        self, shard: int, arrays: Mapping[str, np.ndarray], counts: Mapping[str, np.ndarray]
    ) -> None:
        """Writes one shard, whole or not at all; InputError if Delta is not finite."""
        if not np.isfinite(arrays["delta"]).all():
            raise errors.InputError(
                "Delta is not finite: the classifier's gradient is NaN or infinite. Check the "
                "classifier's training."
            )
        # The counts first, so that an existing shard always has its counts.
        with files.atomic_write(self.get_shard_path(shard, "counts")) as partial:
            np.savez(partial, **counts)
        with files.atomic_write(self.get_shard_path(shard)) as partial:
            np.savez(partial, **arrays)

    def read_shard(self, shard: int) -> dict[str, np.ndarray]:
        """Reads one shard; InputError if it is missing or damaged."""
        path = self.get_shard_path(shard)
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = dict(archive)
            shape = arrays["image"].shape
            if arrays["delta"].shape != shape or len(arrays["id"]) != shape[0]:
                raise ValueError("the shapes of its arrays do not match")
            return arrays
        except Exception as error:
            raise errors.InputError(
                f"The shard {path} cannot be read: {error}. Remove it and run the same command "
                "again to compute it again."
            ) from error

    @functools.cached_property
    def _summary(self) -> dict[str, Any]:
        """Sizes and the scale, by one pass over the shards."""
        ids, scale = [], 0.0
        for shard in range(self.settings["num_shards"]):
            arrays = self.read_shard(shard)
            ids.append(arrays["id"])
            scale = max(scale, float(np.abs(arrays["delta"]).max()))
        images = len(np.unique(np.concatenate(ids)))
        if images != self.settings["num_images"]:
            raise errors.InputError(
                f"The shards of {self.directory} hold {images} images, expected "
                f"{self.settings['num_images']}. Remove the folder and run the same command again "
                "to compute them again."
            )
        return {"images": images, "shape": arrays["delta"].shape[1:], "scale": scale}

    @property
    def num_images(self) -> int:
        """Number of pairs."""
        return self._summary["images"]

    @property
    def iterate_options(self) -> dict[str, Any]:
        """The keyword arguments of `opposite_fgsm.iterate`."""
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
        """[(n, correct, correct under the attack)]: numbers of iterates X_n."""
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
                    f"The counts {path} cannot be read: {error}. Remove the folder and run the "
                    "same command again to compute them again."
                ) from error
        return list(zip(points, num_correct.tolist(), num_robust.tolist(), strict=True))


def build_pair_batches(
    deltas: DeltaDataset, batch_size: int, *, seed: int, epoch: int
) -> tf.data.Dataset:
    """Returns one epoch of shuffled pairs; an incomplete last batch is dropped.

    Shards are permuted, then pairs are shuffled within a buffer of 10,000. The order depends on
    (seed, epoch) alone.

    Returns:
      {"image": float32 [batch, height, width, channels] in [0, 1], "delta": float32 of the same
      shape}.
    """
    rng = np.random.default_rng((seed, epoch))

    def read_shards() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = np.random.default_rng((seed, epoch)).permutation(deltas.settings["num_shards"])
        for shard in order:
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
